"""What binds a new skill to where it starts: settings that methods with a policy for each skill share.

No method of its own; what the settings do is in `held.py`. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from skilltokens.configuration import NotNegative, Share, ShareFrom0


@dataclass(frozen=True)
class StartSettings:
    """How far a new skill may go from where it starts, and what later skills start from."""

    pull: NotNegative = 0.0
    """Weight of half the squared distance of a skill's own numbers to where they started, added to the loss (L2-SP)."""
    blend: ShareFrom0 = 1.0
    """Share of the way from its start to what was learned that a skill keeps; 1: all of it. Choose it on validation."""
    start_step: Share = 0.2
    """With start "learned": the share of the way to each new skill that the start of later skills goes (Reptile)."""

    ADDED: ClassVar[tuple[str, ...]] = ("pull", "blend", "start_step")
