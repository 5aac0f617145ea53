"""Multitask learning: all tasks at once in one policy.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class MultitaskSettings:
    """All tasks at once, with the budget of all: the upper bound."""

    rate: Positive = 1e-3
    """Peak learning rate."""


REGISTRATION = Registration(
    "all tasks at once: the upper bound",
    "skilltokens.methods.multitask.method:Multitask",
    MultitaskSettings,
)
