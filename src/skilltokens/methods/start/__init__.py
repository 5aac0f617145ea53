"""Where a new skill starts, and what binds it to there: settings that methods with a policy for each skill share.

No method of its own; what the settings do is in `held.py`, and in methods/neighbours.py. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from skilltokens.configuration import NotNegative, Share, ShareFrom0
from skilltokens.methods.start.choosing import NeighbourRule, check_start


@dataclass(frozen=True)
class StartSettings:
    """How far a new skill may go from where it starts, and what later skills start from."""

    pull: NotNegative = 0.0
    """Weight of half the squared distance of a skill's own numbers to where they started, added to the loss (L2-SP)."""
    blend: ShareFrom0 = 1.0
    """Share of the way from its start to what was learned that a skill keeps; 1: all of it. Choose it on validation."""
    start_step: Share = 0.2
    """With start "learned": the share of the way to each new skill that the start of later skills goes (Reptile)."""

    neighbour: NeighbourRule = "instruction"
    """What chooses the nearest skill, where one is started from: its instruction, the new demonstrations (the least
    cloning loss; near counts for nothing then), or the names of --method.named."""
    named: tuple[str, ...] = ()
    """With neighbour named: TASK=SKILL for each task, a skill by its name or number; a SKILL alone is for all other
    tasks, base is the base itself."""

    ADDED: ClassVar[tuple[str, ...]] = ("pull", "blend", "start_step", "neighbour", "named")
    COPIES: ClassVar[str] = "copy"
    """The value of `start` by which a new skill starts as its nearest one."""

    def check(self, name: str = "method") -> None:
        """Raises SettingError where the rule that chooses a start lacks what it goes by, or has nothing to choose."""
        check_start(name, self.neighbour, self.named, getattr(self, "start", self.COPIES), self.COPIES)
