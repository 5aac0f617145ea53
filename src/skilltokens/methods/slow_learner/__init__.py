"""Slow learner: fine-tuning whose trunk learns much slower than its head.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive, Share
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class SlowLearnerSettings:
    """Slow learner: fine-tune everything, after the first task the trunk at a small part of the head's rate."""

    rate: Positive = 2e-3
    """Peak learning rate of the head after the first task."""
    trunk: Share = 0.1
    """Rate of everything else, as a share of the head's; 1 is fine-tuning."""
    fast_encoders: bool = False
    """The observation encoders learn at the head's rate as well."""


REGISTRATION = Registration(
    "fine-tunes the trunk much slower than the head",
    "skilltokens.methods.slow_learner.method:SlowLearner",
    SlowLearnerSettings,
    trials=({"trunk": 0.3}, {"trunk": 0.03}, {"trunk": 0.01}),
)
