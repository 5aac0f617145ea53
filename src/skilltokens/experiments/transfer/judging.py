"""Rules that choose a neighbour, judged against the cells of a transfer matrix.

For a new task, a column, the other tasks' skills stand in an order by what each gave, and in another by what a rule
says: Spearman's rank correlation compares the two. The regret is the gain of the best of them less that of the one that
the rule chooses. A task's own skill is no neighbour of it: the diagonal is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skilltokens import metrics
from skilltokens.experiments.transfer.record import RuleScores, TransferRecord

Matrix = NDArray[np.float64]
Measure = Literal["final", "area"]
"""Success at the end of training, or the area under the learning curve (metrics.forward_transfer)."""


@dataclass(frozen=True)
class Verdict:
    """How good a rule's choices are, column by column, (tasks,) each."""

    rule: str
    correlations: Matrix
    """Spearman's; NaN where all gains, or all scores, of a column are equal."""
    regrets: Matrix
    gains: Matrix
    """Of the skill that it chooses."""
    chosen: NDArray[np.int64]
    """The place of that skill; -1 for chance."""

    @property
    def correlation(self) -> float | None:
        """The mean over the columns that have one."""
        known = self.correlations[~np.isnan(self.correlations)]
        return float(known.mean()) if len(known) else None


def success(record: TransferRecord, measure: Measure = "final") -> tuple[Matrix, Matrix]:
    """Success of each task (column) learned from the skill of each (row), (tasks, tasks), and from the base, (tasks,);
    NaN for cells that are not there yet."""
    count = len(record.tasks)
    pairs, base = np.full((count, count), np.nan), np.full(count, np.nan)
    for cell in record.cells:
        rates = np.array(cell.successes) / cell.episodes
        value = rates[-1] if measure == "final" else metrics.forward_transfer([rates], [cell.progress])[0]
        if cell.start is None:
            base[cell.task] = value
        else:
            pairs[cell.start, cell.task] = value
    return pairs, base


def gains(record: TransferRecord, measure: Measure = "final") -> Matrix:
    """Success of each pair less that from the base, (tasks, tasks)."""
    pairs, base = success(record, measure)
    return pairs - base


def judged(rule: RuleScores, gain: Matrix) -> Verdict:
    """A rule's verdict on gains (tasks, tasks), all of them known off the diagonal."""
    scores = np.array(rule.scores, np.float64) * (-1 if rule.less_is_nearer else 1)
    correlations, regrets, reached, chosen = [], [], [], []
    for task in range(len(gain)):
        others = np.delete(np.arange(len(gain)), task)
        column, said = gain[others, task], scores[others, task]
        best = int(said.argmax())
        correlations.append(spearman(said, column))
        regrets.append(float(column.max() - column[best]))
        reached.append(float(column[best]))
        chosen.append(int(others[best]))
    return Verdict(rule.rule, np.array(correlations), np.array(regrets), np.array(reached), np.array(chosen))


def by_chance(gain: Matrix) -> Verdict:
    """What a rule that draws one of the other skills gives on average."""
    columns = [np.delete(gain[:, task], task) for task in range(len(gain))]
    means = np.array([column.mean() for column in columns])
    best = np.array([column.max() for column in columns])
    return Verdict("chance", np.zeros(len(gain)), best - means, means, np.full(len(gain), -1))


def spearman(one: Matrix, other: Matrix) -> float:
    """Spearman's rank correlation of (n,) and (n,), equal values sharing their ranks; NaN where one is constant."""
    from scipy.stats import rankdata  # only where it is needed: it takes a while to load

    ranks = [rankdata(np.round(values, 9)) for values in (one, other)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


def agreement(one: Verdict, other: Verdict) -> int:
    """For how many tasks two rules choose the same skill."""
    return int((one.chosen == other.chosen).sum())


def best_starts(record: TransferRecord) -> list[str]:
    """For each task the start that gave most in hindsight, as the setting `named` has it: TASK=SKILL, or TASK=base.

    By success at the end, then by the area under the curve, then by the least loss on held-out demonstrations.
    """
    names = [task.name for task in record.tasks]
    hindsight: dict[int, tuple[tuple[float, ...], str]] = {}
    for cell in record.cells:
        if cell.start == cell.task:
            continue
        rates = np.array(cell.successes) / cell.episodes
        area = float(metrics.forward_transfer([rates], [cell.progress])[0])
        rank = (float(rates[-1]), round(area, 9), -(math.inf if cell.loss is None else cell.loss))
        name = "base" if cell.start is None else names[cell.start]
        if cell.task not in hindsight or rank > hindsight[cell.task][0]:
            hindsight[cell.task] = rank, name
    return [f"{names[task]}={hindsight[task][1]}" for task in sorted(hindsight)]


def verdicts(record: TransferRecord, measure: Measure = "final") -> list[Verdict]:
    """Every rule's verdict, and that of chance behind them; none where a cell off the diagonal is missing."""
    gain = gains(record, measure)
    known = ~np.isnan(gain) | np.eye(len(gain), dtype=bool)
    return [*(judged(rule, gain) for rule in record.rules), by_chance(gain)] if known.all() else []


def measures(records: Sequence[TransferRecord]) -> list[Measure]:
    """The area is one where every cell has a curve."""
    curves = all(len(cell.progress) > 1 for record in records for cell in record.cells)
    return ["final", "area"] if curves else ["final"]
