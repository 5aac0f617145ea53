"""A full copy of the base for each further skill, all of it fine-tuned: what isolation can reach without a budget.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Otherwise, Registration
from skilltokens.methods.start import StartSettings


@dataclass(frozen=True)
class FullCopySettings(StartSettings):
    """A full copy of the base for every further skill, all of it fine-tuned."""

    rate: Positive = 2e-3
    """Peak learning rate of a copy; that of sequential fine-tuning."""
    start: Literal["base", "nearest", "learned"] = "base"
    """A new skill starts as a copy of the base, of its nearest skill by the instruction (one of a library that is no
    whole policy of the base's form counts as the base), or where all skills so far have moved a common start to
    (start_step)."""
    near: float = 0.5
    """Least cosine between two instructions that counts as near."""
    otherwise: Otherwise = "newest"
    """What a skill starts from where none is near: the newest skill, or the base."""

    COPIES: ClassVar[str] = "nearest"
    ADDED: ClassVar[tuple[str, ...]] = (*StartSettings.ADDED, "otherwise")


REGISTRATION = Registration(
    "a full copy of the base for each skill, fine-tuned",
    "skilltokens.methods.full_copy.method:FullCopy",
    FullCopySettings,
    trials=({"rate": 1e-3}, {"rate": 4e-3}, {"start": "nearest"}),
)
