"""Runs of learning from reward (run.json of schema skilltokens.reward/2, or /1), read, and grouped into rows.

A row is one learner on one task, over its seeds. Nothing is stored that can be computed from the counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.behaviour.learners import LEARNERS, learner_of
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.experiments.reading import altered, read_reward, run_file
from skilltokens.experiments.records import Counted, RewardRecord, RewardResult
from skilltokens.experiments.rereading import reward_settings_in
from skilltokens.experiments.settings import RewardSettings
from skilltokens.report import text
from skilltokens.types import RunError, SettingError, natural

GOOD = 0.8
"""The success that counts as learned: how many environment steps did it take?"""


@dataclass(frozen=True)
class RewardRun:
    """One run.json."""

    path: Path
    record: RewardRecord
    settings: RewardSettings
    """As it was made with; what an older file lacks is as it was before there was such a setting."""

    @property
    def learner(self) -> str:
        return self.record.learner

    @property
    def variant(self) -> str:
        """How this run's settings differ from the learner's usual ones: tokens, their first weight, encoder, inputs."""
        ppo, adapt = self.settings.ppo, self.settings.adapt
        parts = []
        if ppo.tokens != 1:
            parts.append(f"{ppo.tokens} tokens")
        if learner_of(self.learner).token and ppo.presence != PpoSettings().presence:
            parts.append(f"presence {ppo.presence:g}")
        if not adapt.body:
            parts.append("without body state")
        if adapt.picture:
            parts.append("from a picture")
        if ppo.hidden != PpoSettings().hidden:
            parts.append(f"hidden {'x'.join(map(str, ppo.hidden))}")
        return ", ".join(parts)

    def of(self, task: str) -> RewardResult | None:
        """The result on a task; None where it is not learned yet."""
        return next((result for result in self.record.results if result.task == task), None)


@dataclass(frozen=True)
class Row:
    """One learner on one task, over its seeds."""

    task: str
    label: str
    seeds: tuple[int, ...]
    results: tuple[RewardResult, ...]

    @property
    def final(self) -> tuple[int, int]:
        """Successes and episodes at the end of training, all seeds together."""
        return sum(r.successes[-1] for r in self.results), sum(r.episodes for r in self.results)

    @property
    def needed(self) -> list[int | None]:
        """For each seed the environment steps until GOOD success held; None where it never did."""
        return [reached(result) for result in self.results]

    @property
    def middle(self) -> float | None:
        """The median of `needed`, a seed that never gets there being the worst; None where that is the middle one."""
        middle = statistics.median(float("inf") if steps is None else steps for steps in self.needed)
        return None if middle == float("inf") else middle

    @property
    def trained(self) -> int:
        return self.results[0].trained

    @property
    def steps(self) -> int:
        return self.results[0].steps[-1]

    @property
    def minutes(self) -> float:
        return statistics.fmean(result.seconds for result in self.results) / 60

    def mean(self, measure: str) -> str:
        """Of closeness to the experts' motion, as text; a dash where there is none."""
        known = [result.closeness[measure] for result in self.results if result.closeness]
        return f"{statistics.fmean(known):.2f}" if known else text.DASH

    def changed(self) -> dict[tuple[str, float], tuple[int, int]]:
        """Successes and episodes under other physics, all seeds together."""
        cells = _together((cell.what, cell.factor, cell) for result in self.results for cell in result.changed)
        return {(what, factor): _counted(group) for (what, factor), group in cells.items()}

    def noisy(self) -> dict[float, tuple[int, int]]:
        """Successes and episodes under noise on the actions, by the logarithm of its deviation, all seeds together."""
        cells = _together((cell.log_std, cell) for result in self.results for cell in result.noisy)
        return {log_std: _counted(group) for (log_std,), group in cells.items()}

    def commanded(self) -> dict[float, tuple[float, tuple[int, int]]]:
        """For each commanded speed (m/s): the mean speed reached, and successes and episodes, all seeds together."""
        cells = _together((cell.asked, cell) for result in self.results for cell in result.commanded)
        return {
            target: (statistics.fmean(cell.speed for cell in group), _counted(group))
            for (target,), group in cells.items()
        }


def _together(cells: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], list[Counted]]:
    """Cells, each behind what it was measured under, grouped by that."""
    groups: dict[tuple[Any, ...], list[Counted]] = {}
    for *under, cell in cells:
        groups.setdefault(tuple(under), []).append(cell)
    return groups


def _counted(cells: Sequence[Counted]) -> tuple[int, int]:
    """Successes and episodes."""
    return sum(cell.successes for cell in cells), sum(cell.episodes for cell in cells)


def reached(result: RewardResult) -> int | None:
    """Environment steps at the first point of the curve with GOOD success that the next point has as well.

    One point alone may be luck, and is lost again; the last one has no next one, and counts.
    """
    good = [successes >= GOOD * result.episodes for successes in result.successes]
    for index, steps in enumerate(result.steps):
        if all(good[index : index + 2]):
            return steps
    return None


def read_reward_run(path: Path) -> RewardRun:
    """One run.json, or the one in a folder.

    Raises:
        RunError: it is missing, damaged or of another kind.
    """
    path = run_file(path)
    record = read_reward(path)
    try:
        settings = reward_settings_in(record)
    except SettingError as problem:
        raise altered(path, str(problem)) from problem
    return RewardRun(path, record, settings)


def check_alike(runs: Sequence[RewardRun]) -> None:
    """Raises RunError unless the runs are of one experiment: one suite, model, kind of states and number of episodes,
    and the seeds of one learner on one grid of points."""
    first = runs[0]
    for run in runs[1:]:
        for name, mine, other in zip(_PARTS, _experiment(run), _experiment(first), strict=True):
            if mine != other:
                raise RunError(
                    f"{run.path} and {first.path} are of different experiments ({name}: {mine}, {other}): report them "
                    "apart"
                )
    for task in tasks_in(runs):
        for row in rows_of(runs, task):
            if len({tuple(result.steps) for result in row.results}) > 1 or len(set(row.seeds)) < len(row.seeds):
                raise RunError(
                    f"the runs of {row.label} on {task} have one seed twice, or points after other numbers of steps: "
                    "report them apart"
                )


_PARTS = ("suite", "states", "episodes", "library")


def _experiment(run: RewardRun) -> tuple[Any, ...]:
    """What all runs of one experiment share, as _PARTS names it."""
    adapt = run.settings.adapt
    library = [fingerprint[:12] for fingerprint in run.record.model.fingerprints]
    return run.record.suite, adapt.split, adapt.episodes, library


def tasks_in(runs: Sequence[RewardRun]) -> list[str]:
    """Every task, in the order of the runs."""
    return list(dict.fromkeys(task.name for run in runs for task in run.record.tasks))


def rows_of(runs: Sequence[RewardRun], task: str) -> list[Row]:
    """The rows of one task: learners in their own order, then variants."""
    order = list(LEARNERS)
    labels = sorted(
        {(run.learner, run.variant) for run in runs}, key=lambda pair: (order.index(pair[0]), natural(pair[1]))
    )
    rows = []
    for learner, variant in labels:
        mine = [run for run in runs if (run.learner, run.variant) == (learner, variant) and run.of(task) is not None]
        mine.sort(key=lambda run: run.record.seed)
        if mine:
            label = f"{learner} ({variant})" if variant else learner
            results = tuple(result for run in mine if (result := run.of(task)) is not None)
            rows.append(Row(task, label, tuple(run.record.seed for run in mine), results))
    return rows
