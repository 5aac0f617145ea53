"""Learners from reward against one of them, paired by seed and task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skilltokens import metrics
from skilltokens.report import text
from skilltokens.report.reward_runs import RewardRun, Row, rows_of, tasks_in
from skilltokens.types import RunError, nearest


def paired(runs: Sequence[RewardRun], against: str) -> list[tuple[str, int, metrics.Paired]]:
    """Success at the end of each other learner, less that of `against`, on the seeds and tasks that both have.

    Returns a learner's label, the number of seeds, and the comparison; none of a learner that shares no seed or task.

    Raises:
        RunError: no run is of `against`.
    """
    rows = {(row.label, task): row for task in tasks_in(runs) for row in rows_of(runs, task)}
    labels = list(dict.fromkeys(label for label, _ in rows))
    if against not in labels:
        raise RunError(f"there is no run of {against!r} to compare with: {nearest(against, labels)}")
    pairs = []
    for label in labels:
        tasks = [task for task in tasks_in(runs) if (label, task) in rows and (against, task) in rows]
        both = [(rows[label, task], rows[against, task]) for task in tasks]
        seeds = sorted(set.intersection(*(set(row.seeds) for pair in both for row in pair))) if both else []
        if label != against and seeds:
            mine, other = (np.transpose([_ends(pair[side], seeds) for pair in both]) for side in (0, 1))
            pairs.append((label, len(seeds), metrics.paired(mine, other)))
    return pairs


def table(runs: Sequence[RewardRun], against: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of `paired`.

    Raises:
        RunError: no run is of `against`.
    """
    head = [f"success less {against}'s", "difference", "better / same / worse", "interval over"]
    rows = [
        [
            label,
            text.apart(pair),
            f"{pair.wins} / {pair.ties} / {pair.losses}",
            text.plural(seeds, "seed") if pair.over == "seeds" else "tasks (one seed)",
        ]
        for label, seeds, pair in paired(runs, against)
    ]
    return head, rows


def _ends(row: Row, seeds: Sequence[int]) -> list[float]:
    """The success of each seed at the end."""
    results = dict(zip(row.seeds, row.results, strict=True))
    return [results[seed].successes[-1] / results[seed].episodes for seed in seeds]
