"""LwF: fine-tuning that answers old instructions as before; or that keeps what the head is given for them.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import NotNegative, Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class LwFSettings:
    """LwF: fine-tune everything, and answer old instructions on the new observations as the policy of before did."""

    rate: Positive = 2e-3
    """Peak learning rate after the first task."""
    weight: NotNegative = 1.0
    """Weight of what is distilled from the policy of before; 0 is fine-tuning."""
    what: Literal["actions", "features"] = "actions"
    """What of the policy of before is imitated: its actions, or the features that its head makes them of."""


REGISTRATION = Registration(
    "fine-tunes, with old instructions answered as before",
    "skilltokens.methods.lwf.method:LwF",
    LwFSettings,
    trials=({"weight": 10.0}, {"weight": 0.1}, {"what": "features"}),
)
