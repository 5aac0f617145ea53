"""Mean ranks over tasks, and how far apart they must lie: the critical difference of Demsar (JMLR 7, 2006).

Friedman's test asks whether any ranks differ, Nemenyi's which: k methods on N tasks differ where their mean ranks are
q sqrt(k (k + 1) / (6 N)) apart, q being the studentized range's quantile over sqrt(2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skilltokens.metrics import rates
from skilltokens.report.comparison.model import Contender, Table
from skilltokens.report.comparison.standing import is_mark, ranked
from skilltokens.significance import ALPHA

FEWEST_METHODS, FEWEST_TASKS = 3, 5


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of methods over the tasks of a table, 1 the best; ties share a rank."""

    labels: tuple[str, ...]
    """Best first."""
    means: tuple[float, ...]
    tasks: int
    p: float
    """Friedman's test: the chance of ranks as unequal as these if all methods were alike."""
    distance: float
    """Nemenyi's critical difference at the level .05."""

    @property
    def cliques(self) -> list[tuple[int, int]]:
        """First and last place of each run of methods that are not told apart, none of them inside another."""
        ends = [max(j for j, mean in enumerate(self.means) if mean - start <= self.distance) for start in self.means]
        spans = [(start, end) for start, end in enumerate(ends) if end > start]
        return [span for place, span in enumerate(spans) if place == 0 or span[1] > spans[place - 1][1]]


def ranks(table: Table) -> Ranks | str:
    """The ranks by final success of each task, seeds averaged; or, in a sentence, why there are none."""
    rivals = [one for one in ranked(table) if not is_mark(one) and one.finished]
    tasks = len(table.tasks)
    if len(rivals) < FEWEST_METHODS:
        return f"Ranks need {FEWEST_METHODS} methods that are finished; here are {len(rivals)}."
    if tasks < FEWEST_TASKS:
        return f"Ranks need {FEWEST_TASKS} tasks; here are {tasks}."
    success = np.array([final_rates(one).mean(axis=0) for one in rivals])
    return ranks_of([one.label for one in rivals], success)


def ranks_of(labels: Sequence[str], success: np.ndarray) -> Ranks | str:
    """The ranks of methods by their success on each task, (methods, tasks); a sentence where all are alike."""
    from scipy import stats  # only where it is needed: it takes a while to load

    success = success.round(9)  # 17/20 and 0.85 are one rank
    by_task = stats.rankdata(-success, axis=0)
    if (by_task == by_task[0]).all():
        return "All methods have the same success on every task: there are no ranks."
    means, (count, tasks) = by_task.mean(axis=1), success.shape
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, count, math.inf)) / math.sqrt(2)
    order = [int(place) for place in np.argsort(means, kind="stable")]
    return Ranks(
        tuple(labels[place] for place in order),
        tuple(float(means[place]) for place in order),
        tasks,
        float(stats.friedmanchisquare(*success).pvalue),
        quantile * math.sqrt(count * (count + 1) / (6 * tasks)),
    )


def final_rates(contender: Contender) -> np.ndarray:
    """Success after the last lesson that is learned, (seeds, tasks)."""
    return np.stack(
        [
            rates(run.successes[run.learned - 1], run.episodes[run.learned - 1])[: run.learned]
            for run in contender.group.runs
        ]
    )
