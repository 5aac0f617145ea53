"""Two contenders against each other: the episodes that both have, the tests on them, and what they come to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from skilltokens import metrics, significance
from skilltokens.report.comparison.model import Contender, Pair, TaskPair, Verdict
from skilltokens.report.runs import Counts, Run
from skilltokens.report.summary import areas_apart

STATES = ("suite", "tasks", "split of the initial states", "episodes a test")
"""Conditions that must be said, not assumed, for episodes to pair by their initial states."""


def pairs_of(contenders: Sequence[Contender]) -> tuple[list[Pair], list[str]]:
    """Every pair that has a seed and a lesson in common, and a sentence for each that has not."""
    pairs, missing = [], []
    for a, b in itertools.combinations(contenders, 2):
        pair = pair_of(a, b)
        if isinstance(pair, str):
            missing.append(pair)
        else:
            pairs.append(pair)
    corrected = significance.holm([pair.p for pair in pairs])
    judged = [replace(pair, corrected=p) for pair, p in zip(pairs, corrected, strict=True)]
    return [replace(pair, verdict=verdict(pair)) for pair in judged], missing


def pair_of(a: Contender, b: Contender) -> Pair | str:
    """One pair, uncorrected; or why there is none."""
    seeds = sorted(set(a.seeds) & set(b.seeds))
    if not seeds:
        return f"{a.label} and {b.label} have no seed in common, so they do not pair: run one with the other's seeds"
    mine, other = ([_of_seed(contender, seed) for seed in seeds] for contender in (a, b))
    lessons = _lessons([*mine, *other])
    if not lessons:
        return f"{a.label} and {b.label} have no lesson in common after which both were tested on all tasks so far"
    first, second = (_Tests(runs, lessons) for runs in (mine, other))
    letters = not {*a.assumed, *b.assumed} & set(STATES) and first.aligns(second)
    tasks = tuple(_task(first, second, task, letters) for task in range(lessons))
    corrected = significance.holm([task.p for task in tasks])
    counts = significance.discordant(first.letters(), second.letters()) if letters else None
    successes, episodes = (first.total[0], second.total[0]), (first.total[1], second.total[1])
    return Pair(
        a=a,
        b=b,
        seeds=tuple(seeds),
        lessons=lessons,
        final=metrics.paired(first.rates, second.rates),
        bootstrap=significance.bootstrap_interval(first.rates - second.rates),
        fwt=areas_apart(mine, other),
        successes=successes,
        episodes=episodes,
        paired=letters,
        discordant=None if counts is None else (counts.first, counts.second),
        p=significance.unpaired_test(successes, episodes) if counts is None else significance.paired_test(counts),
        corrected=1.0,
        smallest=significance.smallest_unpaired(successes, episodes)
        if counts is None
        else significance.smallest_paired(counts),
        tasks=tuple(replace(task, corrected=p) for task, p in zip(tasks, corrected, strict=True)),
        verdict="open",
    )


def verdict(pair: Pair) -> Verdict:
    """What a pair's tests come to: the corrected test decides, and with several seeds their interval must agree."""
    if pair.corrected >= significance.ALPHA or pair.difference == 0:
        return "open"
    ahead, interval = pair.difference > 0, pair.final.interval
    if pair.final.over == "seeds" and interval is not None and interval.low <= 0 <= interval.high:
        return "these policies ahead" if ahead else "these policies behind"
    return "ahead" if ahead else "behind"


class _Tests:
    """The tests of some runs, one a seed, after one lesson: counts (seeds, lessons), and outcomes where all have
    them."""

    def __init__(self, runs: Sequence[Run], lessons: int) -> None:
        self.successes: Counts = np.stack([run.successes[lessons - 1, :lessons] for run in runs])
        self.episodes: Counts = np.stack([run.episodes[lessons - 1, :lessons] for run in runs])
        self.outcomes = [outcomes_of(run, lessons) for run in runs]
        self.names = runs[0].tasks
        self.rates = metrics.rates(self.successes, self.episodes)
        self.total = int(self.successes.sum()), int(self.episodes.sum())

    def aligns(self, other: _Tests) -> bool:
        """Whether all episodes of both are known one by one, and are equally many."""
        pairs = [pair for a, b in zip(self.outcomes, other.outcomes, strict=True) for pair in zip(a, b, strict=True)]
        return all(0 < len(a) == len(b) for a, b in pairs)

    def letters(self, task: int | None = None) -> list[str]:
        """The outcomes of one task, or of all, seed by seed."""
        return [cell for row in self.outcomes for k, cell in enumerate(row) if task in (None, k)]


def outcomes_of(run: Run, lessons: int) -> list[str]:
    """Each task's outcomes after a lesson, episode by episode; empty where they were not kept."""
    letters = [""] * lessons
    for cell in run.record.cells:
        kind = (cell.after, cell.progress, cell.split, cell.selected_by)
        if kind == (lessons - 1, 1.0, run.split, run.selected_by) and cell.task < lessons:
            letters[cell.task] = cell.outcomes
    return letters


def _of_seed(contender: Contender, seed: int) -> Run:
    return next(run for run in contender.group.runs if run.seed == seed)


def _lessons(runs: Sequence[Run]) -> int:
    """The last lesson after which every run was tested on all tasks so far; 0 where there is none."""
    for lessons in range(min(run.learned for run in runs), 0, -1):
        if all((run.episodes[lessons - 1, :lessons] > 0).all() for run in runs):
            return lessons
    return 0


def _task(first: _Tests, second: _Tests, task: int, letters: bool) -> TaskPair:
    successes, episodes = (
        (int(getattr(first, name)[:, task].sum()), int(getattr(second, name)[:, task].sum()))
        for name in ("successes", "episodes")
    )
    if letters:
        p = significance.paired_test(significance.discordant(first.letters(task), second.letters(task)))
    else:
        p = significance.unpaired_test(successes, episodes)
    apart = float((first.rates[:, task] - second.rates[:, task]).mean())
    return TaskPair(first.names[task], successes, episodes, apart, p, p)
