"""LeRobot's eval_info.json, which `lerobot-eval` writes: a trained policy tested on some tasks.

Read are (lerobot 0.4 to 0.6) `per_task`, a list of {"task_group", "task_id", "metrics"} with the outcome of each
episode in `metrics.successes`; (before) `per_episode`, a list with `success` in each entry; and where neither holds the
episodes, `pc_success` with `n_episodes` in `per_task` or `per_group`. Everything was tested after all training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skilltokens.experiments.foreign.counting import cell_of, count_of, number_in, without_counts
from skilltokens.experiments.foreign.facts import Facts, facts_of, record_of, suites_tasks, tasks_said
from skilltokens.experiments.records import LifelongRecord
from skilltokens.files import parse_json, read_bytes
from skilltokens.types import RunError

SCHEMA = "lerobot.eval_info"


def read(path: Path, said: Mapping[str, str]) -> list[LifelongRecord]:
    """The one result in an eval_info.json.

    Raises:
        RunError: it is missing, damaged, no such file, or has rates of an unknown number of episodes.
    """
    content = parse_json(read_bytes(path, RunError), path, RunError)
    if not isinstance(content, dict) or not {"per_task", "per_group", "per_episode", "aggregated"} & set(content):
        raise RunError(f"{path} is neither a run.json nor LeRobot's eval_info.json: check the path")
    facts = facts_of(said, path)
    tests = _tests(content, path, facts)
    suite = facts.suite or _suite(tests)
    facts = replace(facts, suite=suite)
    names = _names(tests, suite, facts, path)
    cells = [
        cell_of(facts, task, len(tests) - 1, successes, episodes, outcomes=outcomes)
        for task, (_, successes, episodes, outcomes) in enumerate(tests)
    ]
    ordered = facts.tasks is not None
    return [record_of(facts, SCHEMA, names, cells, path, ordered=ordered, first=len(tests))]


Test = tuple[tuple[str, int | None], int, int, str]
"""A task's group and number, successes, episodes and outcomes."""


def _tests(content: dict[str, Any], path: Path, facts: Facts) -> list[Test]:
    tasks, groups = content.get("per_task"), content.get("per_group")
    if isinstance(tasks, list) and tasks:
        entries = [entry if isinstance(entry, dict) else {} for entry in tasks]
        keys = [(str(entry.get("task_group", "")), _whole(entry.get("task_id"))) for entry in entries]
        tests = [(key, *_counts(entry.get("metrics"), path, facts)) for key, entry in zip(keys, entries, strict=True)]
        return sorted(tests, key=lambda test: (test[0][0], test[0][1] or 0))
    if isinstance(content.get("per_episode"), list):
        successes = [entry.get("success") if isinstance(entry, dict) else None for entry in content["per_episode"]]
        return [(("", None), *_counts({"successes": successes}, path, facts))]
    if isinstance(groups, dict) and groups:
        return [((str(name), None), *_counts(entry, path, facts)) for name, entry in groups.items()]
    return [(("", None), *_counts(content.get("aggregated"), path, facts))]


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _counts(metrics: Any, path: Path, facts: Facts) -> tuple[int, int, str]:
    """Successes, episodes and outcomes of one entry.

    Raises:
        RunError: it has none, or rates alone and nobody says of how many episodes.
    """
    outcomes = metrics.get("successes") if isinstance(metrics, dict) else None
    if isinstance(outcomes, list) and outcomes:
        if not all(isinstance(outcome, bool) for outcome in outcomes):
            raise RunError(f"{path} has episodes that neither succeeded nor failed: restore it, or test again")
        letters = "".join("1" if outcome else "0" for outcome in outcomes)
        return letters.count("1"), len(letters), letters
    percent, said = number_in(metrics, "pc_success"), number_in(metrics, "n_episodes")
    if percent is None:
        raise RunError(f"{path} has no outcome of any episode and no success rate: restore it, or test again")
    episodes = int(said) if said else facts.episodes
    if not episodes:
        raise without_counts(path)
    return count_of(percent / 100, episodes, "in a task", path), episodes, ""


def _suite(tests: list[Test]) -> str | None:
    """Our name of the one suite that LIBERO's groups are (libero_goal), where all tests are of it."""
    groups = {group for (group, _), *_ in tests}
    name = groups.pop().replace("_", "-") if len(groups) == 1 else ""
    return name if name.startswith("libero-") and suites_tasks(name) is not None else None


def _names(tests: list[Test], suite: str | None, facts: Facts, path: Path) -> list[str]:
    """The tasks' names: as said, by their numbers in a suite that we know, or as LeRobot calls them."""
    if facts.tasks is not None:
        names = tasks_said(facts) or []
        if len(names) != len(tests):
            raise RunError(
                f"{path} has tests of {len(tests)} tasks, and tasks= names {len(names)}: name each, joined by +"
            )
        return names
    known = suites_tasks(suite) if suite else None
    numbers = [number for (_, number), *_ in tests]
    if known is not None and all(number is not None and 0 <= number < len(known) for number in numbers):
        return [known[number] for number in numbers if number is not None]
    return [
        " ".join(part for part in (group, "" if n is None else str(n)) if part) or "task" for (group, n), *_ in tests
    ]
