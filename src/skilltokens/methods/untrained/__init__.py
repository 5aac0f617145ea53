"""The policy before any lesson, given each task's instruction: the zero-shot line.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class UntrainedSettings:
    """The policy before any lesson: freshly drawn, or that of the base library given the new instruction."""


REGISTRATION = Registration(
    "the policy before any lesson (zero-shot)",
    "skilltokens.methods.untrained.method:Untrained",
    UntrainedSettings,
)
