"""T2S: a frozen base, and for each further skill some parameter tokens (rows) of its own.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from skilltokens.configuration import NotNegative, Positive, Share, ShareFrom0
from skilltokens.methods.registration import Otherwise, Registration
from skilltokens.methods.start import StartSettings
from skilltokens.types import SettingError

RowsIn = Literal["all", "attention", "feed-forward", "first", "last"]


@dataclass(frozen=True)
class T2SSettings(StartSettings):
    """T2S: a new skill adds a few rows and a low-rank change of the shared ones, and trains only those (and its own
    small head and encoders)."""

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
    start: Literal["base", "nearest", "copy", "learned"] = "copy"
    """A skill starts as the base, with the head and encoders of its nearest skill, as a full copy of that skill, or
    where all skills so far have moved a common start to (start_step)."""
    near: float = 0.5
    """Least cosine between two instructions that counts as near."""
    otherwise: Otherwise = "newest"
    """What a skill starts from where none is near: the newest skill, or the base."""
    base_rows: ShareFrom0 = 1.0
    """Share of the base's rows that a skill uses, chosen by language; 1 is best where the base has learned one task."""
    mu: Share = 0.5
    """Of the rows that a skill uses in a Pattention layer, at most this share may be new; the others are reused."""
    rows_in: RowsIn = "all"
    """Pattention layers that get new rows, in proportion to the base's: all, attention's, the feed-forward ones, or all
    of the transformer's first or last half."""
    value_std: NotNegative = 0.2
    """Standard deviation of a new row's values; its key starts at zero."""
    fork: ShareFrom0 = 0.0
    """Share of the new rows that take the place of rows of the base, as copies that the skill may change."""
    fork_by: Literal["use", "gradient"] = "use"
    """Rows of the base that are forked: those that weigh most on the demonstrations, or with the largest gradients."""
    bend: ShareFrom0 = 0.5
    """Share of the rows' budget for a low-rank change of the shared rows, rank 1 at least; the rest buys new rows."""
    bend_along: Literal["random", "gradient"] = "random"
    """Directions in which a fresh bend can move at first: drawn at random, or those of the loss's largest gradients."""
    reuse_skills: Annotated[int, Ge(0), Le(3)] = 0
    """Nearest earlier skills, at most, whose rows are shared whole, each by one learned factor a map, from 0 on."""
    gates_first: ShareFrom0 = 0.0
    """Share of training in which only the factors on shared rows are trained."""

    ADDED: ClassVar[tuple[str, ...]] = (
        *StartSettings.ADDED,
        *("otherwise", "fork", "fork_by", "bend", "bend_along", "reuse_skills", "gates_first"),
    )
    BEFORE: ClassVar[Mapping[str, Any]] = MappingProxyType({"bend": 0.0})

    def check(self, name: str = "method") -> None:
        """Raises SettingError for settings that contradict each other."""
        super().check(name)
        prefix = f"{name}." if name else ""
        if self.start == "learned" and (self.fork or self.reuse or self.reuse_skills):
            raise SettingError(
                f"{prefix}start learned is one start for all skills, whose rows must mean the same: set {prefix}fork, "
                f"{prefix}reuse and {prefix}reuse-skills to 0"
            )
        if self.bend_along != "random" and not self.bend:
            raise SettingError(f"{prefix}bend-along {self.bend_along} bends nothing: set {prefix}bend")
        if self.reuse and self.reuse_skills:
            raise SettingError(f"{prefix}reuse and {prefix}reuse-skills both share earlier skills' rows: set one to 0")
        if self.gates_first and not (self.gates or self.reuse_skills):
            raise SettingError(
                f"{prefix}gates-first {self.gates_first:g} has no gates to train: set {prefix}reuse-skills or "
                f"{prefix}gates"
            )


@dataclass(frozen=True)
class T2SRowsSettings(T2SSettings):
    """T2S by new rows alone, in the feed-forward maps: what `t2s` was until 2026-12-01."""

    rows_in: RowsIn = "feed-forward"
    """Pattention layers that get new rows, in proportion to the base's: all, attention's, the feed-forward ones, or all
    of the transformer's first or last half."""
    bend: ShareFrom0 = 0.0
    """Share of the rows' budget for a low-rank change of the shared rows, rank 1 at least; the rest buys new rows."""


REGISTRATION = Registration(
    "new rows a skill, and a small change of the shared ones",
    "skilltokens.methods.t2s.method:T2S",
    T2SSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"rows_in": "feed-forward", "bend": 0.0}),
)
ROWS = Registration(
    "T2S by new rows alone, in the feed-forward maps",
    "skilltokens.methods.t2s.method:T2S",
    T2SRowsSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"rows_in": "all"}),
    once="t2s",
)
