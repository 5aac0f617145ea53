"""Single-task learning: a policy of its own for each task, from scratch.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class SingleTaskSettings:
    """A policy of its own for every task, from scratch."""

    rate: Positive = 1e-3
    """Peak learning rate."""


REGISTRATION = Registration(
    "a policy of its own for each task",
    "skilltokens.methods.single_task.method:SingleTask",
    SingleTaskSettings,
)
