"""Skills beside the frozen maps of any PyTorch policy, and a library of them on one base.

kinds.py       what stands beside a map: rows, or a low-rank adapter
patterns.py    which maps and parameters of known policies
places.py      where in a policy they are, and what is refused
beside.py      attach(): a frozen policy and the skill that is active beside it
"""
