"""Runs of learning from reward (run.json of schema skilltokens.reward/1), read, and grouped into rows.

A row is one way to learn on one task, over its seeds. Nothing is stored that can be computed from the counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.behaviour.learners import LEARNERS, learner_of
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.files import REWARD_SCHEMA, read_json
from skilltokens.report import text
from skilltokens.types import RunError, natural

GOOD = 0.8
"""The success that counts as learned: how many environment steps did it take?"""


@dataclass(frozen=True)
class RewardRun:
    """One run.json."""

    path: Path
    content: dict[str, Any]

    @property
    def learner(self) -> str:
        return str(self.content["learner"])

    @property
    def variant(self) -> str:
        """What tells this run's settings from those of others of its learner: tokens, how loud they begin, encoder,
        inputs."""
        config = self.content["config"]
        parts = []
        if config["ppo"]["tokens"] != 1:
            parts.append(f"{config['ppo']['tokens']} tokens")
        presence = config["ppo"].get("presence", 0.0)  # before there was such a setting, tokens began as loud as others
        if learner_of(self.learner).token and presence != PpoSettings().presence:
            parts.append(f"presence {presence:g}")
        if not config["adapt"]["body"]:
            parts.append("without body state")
        if config["adapt"].get("picture"):
            parts.append("from a picture")
        if tuple(config["ppo"]["hidden"]) != (128, 128):
            parts.append(f"hidden {'x'.join(map(str, config['ppo']['hidden']))}")
        return ", ".join(parts)

    def of(self, task: str) -> dict[str, Any] | None:
        """What was found on a task; None where it is not learned yet."""
        return next((found for found in self.content["results"] if found["task"] == task), None)


@dataclass(frozen=True)
class Row:
    """One way to learn on one task, over its seeds."""

    task: str
    label: str
    seeds: tuple[int, ...]
    found: tuple[dict[str, Any], ...]

    @property
    def final(self) -> tuple[int, int]:
        """Successes and episodes at the end of training, all seeds together."""
        return sum(each["successes"][-1] for each in self.found), sum(each["episodes"] for each in self.found)

    @property
    def needed(self) -> list[int | None]:
        """For each seed the environment steps until GOOD success held; None where it never did."""
        return [reached(each) for each in self.found]

    @property
    def trained(self) -> int:
        return int(self.found[0]["trained"])

    @property
    def steps(self) -> int:
        return int(self.found[0]["steps"][-1])

    @property
    def minutes(self) -> float:
        return statistics.fmean(each["seconds"] for each in self.found) / 60

    def mean(self, measure: str) -> str:
        """Of closeness to the experts' motion, as text; a dash where there is none."""
        known = [each["closeness"][measure] for each in self.found if "closeness" in each]
        return f"{statistics.fmean(known):.2f}" if known else text.DASH

    def changed(self) -> dict[tuple[str, float], tuple[int, int]]:
        """Successes and episodes under other physics, all seeds together."""
        cells = self._cells("changed", "what", "factor")
        return {(what, factor): _counted(there) for (what, factor), there in cells.items()}

    def shaken(self) -> dict[float, tuple[int, int]]:
        """Successes and episodes under noise on the actions, by the logarithm of its deviation, all seeds together."""
        cells = self._cells("shaken", "log_std")
        return {log_std: _counted(there) for (log_std,), there in cells.items()}

    def prompted(self) -> dict[float, tuple[float, tuple[int, int]]]:
        """For each speed asked for: how fast it went, and successes and episodes, all seeds together."""
        cells = self._cells("prompted", "asked")
        return {
            asked: (statistics.fmean(cell["speed"] for cell in there), _counted(there))
            for (asked,), there in cells.items()
        }

    def _cells(self, name: str, *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
        """What was measured besides, of all seeds, by what it was measured under."""
        cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for each in self.found:
            for cell in each.get(name, []):
                cells.setdefault(tuple(cell[key] for key in keys), []).append(cell)
        return cells


def _counted(cells: list[dict[str, Any]]) -> tuple[int, int]:
    """Successes and episodes."""
    return sum(cell["successes"] for cell in cells), sum(cell["episodes"] for cell in cells)


def reached(found: dict[str, Any]) -> int | None:
    """Environment steps at the first point of the curve with GOOD success that the next point has as well.

    One point alone may be luck, and is lost again; the last one has no next one, and counts.
    """
    there = [good >= GOOD * found["episodes"] for good in found["successes"]]
    for index, steps in enumerate(found["steps"]):
        if all(there[index : index + 2]):
            return int(steps)
    return None


def read_reward(path: Path) -> RewardRun:
    """One run.json, or the one in a folder.

    Raises:
        RunError: it is missing, damaged or of another kind.
    """
    path = Path(path) / "run.json" if Path(path).is_dir() else Path(path)
    content = read_json(path, REWARD_SCHEMA, RunError)
    try:
        for found in content["results"]:
            _ = found["task"], found["steps"][-1], found["successes"][-1], found["episodes"], found["trained"]
            _ = found["seconds"], found["instruction"]
        config = content["config"]
        _ = config["ppo"]["tokens"], config["ppo"]["hidden"], config["adapt"]["body"], config["adapt"]["split"]
        _ = content["learner"], content["suite"], content["tasks"][0]["name"], content["seed"], content["model"]
    except (LookupError, TypeError) as problem:
        raise RunError(f"{path} is altered ({problem!r} is missing): restore it from a copy") from problem
    return RewardRun(path, content)


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
            if len({tuple(found["steps"]) for found in row.found}) > 1 or len(set(row.seeds)) < len(row.seeds):
                raise RunError(
                    f"the runs of {row.label} on {task} have one seed twice, or points after other numbers of steps: "
                    "report them apart"
                )


_PARTS = ("suite", "states", "episodes", "library")


def _experiment(run: RewardRun) -> tuple[Any, ...]:
    """What all runs of one experiment share, as _PARTS names it."""
    content, adapt = run.content, run.content["config"]["adapt"]
    library = [each[:12] for each in content["model"].get("fingerprints", [])]
    return content["suite"], adapt["split"], adapt["episodes"], library


def is_reward(path: Path) -> bool:
    """Whether a run.json is of learning from reward."""
    try:
        return f'"{REWARD_SCHEMA}"' in Path(path).read_text(encoding="utf-8")[:400]
    except OSError:
        return False


def tasks_in(runs: Sequence[RewardRun]) -> list[str]:
    """Every task, in the order of the runs."""
    return list(dict.fromkeys(task["name"] for run in runs for task in run.content["tasks"]))


def rows_of(runs: Sequence[RewardRun], task: str) -> list[Row]:
    """The rows of one task: learners in their own order, then variants."""
    order = list(LEARNERS)
    labels = sorted(
        {(run.learner, run.variant) for run in runs}, key=lambda pair: (order.index(pair[0]), natural(pair[1]))
    )
    rows = []
    for learner, variant in labels:
        mine = [run for run in runs if (run.learner, run.variant) == (learner, variant) and run.of(task) is not None]
        mine.sort(key=lambda run: run.content["seed"])
        if mine:
            label = f"{learner} ({variant})" if variant else learner
            found = tuple(each for run in mine if (each := run.of(task)) is not None)
            rows.append(Row(task, label, tuple(run.content["seed"] for run in mine), found))
    return rows
