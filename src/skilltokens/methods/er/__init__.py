"""Experience replay: fine-tune everything, with windows of earlier tasks behind each new batch.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import Count
from skilltokens.methods.registration import Registration
from skilltokens.methods.sequential import SequentialSettings


@dataclass(frozen=True)
class ERSettings(SequentialSettings):
    """Fine-tune everything, and replay windows of every earlier task. It keeps demonstrations."""

    windows: Count = 1000
    """Windows of training kept of each task taught, from all of its demonstrations."""
    keep: Literal["reservoir", "phases"] = "reservoir"
    """Which windows are kept: a fair sample of all, or as many of each phase of each demonstration, where a phase ends
    where the actions change, so that short ones are not starved."""


REGISTRATION = Registration(
    "fine-tunes with as many old windows behind each new batch",
    "skilltokens.methods.er.method:ER",
    ERSettings,
)
