"""T2S: a frozen base, and for each further skill some parameter tokens (rows) of its own.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import NotNegative, Positive, Share, ShareFrom0
from skilltokens.methods.registration import Registration
from skilltokens.methods.starting import NeighbourRule, check_start


@dataclass(frozen=True)
class T2SSettings:
    """T2S: a new skill adds a few parameter tokens and trains only those (and its own small head and encoders)."""

    share: Positive = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy, head and encoders included."""
    rate: Positive = 1e-2
    """Peak learning rate of the new rows."""
    own_rate: Positive = 1e-2
    """Peak learning rate of the skill's own head, encoders and gates."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""
    gates: bool = False
    """A skill has a factor of its own on each shared row (one number a row)."""
    reuse: NotNegative = 0.0
    """Earlier skills' rows that a skill reuses in a Pattention layer, for each new row there; 0: the base's alone."""
    start: Literal["base", "nearest", "copy"] = "copy"
    """A skill starts as the base, with the head and encoders of its nearest skill, or as a full copy of that skill."""
    near: float = 0.5
    """Least cosine between two instructions that counts as near; with no skill near, the newest is taken."""
    base_rows: ShareFrom0 = 1.0
    """Share of the base's rows that a skill uses, chosen by language; 1 is best where the base has learned one task."""
    mu: Share = 0.5
    """Of the rows that a skill uses in a Pattention layer, at most this share may be new; the others are reused."""
    rows_in: Literal["all", "attention", "feed-forward"] = "feed-forward"
    """Pattention layers that get new rows: attention's, the feed-forward ones, or all, in proportion to the base's."""
    value_std: NotNegative = 0.2
    """Standard deviation of a new row's values; its key starts at zero."""
    neighbour: NeighbourRule = "instruction"
    """What chooses the nearest skill: its instruction, the new demonstrations (the least cloning loss; --method.near
    counts for nothing then), or --method.named."""
    named: tuple[str, ...] = ()
    """With neighbour named: TASK=SKILL for each task, a skill by its name or number; a SKILL alone is for all other
    tasks, base is the base itself."""

    def check(self, name: str = "method") -> None:
        """Raises SettingError where the rule that chooses a start lacks what it goes by."""
        check_start(name, self.neighbour, self.named, self.start, "copy")


REGISTRATION = Registration(
    "new parameter tokens a skill, the rest frozen",
    "skilltokens.methods.t2s.method:T2S",
    T2SSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"rows_in": "all"}),
)
