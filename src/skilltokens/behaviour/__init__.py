"""Skills from reward: Task Tokens (arXiv 2503.22886) on a frozen policy.

command.py    commands for experts, which change every few seconds, and the reward for following them
motion.py     expert motion of a body by PPO on commands, stored as demonstrations
model.py      the behaviour model: a policy that follows masked goals, distilled from that motion
agents.py     what PPO trains: actors and critics
learners.py   the learners: the task token, and what people would use instead
builder.py    a learner's actor and critic
ppo.py        PPO through Stable-Baselines3, in parts that can be stopped between
adapt.py      one task learned from reward, measured on the way
token.py      a task token added to a library as a skill
closeness.py  how close to the experts' motion a learner moves
tracking.py   how well a behaviour model follows its goals
"""
