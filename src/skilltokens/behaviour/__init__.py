"""Skills from reward: Task Tokens (arXiv 2503.22886) on a frozen policy.

motion.py     expert motion of a body by PPO on commands, stored as demonstrations
model.py      the behaviour model: a policy that follows masked goals, distilled from that motion
agents.py     what PPO trains: actors and critics
learners.py   the task token, and the ways that people would use instead
ppo.py        PPO through Stable-Baselines3, in parts that can be stopped between
adapt.py      one task learned from reward, measured on the way
"""
