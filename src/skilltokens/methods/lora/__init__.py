"""LoRA: a frozen base, and for each further skill a low-rank adapter.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Otherwise, Registration
from skilltokens.methods.start import StartSettings


@dataclass(frozen=True)
class LoraSettings(StartSettings):
    """LoRA: one low-rank adapter a skill on the frozen base, chosen by the instruction, of the same trained size."""

    share: Positive = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy, head and encoders included."""
    rate: Positive = 1e-2
    """Peak learning rate of the adapters."""
    own_rate: Positive = 5e-3
    """Peak learning rate of the skill's own head and encoders."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""
    start: Literal["base", "copy", "learned"] = "base"
    """A new skill starts as the base, as a copy of its nearest skill, or where all skills so far have moved a common
    start to (start_step)."""
    near: float = 0.5
    """Least cosine between two instructions that counts as near."""
    otherwise: Otherwise = "newest"
    """What a skill starts from where none is near: the newest skill, or the base."""
    along: Literal["random", "gradient"] = "random"
    """Directions in which a fresh adapter can move at first: drawn at random, or those of the loss's largest
    gradients."""

    ADDED: ClassVar[tuple[str, ...]] = (*StartSettings.ADDED, "otherwise", "along")


REGISTRATION = Registration(
    "a low-rank adapter a skill, the rest frozen",
    "skilltokens.methods.lora.method:Lora",
    LoraSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"start": "copy"}),
)
