"""A lifelong run as the report reads it: counts in arrays, figures derived; nothing is stored that can be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from skilltokens import metrics
from skilltokens.configuration import flat
from skilltokens.escaping import shell
from skilltokens.experiments.reading import CHOOSERS, LIFELONG, SPLITS, read_lifelong, run_file
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.experiments.rereading import config_of, method_in

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """A learning curve: counts (points,) at `progress` (points,), from 0.0 to 1.0 of a task's training."""

    progress: NDArray[np.float64]
    successes: Counts
    episodes: Counts


@dataclass(frozen=True)
class Run:
    """One run. Counts are (K, K): entry [t, k] is task k after task t was taught; where `episodes` is 0 nothing was
    evaluated.

    `together` is the number of tasks that the first lesson taught, so that rows before the last of them are empty: one
    in protocol A, several in protocol B, all of them for a joint method. `same` marks cells whose policy was proved the
    same bits as one evaluated before, so not rolled out again, and `miscalled` cells that another task's skill acted in
    (a task that was taught twice has two skills of its own). Where a run was evaluated on several splits, or with
    skills chosen in both ways, the figures are of `split` and `selected_by`: test states before validation states, and
    skills chosen by instruction before those chosen by task id.
    """

    path: Path
    record: LifelongRecord
    split: str
    selected_by: str
    together: int
    learned: int
    """Tasks taught and evaluated so far."""
    successes: Counts
    episodes: Counts
    same: NDArray[np.bool_]
    miscalled: NDArray[np.bool_]
    curves: Mapping[int, Curve]

    @cached_property
    def method(self) -> str:
        return method_in(self.record)

    @property
    def suite(self) -> str:
        return self.record.suite

    @property
    def seed(self) -> int:
        return self.record.seed

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.record.tasks)

    @cached_property
    def instructions(self) -> tuple[str, ...]:
        return tuple(task.instruction for task in self.record.tasks)

    @property
    def demonstrations(self) -> float | None:
        """Demonstrations of a task, on average; None where the file does not say."""
        episodes = self.record.demonstrations.episodes
        return float(np.mean(episodes)) if episodes else None

    @property
    def foreign(self) -> bool:
        """It was made by another program, and holds what that wrote down."""
        return self.record.schema not in LIFELONG

    @property
    def joint(self) -> bool:
        """All tasks were taught in one lesson, so that there is nothing lifelong to measure."""
        return self.together == len(self.tasks) > 1

    @property
    def finished(self) -> bool:
        """Every lesson is learned and evaluated, and the run said that it was done, which others' never say."""
        return (self.foreign or bool(self.record.finished)) and self.learned == len(self.tasks)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings on one level, with what an older file lacks at its default; of others' what they say."""
        return flat(self.record.config) if self.foreign else config_of(self.record)

    @cached_property
    def figures(self) -> metrics.Lifelong | None:
        """The figures over the tasks learned so far; None before the first is evaluated."""
        n = self.learned
        if n == 0:
            return None
        if self.joint:
            return metrics.together(self.successes[-1], self.episodes[-1])
        alone = range(self.together if self.together > 1 else 0, n)
        curves = [curve for k in alone if (curve := self.curves.get(k)) is not None]
        whole = len(curves) == len(alone)
        return metrics.lifelong(
            self.successes[:n, :n],
            self.episodes[:n, :n],
            [(curve.successes, curve.episodes) for curve in curves] if whole else (),
            self.together,
            self.miscalled[:n, :n],
            [curve.progress for curve in curves] if whole else (),
        )

    @property
    def points(self) -> frozenset[float]:
        """The shares of a lesson's training after which its task was tested: where the area under its curve is from."""
        return frozenset(share for curve in self.curves.values() for share in curve.progress.tolist())

    @property
    def tested(self) -> int:
        """Cells of the success matrix."""
        return int((self.episodes > 0).sum())

    @property
    def miscalled_share(self) -> float | None:
        """The share of the success matrix's cells in which another task's skill acted; None before there is one."""
        return float(self.miscalled.sum() / self.tested) if self.tested else None

    def row(self, task: int) -> int:
        """The row of the counts right after a task was taught for the first time."""
        return max(task, self.together - 1)

    @property
    def base(self) -> int | None:
        """Parameters of the whole policy after the first lesson."""
        return self.record.parameters.base or None

    @property
    def trunk(self) -> int:
        """Parameters of the named frozen trunk, which count in none of the others; 0 where there is none."""
        return self.record.parameters.trunk or 0

    @property
    def trained(self) -> list[int]:
        """Parameters trained in each lesson done."""
        return self.record.parameters.trained

    @property
    def stored(self) -> list[int]:
        """Parameters stored after each lesson done."""
        return self.record.parameters.total

    @property
    def new_skill_share(self) -> float | None:
        """Parameters trained for a new skill over those of the base, averaged over all lessons but one that trains the
        base."""
        trained = self.trained if self.record.base is not None else self.trained[1:]
        if self.base is None or not trained:
            return None
        return float(metrics.trained_share(trained, self.base).mean())

    @property
    def command(self) -> str:
        """The command that made the run, as recorded, or as its recipe and seed say."""
        recorded = self.record.command
        if isinstance(recorded, list):
            return shell(*recorded)
        if recorded:
            return recorded
        recipe = self.record.recipe
        words = ("skilltokens", "run", recipe or "", "--method", self.method, "--seed", str(self.seed))
        return shell(*words) if recipe else "not recorded"


def read_run(path: Path) -> Run:
    """Reads a run.json, or the one in a run's folder.

    Raises:
        RunError: the file is missing, truncated, altered (counts that cannot be, tasks that do not exist, cells that
            contradict each other) or of another schema.
    """
    path = run_file(path)
    return run_of(read_lifelong(path), path)


def run_of(record: LifelongRecord, path: Path) -> Run:
    """A record as the report reads it; `path` is where it stands."""
    tasks = len(record.tasks)
    split, selected_by = _primary(record.cells)
    cells = {
        (cell.after, cell.task, cell.progress): cell
        for cell in record.cells
        if cell.split == split and cell.selected_by == selected_by and cell.after >= 0
    }
    successes, episodes = np.zeros((2, tasks, tasks), dtype=np.int64)
    same, miscalled = np.zeros((2, tasks, tasks), dtype=bool)
    for (after, task, progress), cell in cells.items():
        if progress == 1.0:
            successes[after, task], episodes[after, task] = cell.successes, cell.episodes
            same[after, task] = cell.same_as is not None
            miscalled[after, task] = is_miscalled(record, cell)
    together = record.first if record.first is not None else _together(record, cells)
    alone = range(0 if together in (1, tasks) else together, tasks)  # a joint run's last points stand beside others
    curves = {k: curve for k in alone if (curve := _curve(cells, max(k, together - 1), k)) is not None}
    learned = _learned(episodes, together)
    return Run(path, record, split, selected_by, together, learned, successes, episodes, same, miscalled, curves)


def ordered_as(run: Run, tasks: Sequence[str]) -> Run:
    """A run of an evaluation after all lessons, with its tasks in another order.

    Raises:
        ValueError: the tasks are others, or one stands twice.
    """
    if sorted(run.tasks) != sorted(tasks) or len(set(tasks)) < len(tasks):
        raise ValueError("tasks can only be put into another order where they are the same, each once")
    places = [list(tasks).index(name) for name in run.tasks]
    record = msgspec.structs.replace(
        run.record,
        tasks=sorted(run.record.tasks, key=lambda task: list(tasks).index(task.name)),
        cells=[msgspec.structs.replace(cell, task=places[cell.task]) for cell in run.record.cells],
    )
    return run_of(record, run.path)


def is_miscalled(record: LifelongRecord, cell: Cell) -> bool:
    """Whether another skill acted than one of the task's own; never where one policy serves all, or no skill is named.

    A skill of the library that the run began from is another one, whatever it is called.
    """
    if cell.skill is None:
        return bool(cell.called)
    return record.tasks[cell.skill].name != record.tasks[cell.task].name


def _primary(cells: list[Cell]) -> tuple[str, str]:
    kinds = {(cell.split, cell.selected_by) for cell in cells if cell.progress == 1.0}
    order = [(split, chooser) for split in SPLITS for chooser in CHOOSERS]
    return next((kind for kind in order if kind in kinds), order[0])


def _together(record: LifelongRecord, cells: Mapping[tuple[int, int, float], Cell]) -> int:
    """Of an older file: all tasks where some are done and nothing was evaluated before the last, else one."""
    tasks = len(record.tasks)
    if not cells:
        return tasks if record.method == "multitask" else 1
    return tasks if tasks > 1 and all(after == tasks - 1 for after, _, _ in cells) else 1


def _curve(cells: Mapping[tuple[int, int, float], Cell], after: int, task: int) -> Curve | None:
    points = sorted((progress, cell) for (a, k, progress), cell in cells.items() if (a, k) == (after, task))
    if not points or points[-1][0] != 1.0:
        return None
    return Curve(
        np.array([progress for progress, _ in points]),
        np.array([cell.successes for _, cell in points], dtype=np.int64),
        np.array([cell.episodes for _, cell in points], dtype=np.int64),
    )


def _learned(episodes: Counts, together: int) -> int:
    """How many tasks are taught: those whose whole row of tasks taught so far is evaluated, one after another.

    Where old tasks were tested at the end alone, no row but the last is whole: it counts for all.
    """
    if (episodes[-1] > 0).all():
        return len(episodes)
    learned = 0
    for row in range(together - 1, len(episodes)):
        if not (episodes[row, : row + 1] > 0).all():
            break
        learned = row + 1
    return learned
