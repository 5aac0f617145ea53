"""What two runs must share for their figures to be compared, each condition named in plain words.

The report, which puts settings that differ into the labels of methods, goes by those that are not `labelled`; a
comparison of methods goes by all. What a file of others does not say is None, and equal to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from skilltokens.report.runs import Run
from skilltokens.suites import load_suite
from skilltokens.types import SkilltokensError

UNSAID = "not said"
BUDGET = ("train.iterations", "train.first_iterations", "train.batch", "train.window")


@dataclass(frozen=True)
class Condition:
    """One thing that must be equal: what it is called, its value in a run (None: the file does not say), and words."""

    name: str
    of: Callable[[Run], Hashable | None]
    words: Callable[[Any], str] = str
    labelled: bool = False
    """A report shows it in a method's label; a comparison keeps such runs apart."""

    def shown(self, run: Run) -> str:
        """Its value in a run, in words."""
        value = self.of(run)
        return UNSAID if value is None else self.words(value)


def _setting(run: Run, name: str) -> Any:
    """A setting; None where the file says none of its section, so that a default here would be a guess."""
    return run.config.get(name) if name.partition(".")[0] in run.record.config else None


def _source(run: Run) -> Hashable | None:
    """Who demonstrated, and how often: one number, or task by task where they differ."""
    demonstrations = run.record.demonstrations
    if not demonstrations.source or not demonstrations.episodes:
        return None
    counts = tuple(demonstrations.episodes)
    return demonstrations.source, counts[0] if len(set(counts)) == 1 else counts


def _source_words(value: tuple[str, int | tuple[int, ...]]) -> str:
    source, episodes = value
    if isinstance(episodes, int):
        return f"{episodes} {source} a task"
    return f"{', '.join(map(str, episodes))} {source}, task by task"


def _content(run: Run) -> Hashable | None:
    digest = run.record.demonstrations.digest
    return (tuple(digest) if isinstance(digest, list) else (digest,)) if digest else None


def _digests(value: Sequence[object]) -> str:
    """The beginning of each digest; where all are one, as of skills that act by the same base, that one."""
    shown = [str(digest)[:8] for digest in value]
    return f"{shown[0]} of all {len(shown)}" if len(shown) > 1 and len(set(value)) == 1 else " ".join(shown)


def _protocol(run: Run) -> Hashable | None:
    protocol = run.record.protocol
    return (protocol, run.config.get("first", 1)) if protocol else None


def _protocol_words(value: tuple[str, int]) -> str:
    protocol, first = value
    return f"{protocol}, {first} tasks together at first" if protocol == "B" else protocol


def _base(run: Run) -> Hashable | None:
    """The library of protocol A+; () where the protocol has none."""
    if run.record.base is not None:
        return tuple(run.record.base.fingerprints)
    return () if run.record.protocol in ("A", "B") or not run.foreign else None


def _budget(run: Run) -> Hashable | None:
    values = tuple(_setting(run, name) for name in BUDGET)
    return None if None in values else values


def _budget_words(value: tuple[int, int, int, int]) -> str:
    iterations, first, batch, window = value
    return f"{iterations} iterations a lesson ({first} the first), batches of {batch} windows of {window} steps"


def _split(run: Run) -> Hashable | None:
    return run.config.get("evaluate.split") if run.foreign else run.split


def _episodes(run: Run) -> Hashable | None:
    """Episodes a test: one number, or task by task where they differ."""
    if not run.learned:
        return run.config.get("evaluate.episodes")
    row = run.episodes[run.learned - 1, : run.learned].tolist()
    return row[0] if len(set(row)) == 1 else tuple(row)


def _horizon(run: Run) -> Hashable | None:
    """Steps, or the suite by name where its own limit is not known here."""
    said = _setting(run, "evaluate.horizon")
    if said == 0:
        return _limit(run.suite) or f"that of {run.suite}"
    return said


@lru_cache(maxsize=64)
def _limit(suite: str) -> int | None:
    try:
        return load_suite(suite).horizon
    except SkilltokensError:
        return None


def _chooser(run: Run) -> Hashable | None:
    return run.config.get("selected_by") if run.foreign else run.selected_by


def _order(run: Run) -> Hashable | None:
    """The tasks in the order of their lessons. Others' evaluations of a finished policy may not say any."""
    return None if run.foreign and not run.config.get("ordered") else run.tasks


CONDITIONS = (
    Condition("suite", lambda run: run.suite or None),
    Condition("tasks", lambda run: tuple(sorted(run.tasks)), ", ".join),
    Condition("order of the tasks", _order, ", ".join),
    Condition("protocol", _protocol, _protocol_words),
    Condition("base library", _base, lambda value: _digests(value) if value else "none: from scratch"),
    Condition("observations", lambda run: run.record.observations or None),
    Condition("demonstrations", _source, _source_words),
    Condition("digests of the demonstrations", _content, _digests),
    Condition("budget", _budget, _budget_words, labelled=True),
    Condition("split of the initial states", _split),
    Condition(
        "episodes a test",
        _episodes,
        lambda value: ", ".join(map(str, value)) if isinstance(value, tuple) else str(value),
        labelled=True,
    ),
    Condition("what chooses the skill", _chooser, lambda value: value.replace("_", " "), labelled=True),
    Condition("horizon", _horizon, lambda value: f"{value} steps" if isinstance(value, int) else value, labelled=True),
    Condition("actions taken for each look", lambda run: _setting(run, "evaluate.ahead"), labelled=True),
)
"""In the order in which they are shown."""
ECHOES = {
    "suite": ("tasks", "order of the tasks", "digests of the demonstrations", "horizon"),
    "tasks": ("order of the tasks", "digests of the demonstrations"),
    "order of the tasks": ("digests of the demonstrations",),
    "demonstrations": ("digests of the demonstrations",),
    "protocol": ("base library",),
}
"""Conditions that differ where another one does, and are not said again."""


@dataclass(frozen=True)
class Unequal:
    """A condition in which two runs are not known to be equal, with its value in each, in words."""

    condition: Condition
    first: str
    second: str


def bench(run: Run) -> Hashable:
    """What two runs must share to stand in one table of a report."""
    return tuple(condition.of(run) for condition in CONDITIONS if not condition.labelled)


def unequal(first: Run, second: Run, assume_equal: bool = False) -> list[Unequal]:
    """The conditions in which two runs differ, or are not known to be equal.

    Args:
        assume_equal: what one of them does not say counts as equal.
    """
    problems = []
    for condition in CONDITIONS:
        mine, other = condition.of(first), condition.of(second)
        unsaid = mine is None or other is None
        if (unsaid and not assume_equal) or (not unsaid and mine != other):
            problems.append(Unequal(condition, condition.shown(first), condition.shown(second)))
    return _without_echoes(problems)


def _without_echoes(problems: Sequence[Unequal]) -> list[Unequal]:
    """Without those that follow from another one."""
    names = {problem.condition.name for problem in problems if UNSAID not in (problem.first, problem.second)}
    hidden = {echo for name in names for echo in ECHOES.get(name, ())}
    return [problem for problem in problems if problem.condition.name not in hidden]
