"""EWC: fine-tune everything, held where earlier tasks depend on it.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import Count, NotNegative, Share
from skilltokens.methods.registration import Registration
from skilltokens.methods.sequential import SequentialSettings


@dataclass(frozen=True)
class EWCSettings(SequentialSettings):
    """Fine-tune everything, and pull each parameter back as strongly as earlier tasks depend on it."""

    weight: NotNegative = 100.0
    """Of the pull; 0 is fine-tuning. At 1 it stands for the loss on the earlier tasks, as far as a parabola along each
    parameter can."""
    form: Literal["online", "per-task"] = "online"
    """One importance, summed over the tasks, and a pull to the newest parameters; or for each task its own importance
    and its own parameters to be pulled to, all of them kept."""
    decay: Share = 1.0
    """Online: what is left of the importance of earlier tasks after each further one."""
    samples: Count = 200
    """Windows of each task, one by one, from which its importance (the diagonal Fisher information) is estimated."""


REGISTRATION = Registration(
    "fine-tunes, held where earlier tasks depend on it",
    "skilltokens.methods.ewc.method:EWC",
    EWCSettings,
    trials=({"weight": 10.0}, {"weight": 1000.0}, {"weight": 1.0}),
)
