"""run.json read and checked: counts in arrays, figures derived, one sentence where a file cannot be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens import metrics
from skilltokens.files import RUN_SCHEMA, read_json
from skilltokens.types import RunError

SPLITS = ("test", "validation")
CHOOSERS = ("instruction", "task_id")

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """A learning curve: counts (points,) at `progress` (points,), from 0.0 to 1.0 of a task's training."""

    progress: NDArray[np.float64]
    successes: Counts
    episodes: Counts


@dataclass(frozen=True)
class Run:
    """One run. Counts are (K, K): entry [t, k] is task k after lesson t; where `episodes` is 0 nothing was evaluated.

    `same` marks cells whose policy was proved the same bits as one evaluated before, so not rolled out again.
    A run that learns all tasks in one lesson (`joint`) has its counts in the last row only. Where a run was evaluated
    on several splits, or with skills chosen in both ways, the figures are of `split` and `selected_by`: test states
    before validation states, and skills chosen by instruction before those chosen by task id.
    """

    path: Path
    content: Mapping[str, Any]
    split: str
    selected_by: str
    joint: bool
    learned: int
    successes: Counts
    episodes: Counts
    same: NDArray[np.bool_]
    curves: Mapping[int, Curve]

    @property
    def method(self) -> str:
        return self.content["method"]

    @property
    def suite(self) -> str:
        return self.content["suite"]

    @property
    def seed(self) -> int:
        return self.content["seed"]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task["name"] for task in self.content["tasks"])

    @cached_property
    def instructions(self) -> tuple[str, ...]:
        return tuple(task["instruction"] for task in self.content["tasks"])

    @property
    def finished(self) -> bool:
        """Every lesson is learned and evaluated, and the run said that it was done."""
        return bool(self.content.get("finished")) and self.learned == len(self.tasks)

    @cached_property
    def figures(self) -> metrics.Lifelong | None:
        """The figures over the tasks learned so far; None before the first is evaluated."""
        n = self.learned
        if n == 0:
            return None
        if self.joint:
            return metrics.together(self.successes[-1], self.episodes[-1])
        curves = [(c.successes, c.episodes) for k in range(n) if (c := self.curves.get(k)) is not None]
        return metrics.lifelong(self.successes[:n, :n], self.episodes[:n, :n], curves if len(curves) == n else ())

    @property
    def base(self) -> int | None:
        """Parameters of the whole policy after the first lesson."""
        return self.content["parameters"].get("base") or None

    @property
    def trained(self) -> list[int]:
        """Parameters trained in each lesson done."""
        return self.content["parameters"]["trained"]

    @property
    def stored(self) -> list[int]:
        """Parameters stored after each lesson done."""
        return self.content["parameters"]["total"]

    @property
    def new_skill_share(self) -> float | None:
        """Parameters trained for a new skill over those of the base, averaged over all lessons but the first."""
        if self.base is None or len(self.trained) < 2:
            return None
        return float(metrics.trained_share(self.trained[1:], self.base).mean())

    @property
    def command(self) -> str:
        """The command that made the run, as recorded, or as its recipe and seed say."""
        recorded = self.content.get("command")
        if isinstance(recorded, list):
            return " ".join(str(word) for word in recorded)
        if recorded:
            return str(recorded)
        recipe = self.content.get("recipe")
        return f"skilltokens run {recipe} --method {self.method} --seed {self.seed}" if recipe else "not recorded"


def read_run(path: Path) -> Run:
    """Reads a run.json, or the one in a run's folder.

    Raises:
        RunError: the file is missing, truncated, altered (counts that cannot be, tasks that do not exist, cells that
            contradict each other) or of another schema.
    """
    path = Path(path)
    path = path / "run.json" if path.is_dir() else path
    content = read_json(path, RUN_SCHEMA, RunError)
    check = _Check(path)
    check.content(content)
    evaluations, tasks = content["evaluations"], len(content["tasks"])
    split, selected_by = _primary(evaluations)
    cells = {
        (entry["after"], entry["task"], float(entry["progress"])): entry
        for entry in evaluations
        if entry["split"] == split and entry["selected_by"] == selected_by and entry["after"] >= 0
    }
    successes, episodes = np.zeros((2, tasks, tasks), dtype=np.int64)
    same = np.zeros((tasks, tasks), dtype=bool)
    for (after, task, progress), entry in cells.items():
        if progress == 1.0:
            successes[after, task], episodes[after, task] = entry["successes"], entry["episodes"]
            same[after, task] = entry.get("same_as") is not None
    joint = _joint(content, cells, tasks)
    curves = {k: curve for k in range(tasks) if (curve := _curve(cells, tasks - 1 if joint else k, k)) is not None}
    learned = _learned(episodes, joint)
    return Run(path, content, split, selected_by, joint, learned, successes, episodes, same, curves)


def _primary(evaluations: list[dict[str, Any]]) -> tuple[str, str]:
    kinds = {(entry["split"], entry["selected_by"]) for entry in evaluations if entry["progress"] == 1.0}
    order = [(split, chooser) for split in SPLITS for chooser in CHOOSERS]
    return next((kind for kind in order if kind in kinds), order[0])


def _joint(content: dict[str, Any], cells: Mapping[tuple[int, int, float], Any], tasks: int) -> bool:
    """Whether all tasks were learned in one lesson: some are done, and nothing was ever evaluated before the last."""
    if not cells:
        return content["method"] == "multitask"
    return tasks > 1 and all(after == tasks - 1 for after, _, _ in cells)


def _curve(cells: Mapping[tuple[int, int, float], Any], after: int, task: int) -> Curve | None:
    points = sorted((progress, entry) for (a, k, progress), entry in cells.items() if (a, k) == (after, task))
    if not points or points[-1][0] != 1.0:
        return None
    return Curve(
        np.array([progress for progress, _ in points]),
        np.array([entry["successes"] for _, entry in points], dtype=np.int64),
        np.array([entry["episodes"] for _, entry in points], dtype=np.int64),
    )


def _learned(episodes: Counts, joint: bool) -> int:
    """How many lessons are done: those whose whole row of seen tasks is evaluated, one after another from the first."""
    tasks = len(episodes)
    if joint:
        return tasks if (episodes[-1] > 0).all() else 0
    whole = [bool((episodes[t, : t + 1] > 0).all()) for t in range(tasks)]
    return whole.index(False) if False in whole else tasks


class _Check:
    """Raises RunError at the first thing in a run.json that cannot be right."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, what: str) -> RunError:
        return RunError(f"{self.path} is truncated or altered ({what}): restore it, or run the same command again")

    def get(self, holder: Any, key: str, kinds: Any, where: str = "", optional: bool = False) -> Any:
        """holder[key], of one of `kinds`; a bool is no number. With `optional` it may be absent or null."""
        value = holder.get(key) if isinstance(holder, dict) else None
        if value is None and optional:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.fail(f"{where}{key} is missing or of the wrong kind")
        return value

    def numbers(self, holder: Any, key: str, where: str, optional: bool = False) -> list[float]:
        values = self.get(holder, key, list, where, optional) or []
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and v >= 0 for v in values):
            raise self.fail(f"{where}{key} holds something that is not a number of at least 0")
        return values

    def content(self, content: dict[str, Any]) -> None:
        for key in ("method", "suite", "protocol", "observations", "started"):
            self.get(content, key, str)
        self.get(content, "seed", int)
        for key in ("config", "versions"):
            self.get(content, key, dict)
        for key in ("commit", "finished", "recipe", "encoder"):
            self.get(content, key, str, optional=True)
        for i, each in enumerate(self.get(content, "resumed", list, optional=True) or []):
            self.get(each, "commit", str, f"resumed[{i}].", optional=True)
        tasks = self.get(content, "tasks", list)
        # A name may come twice: metaworld-cw20 goes over ten tasks two times.
        names = [self.get(task, "name", str, f"tasks[{i}].") for i, task in enumerate(tasks)]
        for i, task in enumerate(tasks):
            self.get(task, "instruction", str, f"tasks[{i}].")
        if not names:
            raise self.fail("it names no task")
        demonstrations = self.get(content, "demonstrations", dict)
        self.get(demonstrations, "source", str, "demonstrations.")
        self.numbers(demonstrations, "episodes", "demonstrations.")
        self.evaluations(self.get(content, "evaluations", list), len(tasks))
        self.costs(content, len(tasks))
        self.extras(content, len(tasks))

    def evaluations(self, entries: list[Any], tasks: int) -> None:
        seen: set[tuple[Any, ...]] = set()
        for i, entry in enumerate(entries):
            where = f"evaluations[{i}]."
            after, task = self.get(entry, "after", int, where), self.get(entry, "task", int, where)
            progress = self.get(entry, "progress", (int, float), where)
            good, tried = self.get(entry, "successes", int, where), self.get(entry, "episodes", int, where)
            skill = self.get(entry, "skill", int, where, optional=True) or 0
            split, chooser = self.get(entry, "split", str, where), self.get(entry, "selected_by", str, where)
            if not (-1 <= after < tasks and 0 <= task < tasks and 0 <= progress <= 1 and 0 <= skill < tasks):
                raise self.fail(f"{where[:-1]} is about a task or a time that the run does not have")
            if split not in SPLITS or chooser not in CHOOSERS:
                raise self.fail(f"{where[:-1]} has split {split!r} and selected_by {chooser!r}")
            if not 0 <= good <= tried or tried == 0:
                raise self.fail(f"{where[:-1]} counts {good} successes of {tried} episodes")
            if (key := (after, progress, task, split, chooser)) in seen:
                raise self.fail(f"{where[:-1]} repeats a cell")
            seen.add(key)
            self.same(entries, i)

    def same(self, entries: list[Any], i: int) -> None:
        """same_as must point to an earlier entry on the same task and split, with the same counts."""
        earlier = self.get(entries[i], "same_as", int, f"evaluations[{i}].", optional=True)
        if earlier is None:
            return
        alike = ("task", "split", "successes", "episodes")
        if not 0 <= earlier < i or any(entries[earlier][key] != entries[i][key] for key in alike):
            raise self.fail(f"evaluations[{i}] claims the same bits as entry {earlier}, which differs")

    def costs(self, content: dict[str, Any], tasks: int) -> None:
        parameters = self.get(content, "parameters", dict)
        self.get(parameters, "base", int, "parameters.", optional=True)
        for key in ("trained", "total"):
            values = self.numbers(parameters, key, "parameters.")
            if len(values) > tasks:
                raise self.fail(f"parameters.{key} has more entries than there are tasks")
        timing = self.get(content, "timing", dict)
        for key in ("train_s", "evaluate_s"):
            self.numbers(timing, key, "timing.", optional=True)

    def extras(self, content: dict[str, Any], tasks: int) -> None:
        """The optional keys, which a reader may do without but must be able to trust."""
        for i, entry in enumerate(self.get(content, "learning", list, optional=True) or []):
            if len(self.numbers(entry, "iterations", f"learning[{i}].")) != len(self.get(entry, "loss", list)):
                raise self.fail(f"learning[{i}] has more losses than iterations, or fewer")
        for i, entry in enumerate(self.get(content, "gradients", list, optional=True) or []):
            where = f"gradients[{i}]."
            steps = len(self.numbers(entry, "iterations", where))
            for layer, norms in self.get(entry, "layers", dict, where).items():
                for kind in ("shared", "specific"):
                    values = self.numbers(norms, kind, f"{where}layers[{layer!r}].", optional=True)
                    if len(values) not in (0, steps):
                        raise self.fail(f"{where}layers[{layer!r}].{kind} has {len(values)} norms for {steps} records")
        for i, entry in enumerate(self.get(content, "reuse", list, optional=True) or []):
            where = f"reuse[{i}]."
            for key in ("base", "new"):
                self.get(entry, key, int, where)
            rows = self.get(entry, "from", dict, where)
            self.numbers({"from": list(rows.values())}, "from", where)
        for i, entry in enumerate(self.get(content, "selection", list, optional=True) or []):
            where = f"selection[{i}]."
            self.get(entry, "wording", str, where)
            self.get(entry, "held_out", bool, where)
            self.get(entry, "cosine", (int, float), where, optional=True)
            for key in ("task", "chosen"):
                if not 0 <= self.get(entry, key, int, where) < tasks:
                    raise self.fail(f"{where}{key} is not one of the run's tasks")
        for i, entry in enumerate(self.get(content, "variants", list, optional=True) or []):
            where = f"variants[{i}]."
            self.get(entry, "suite", str, where)
            good, tried = (self.get(entry, key, int, where) for key in ("successes", "episodes"))
            if not 0 <= good <= tried or tried < 1:
                raise self.fail(f"{where}successes are {good} of {tried} episodes")
            for key in ("task", "skill"):
                if key in entry and not 0 <= self.get(entry, key, int, where) < tasks:
                    raise self.fail(f"{where}{key} is not one of the run's tasks")
        films = self.get(content, "films", dict, optional=True) or {}
        if not all(isinstance(film, str) for film in films.values()):
            raise self.fail("films holds something that is not a path")
