"""Weight merging: after each lesson the policy goes back a part of the way.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive, ShareFrom0
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class MergeSettings:
    """Weight merging: fine-tune everything, then keep a mean of the weights before and after."""

    rate: Positive = 2e-3
    """Peak learning rate after the first task."""
    share: ShareFrom0 = 0.5
    """Weight of the fine-tuned policy in the mean; 1 is fine-tuning, 0 learns nothing. Choose it on validation."""


REGISTRATION = Registration(
    "fine-tunes, then averages with the policy of before",
    "skilltokens.methods.merge.method:Merge",
    MergeSettings,
    trials=({"share": 0.25}, {"share": 0.75}, {"share": 0.9}),
)
