"""Speed against peers: other people's code, timed beside ours on the same data, with sizes matched.

    make peers                                # sets up .venv-peers, measures, keeps the rows in benchmarks/RESULTS.md
    .venv-peers/bin/python -m benchmarks.peers --quick

Peers live in an environment of their own, and nothing of theirs is copied here: LIBERO and TokenFormer are read from
clones at a pinned commit (sources.py), PEFT and Stable-Baselines3 are packages. Beside each row stands how many
parameters each side has and trains (sizes.py). docs/speed.md says what was compared, and what bounds it.
"""
