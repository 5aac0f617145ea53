"""T2S as its paper describes it: a pool of rows, of which each instruction activates the Top-K.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import NotNegative, Positive, Share
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class T2SPaperSettings:
    """T2S as its paper describes it: a skill's instruction picks rows of a fixed pool; it trains those never used."""

    active: Share = 0.5
    """Share of the pool's rows that a skill uses in a Pattention layer: those with keys nearest to its instruction."""
    mu: Share = 0.1
    """Of the rows that a skill uses, at most this share may be specific: never used before, and trained."""
    share: Positive = 0.08
    """Most that a new skill may train, as a share of the whole base policy, head and encoders included."""
    keys: Literal["random", "learned", "usage"] = "learned"
    """The rows' keys: as drawn; a skill's specific rows pulled to its instruction; or all that it uses, by how much."""
    key_pull: Share = 0.1
    """How far a key moves towards the instruction; from about 0.5 on later skills have hardly a row of their own."""
    start: Literal["drawn", "zero"] = "drawn"
    """Specific rows start as the pool was drawn, or with key 0, so that they change nothing yet."""
    grow: NotNegative = 0.0
    """Rows that a pool that is used up grows by, as a share of the base's rows; 0: a run that needs more is refused."""
    spare: Positive = 1.0
    """Protocol A+: unused rows beside those of the library's base, as a share of them."""
    rate: Positive = 1e-2
    """Peak learning rate of the specific rows."""
    own_rate: Positive = 1e-2
    """Peak learning rate of the skill's own head and encoders."""
    own_head: bool = True
    """A skill has its own action head, started as a copy of the base's."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies of the base's."""


REGISTRATION = Registration(
    "T2S as its paper has it: a pool of rows, picked by the instruction",
    "skilltokens.methods.t2s_paper.method:T2SPaper",
    T2SPaperSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"keys": "random"}),
)
