"""L2: fine-tune everything, and pull all of it back to where the last lesson left it.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import NotNegative
from skilltokens.methods.registration import Registration
from skilltokens.methods.sequential import SequentialSettings


@dataclass(frozen=True)
class L2Settings(SequentialSettings):
    """Fine-tune everything, and pull all parameters alike back to where the last lesson left them."""

    weight: NotNegative = 1e-2
    """Of the pull, which also grows with the number of tasks learned; 0 is fine-tuning."""


REGISTRATION = Registration(
    "fine-tunes, pulled back to the last parameters",
    "skilltokens.methods.l2.method:L2",
    L2Settings,
    trials=({"weight": 1e-3}, {"weight": 1e-1}, {"weight": 1.0}),
)
