"""What came of learning from reward, in a few sentences and one small table: what a reader of the page sees first."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from skilltokens.escaping import terminal
from skilltokens.report import text
from skilltokens.report.reward import needed
from skilltokens.report.reward_runs import GOOD, RewardRun, Row, rows_of, tasks_in
from skilltokens.report.story import listed_markup, word

MOST = 8
"""More learners than these are counted, not named."""


@dataclass(frozen=True)
class Held:
    """One learner: its rows, a task each, and on which of them its median seed held GOOD success."""

    label: str
    rows: tuple[Row, ...]

    @property
    def marks(self) -> list[tuple[bool, str]]:
        """For each task whether success held, and words that say after how many steps."""
        return [(row.middle is not None, f"{row.task}, steps needed: {needed(row)}") for row in self.rows]

    @property
    def count(self) -> int:
        return sum(row.middle is not None for row in self.rows)

    @property
    def steps(self) -> float:
        """Steps until success held, the mean over the tasks on which it did."""
        known = [steps for row in self.rows if (steps := row.middle) is not None]
        return statistics.fmean(known) if known else 0.0


def held(runs: Sequence[RewardRun]) -> list[Held]:
    """Every learner, in their own order."""
    rows: dict[str, list[Row]] = {}
    for task in tasks_in(runs):
        for row in rows_of(runs, task):
            rows.setdefault(row.label, []).append(row)
    return [Held(label, tuple(mine)) for label, mine in rows.items()]


def sentences(learners: Sequence[Held]) -> list[Markup]:
    """Who held GOOD success on how many of the tasks, and who of those that did on all needed the fewest steps."""
    if not learners:
        return []
    share = f"{100 * GOOD:.0f}\N{NO-BREAK SPACE}%"
    most = max(len(one.rows) for one in learners)
    winners = [one for one in learners if one.count == most]
    if not any(one.count for one in learners):
        return [Markup("No learner held success on {} of the test episodes.").format(share)]
    if len(learners) > MOST:
        words = Markup("{} of {} settings hold success on {} of the test episodes of {}.")
        parts = [words.format(len(winners), len(learners), share, _of(most, most, most))]
    else:
        counts = sorted({(one.count, len(one.rows)) for one in learners}, reverse=True)
        groups = [
            Markup("{} on {}").format(
                listed_markup([_name(one) for one in learners if (one.count, len(one.rows)) == pair]), _of(*pair, most)
            )
            for pair in counts
        ]
        parts = [Markup("Success holds on {} of the test episodes with {}.").format(share, Markup("; ").join(groups))]
    trained = [one for one in winners if one.rows[0].trained]
    if len(trained) > 1:
        first, *_, last = sorted(trained, key=lambda one: one.steps)
        parts.append(
            Markup("Of those that train and hold it on every task, {} needs the fewest environment steps, {} a task, "
                   "and {} the most, {}; they train {} and {} numbers.").format(
                _name(first), _count(first.steps), _name(last), _count(last.steps),
                _count(first.rows[0].trained), _count(last.rows[0].trained),
            )
        )  # fmt: skip
    return parts


def _of(count: int, tasks: int, most: int) -> str:
    """`all four tasks`, `two of four`, or `one of the one tried` where not all tasks were tried."""
    tried = "" if tasks == most else " tried"
    if count == 0:
        return f"none of {word(tasks)}{tried}"
    if count < tasks or tried:
        return f"{word(count)} of {word(tasks)}{tried}"
    return {1: "the task", 2: "both tasks"}.get(tasks, f"all {word(tasks)} tasks")


def _name(one: Held) -> Markup:
    return Markup("<b>{}</b>").format(terminal(one.label))


def _count(number: float) -> str:
    return text.number(number, "count")
