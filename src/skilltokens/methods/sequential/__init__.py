"""Sequential fine-tuning: one policy, all of it trained, task after task.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class SequentialSettings:
    """Fine-tune everything, task after task."""

    rate: Positive = 2e-3
    """Peak learning rate."""


REGISTRATION = Registration(
    "fine-tunes everything, task after task",
    "skilltokens.methods.sequential.method:Sequential",
    SequentialSettings,
)
