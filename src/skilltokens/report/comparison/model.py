"""What a comparison says, as facts without a layout: tables of contenders, and each pair of them with its tests.

Success is that after the last lesson that both have (`Pair.lessons`), if nothing else is said. Rates lie between 0
and 1, differences are A's less B's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from skilltokens.metrics import Interval, Paired
from skilltokens.report.summary import Figure, Group

Verdict = Literal["ahead", "behind", "these policies ahead", "these policies behind", "open"]
"""What a pair's tests come to, of A: ahead or behind where the exact test and, with several seeds, the interval over
them agree; `these policies ...` where the test says so and the seeds leave it open whether another training would."""


@dataclass(frozen=True)
class Costs:
    """What a contender took to train and keep, as means over its seeds; None where its files do not say."""

    base: float | None
    """Parameters of the whole policy after the first lesson."""
    trained: float | None
    """Parameters trained for a new skill, on average over the lessons after the first (all lessons from a base)."""
    stored: float | None
    """Parameters kept in the end to act on every skill."""
    stored_bytes: float | None
    """The same in bytes, 4 a parameter."""
    remembered_bytes: float | None
    """Demonstrations kept in the end to learn on; 0 where none are."""
    demonstrations: float | None
    """Demonstrations of a task."""
    iterations: float | None
    """Training steps of all lessons together."""
    passes: float | None
    """Passes of a batch through the policy in all those steps: what they cost in compute."""
    seconds: float | None
    """Seconds of training, on whatever machine it was."""


@dataclass(frozen=True)
class Contender:
    """All seeds of one method with one configuration, and what they cost. Figures: `group.figure(definition)`."""

    group: Group
    costs: Costs
    final: Figure
    """Success after the last lesson that is learned."""
    assumed: tuple[str, ...] = ()
    """Conditions, by name, that its files do not say and that were taken to be the table's."""

    @property
    def label(self) -> str:
        return self.group.label

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.group.runs)

    @property
    def finished(self) -> bool:
        return self.group.finished


@dataclass(frozen=True)
class TaskPair:
    """One task of a pair, its seeds pooled: successes of episodes of A and of B, and the exact test."""

    task: str
    successes: tuple[int, int]
    episodes: tuple[int, int]
    difference: float
    p: float
    corrected: float
    """The p-value by Holm's correction over the tasks of this pair."""


@dataclass(frozen=True)
class Pair:
    """Contender A against contender B on the seeds and tasks that both have."""

    a: Contender
    b: Contender
    seeds: tuple[int, ...]
    lessons: int
    """The lesson after which they are compared: the last that all of these runs have done."""
    final: Paired
    """The difference, its interval (Student's t over seeds, or over tasks with one seed), wins, ties and losses."""
    bootstrap: Interval | None
    """The interval of the difference by a paired hierarchical bootstrap over seeds and tasks."""
    fwt: Paired | None
    """The same of FWT; None where one of them has none."""
    successes: tuple[int, int]
    episodes: tuple[int, int]
    paired: bool
    """Whether the test pairs the episodes by their initial states (McNemar's), or compares counts
    (Fisher's)."""
    discordant: tuple[int, int] | None
    """Episodes that A alone and that B alone solved, where they pair."""
    p: float
    """The exact test over all episodes."""
    corrected: float
    """The same by Holm's correction over the pairs of the table."""
    smallest: float | None
    """The smallest difference that so many episodes would show at the level .05 with a power of .8; None: not even
    1."""
    tasks: tuple[TaskPair, ...]
    verdict: Verdict

    @property
    def difference(self) -> float:
        return self.final.difference


@dataclass(frozen=True)
class Table:
    """Runs that may be compared, and the pairs among them."""

    suite: str
    tasks: tuple[str, ...]
    conditions: Mapping[str, str]
    """What is equal in all of them, by the condition's name, in words; `not said` where no file says it."""
    contenders: tuple[Contender, ...]
    """Known methods in their fixed order, then others as they came in."""
    pairs: tuple[Pair, ...]
    """Every pair of contenders that has a common seed, A before B in the order of `contenders`."""
    assumed: tuple[str, ...]
    """One sentence for each contender whose files do not say all conditions: which were taken to be equal."""
    remarks: tuple[str, ...]
    """Sentences about what a reader must know: unfinished runs, pairs that could not be formed."""


@dataclass(frozen=True)
class Comparisons:
    """All tables of what was named, and why they are apart."""

    tables: tuple[Table, ...]
    apart: tuple[str, ...]
    """One sentence for each further table: in what it differs from the first."""
    left_out: tuple[str, ...] = ()
    """One sentence for each run that has no test yet."""
