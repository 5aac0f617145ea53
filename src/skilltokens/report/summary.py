"""Runs side by side: seeds grouped by method, the headline figures with intervals, paired comparisons, differences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from skilltokens import metrics
from skilltokens.experiments.records import Variant
from skilltokens.methods import method_names
from skilltokens.report.conditions import bench
from skilltokens.report.configs import measured
from skilltokens.report.definitions import BETWEEN, DEFINITIONS, MISCALLED, REPLAY, Definition
from skilltokens.report.naming import labels
from skilltokens.report.runs import Counts, Curve, Run, is_miscalled
from skilltokens.types import RunError, nearest

__all__ = [
    "DEFINITIONS",
    "Comparison",
    "Definition",
    "Figure",
    "Group",
    "Varied",
    "Versus",
    "chosen",
    "compare",
    "defined",
    "groups_of",
    "named",
    "pairs",
    "strangers",
    "variants",
    "versus",
]


@dataclass(frozen=True)
class Figure:
    """A headline figure of a group: the mean over seeds, each seed's value, and an interval.

    `basis` says what the interval is over: seeds (Student's t), episodes (Wilson, one seed: other seeds may lie
    outside), or nothing. Where several seeds agree in every digit, which says little of the next one, there is no
    interval either, and `basis` is "same".
    """

    value: float | None
    seeds: tuple[float, ...] = ()
    interval: metrics.Interval | None = None
    basis: Literal["seeds", "episodes", "same", "none"] = "none"


def _ending(run: Run) -> tuple[int, int]:
    """Successes and episodes over all tasks after the last lesson."""
    return int(run.successes[run.learned - 1].sum()), int(run.episodes[run.learned - 1].sum())


def _learning(run: Run) -> tuple[int, int]:
    """Successes and episodes of each task when it was learned."""
    rows, tasks = [run.row(k) for k in range(run.learned)], range(run.learned)
    return int(run.successes[rows, tasks].sum()), int(run.episodes[rows, tasks].sum())


_COUNTS = {"final": _ending, "learned": _learning}
"""The counts behind the figures that are one rate of all their episodes: their intervals are never too narrow."""


@dataclass(frozen=True)
class Group:
    """All seeds of one method with one configuration."""

    label: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def method(self) -> str:
        return self.first.method

    @property
    def joint(self) -> bool:
        return self.first.joint

    @cached_property
    def learned(self) -> int:
        """Lessons that every seed has done."""
        return min(run.learned for run in self.runs)

    @property
    def finished(self) -> bool:
        return all(run.finished for run in self.runs)

    def figure(self, definition: Definition) -> Figure:
        """The figure over the seeds that define it."""
        known = [(run, value) for run in self.runs if (value := definition.of(run)) is not None]
        if not known:
            return Figure(None)
        values = [value for _, value in known]
        interval, basis = None, "seeds"
        counts = _COUNTS.get(definition.key)
        if counts is not None and (len(known) > 1 or definition.key == "final"):
            good, tried = zip(*(counts(run) for run, _ in known), strict=True)
            interval, basis = metrics.rate_interval(good, tried), "seeds" if len(known) > 1 else "episodes"
        elif definition.kind == "rate" or (definition.kind in ("share", "count") and len(set(values)) > 1):
            # None of minutes: how busy a machine was is no chance that a run repeats.
            interval = metrics.mean_interval(values, bounds=definition.bounds)
            if interval is not None and interval.low == interval.high:
                interval, basis = None, "same"
        return Figure(float(np.mean(values)), tuple(values), interval, basis if interval or basis == "same" else "none")

    @cached_property
    def untested(self) -> bool:
        """Whether a seed tested old tasks at the end alone, so that NBT and AUC are not known of it."""
        known = [run.figures for run in self.runs if run.figures is not None]
        return any(figures.nbt is None and figures.lost is not None for figures in known)

    @cached_property
    def miscalled(self) -> Counts:
        """In how many seeds another task's skill acted in each cell, (K, K)."""
        return np.stack([run.miscalled for run in self.runs]).sum(axis=0, dtype=np.int64)

    @cached_property
    def cells(self) -> tuple[Counts, Counts, np.ndarray]:
        """Successes and episodes summed over seeds, and which cells are the same bits in every seed; (K, K) each."""
        good = np.sum([run.successes for run in self.runs], axis=0)
        tried = np.sum([run.episodes for run in self.runs], axis=0)
        same = np.all([run.same | (run.episodes == 0) for run in self.runs], axis=0) & (tried > 0)
        return good, tried, same

    def curve(self, task: int) -> Curve | None:
        """A task's learning curve summed over seeds, at the points that all seeds with a curve share."""
        curves = [run.curves[task] for run in self.runs if task in run.curves]
        if not curves:
            return None
        shared = sorted(set.intersection(*(set(curve.progress.tolist()) for curve in curves)))
        picked = [np.isin(curve.progress, shared) for curve in curves]
        return Curve(
            np.array(shared),
            np.sum([c.successes[p] for c, p in zip(curves, picked, strict=True)], axis=0),
            np.sum([c.episodes[p] for c, p in zip(curves, picked, strict=True)], axis=0),
        )


def defined(groups: Sequence[Group]) -> tuple[Definition, ...]:
    """The figures that say something of these groups.

    What was miscalled is told from forgotten where any was, data and compute are shown where a method takes more than
    fine-tuning does, and what was lost by the end where old tasks were not tested in between.
    """
    hidden = {key for key, name in REPLAY.items() if not any(getattr(r.record, name) for g in groups for r in g.runs)}
    if not any(group.miscalled.any() for group in groups):
        hidden |= MISCALLED
    if not any(group.untested for group in groups):
        hidden.add("lost")
    elif all(group.untested or group.joint or group.learned < 2 for group in groups):
        hidden |= BETWEEN
    return tuple(definition for definition in DEFINITIONS if definition.key not in hidden)


@dataclass(frozen=True)
class Comparison:
    """Groups that learned the same tasks in the same order from the same demonstrations, tested on the same states."""

    suite: str
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def first(self) -> Run:
        return self.groups[0].first


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Sorts runs into comparisons, groups by method and configuration, and seeds.

    Known methods come in a fixed order, then others as they came in, so that a method keeps its colour.

    Raises:
        RunError: one seed of one configuration comes twice, which would count it as two seeds.
    """
    benches: dict[Any, list[Run]] = {}
    for run in runs:
        benches.setdefault(bench(run), []).append(run)
    comparisons = []
    for members in benches.values():
        first = members[0]
        comparisons.append(Comparison(first.suite, first.tasks, first.instructions, tuple(groups_of(members))))
    return comparisons


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Runs that can be compared, sorted into groups by method and configuration; each group by seed.

    Raises:
        RunError: one seed of one configuration comes twice, which would count it as two seeds.
    """
    grouped: dict[Any, list[Run]] = {}
    for run in runs:
        grouped.setdefault(_make(run), []).append(run)
    members = [sorted(group, key=lambda run: run.seed) for group in grouped.values()]
    for group in members:
        for one, other in itertools.pairwise(group):
            if one.seed == other.seed:
                raise RunError(
                    f"{one.path} and {other.path} are the same method, configuration and seed: leave one out"
                )
    members.sort(key=_place)
    return [Group(label, tuple(runs)) for label, runs in zip(labels([m[0] for m in members]), members, strict=True)]


def _place(group: list[Run]) -> int:
    names, method = method_names(), group[0].method
    return names.index(method) if method in names else len(names)


def _make(run: Run) -> Any:
    return run.method, run.selected_by, tuple(sorted((k, repr(v)) for k, v in measured(run).items()))


@dataclass(frozen=True)
class Versus:
    """One method against another on the seeds and tasks that both have, by one figure's values per task."""

    a: Group
    b: Group
    seeds: tuple[int, ...]
    final: metrics.Paired
    fwt: metrics.Paired | None


def versus(a: Group, b: Group) -> Versus | None:
    """Compares two finished or equally far groups on the seeds that both have; None where there is no common seed."""
    seeds = sorted({run.seed for run in a.runs} & {run.seed for run in b.runs})
    mine, other = ([next(run for run in group.runs if run.seed == seed) for seed in seeds] for group in (a, b))
    pairs = [(m.figures, o.figures) for m, o in zip(mine, other, strict=True) if m.figures and o.figures]
    if not pairs or len(pairs) < len(seeds) or len({len(f.final_of) for pair in pairs for f in pair}) > 1:
        return None
    final = metrics.paired([m.final_of for m, _ in pairs], [o.final_of for _, o in pairs])
    return Versus(a, b, tuple(seeds), final, areas_apart(mine, other))


def areas_apart(mine: Sequence[Run], other: Sequence[Run]) -> metrics.Paired | None:
    """The difference of FWT, seed by seed; None unless all runs have it, over as many tasks and from the same points of
    a lesson's training."""
    areas = [[None if run.figures is None else run.figures.fwt_of for run in runs] for runs in (mine, other)]
    known = [[area for area in row if area is not None] for row in areas]
    if any(len(row) < len(mine) for row in known) or len({len(area) for row in known for area in row}) != 1:
        return None
    return metrics.paired(*known) if len({run.points for run in (*mine, *other)}) == 1 else None


def named(comparisons: Sequence[Comparison], method: str) -> dict[int, Group]:
    """The group that `method` names, by its label or its method, in each comparison that has it, by its place.

    Raises:
        RunError: no comparison has it, or it names several groups of one.
    """
    labels = dict.fromkeys(group.label for comparison in comparisons for group in comparison.groups)
    places = {}
    for place, comparison in enumerate(comparisons):
        exact = [group for group in comparison.groups if group.label == method]
        groups = exact or [group for group in comparison.groups if group.method == method]
        if len(groups) > 1:
            known = " or ".join(repr(group.label) for group in groups)
            raise RunError(f"there are several runs of {method} in one table: name one of them, {known}")
        if groups:
            places[place] = groups[0]
    if not places:
        raise RunError(f"there is no run of {method!r} to compare with: {nearest(method, list(labels))}")
    return places


def pairs(groups: Sequence[Group], base: Group | None = None) -> list[Versus]:
    """Each other group against `base`; without one, the first group against each other one."""
    rivals = [group for group in groups if group is not (base or groups[0])]
    both = [versus(rival, base) if base is not None else versus(groups[0], rival) for rival in rivals]
    return [pair for pair in both if pair is not None]


def chosen(group: Group, held_out: bool) -> tuple[int, int]:
    """How many wordings (held out, or the others) chose the right skill, of how many.

    The choice hangs on the sentence encoder alone, so that seeds mostly agree: an answer that is given again is counted
    once.
    """
    answers = {
        (e.task, e.wording, e.chosen): right_skill(run, e.task, e.chosen)
        for run in group.runs
        for e in run.record.selection
        if e.held_out is held_out
    }
    return sum(answers.values()), len(answers)


@dataclass(frozen=True)
class Varied:
    """A group's counts on one variant of its suite, over all tasks and seeds."""

    suite: str
    successes: int
    episodes: int
    right: int
    """Instructions that called their own task's skill, of `calls`; 0 of 0 where one policy serves all instructions."""
    calls: int


def variants(group: Group) -> list[Varied]:
    """What each variant that a group was evaluated on came to."""
    cells: dict[str, list[tuple[Run, Variant]]] = {}
    for run in group.runs:
        for variant in run.record.variants:
            cells.setdefault(variant.suite, []).append((run, variant))
    return [_varied(suite, entries) for suite, entries in cells.items()]


def _varied(suite: str, entries: Sequence[tuple[Run, Variant]]) -> Varied:
    right = [right_skill(run, e.task, e.skill) for run, e in entries if e.skill is not None or e.called]
    successes, episodes = sum(e.successes for _, e in entries), sum(e.episodes for _, e in entries)
    return Varied(suite, successes, episodes, sum(right), len(right))


def right_skill(run: Run, task: int, skill: int | None) -> bool:
    """Whether the skill that was called is the task's own: a task that was taught twice has two skills of its own."""
    return skill is not None and run.tasks[skill] == run.tasks[task]


def strangers(group: Group) -> tuple[int, int]:
    """How many evaluated cells were acted by another skill than the task's own, of how many that recorded the skill."""
    cells = [
        (run, cell)
        for run in group.runs
        for cell in run.record.cells
        if cell.progress == 1.0 and (cell.skill is not None or cell.called)
    ]
    return sum(is_miscalled(run.record, cell) for run, cell in cells), len(cells)
