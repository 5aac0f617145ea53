"""What may be said of a result that another program made, and the record that comes of it."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from skilltokens.experiments.reading import problems_in
from skilltokens.experiments.records import Cell, Demonstrations, LifelongRecord, Parameters, TaskEntry, Timing
from skilltokens.suites import load_suite
from skilltokens.types import RunError, SkilltokensError, nearest


@dataclass(frozen=True)
class Facts:
    """Where a result came from and what it cost; None: not said."""

    method: str | None = None
    """What the method is called."""
    seed: int | None = None
    """The seed of its training; 0 where it is not said."""
    suite: str | None = None
    """The suite, by the name that `skilltokens list suites` prints."""
    tasks: str | None = None
    """The tasks in the order of their lessons, joined by +."""
    protocol: Literal["A", "A+", "B"] | None = None
    """A: one task after another from scratch; A+: from a base; B: some together at first."""
    first: int | None = None
    """How many tasks the first lesson taught: more than one in protocol B and of a joint method."""
    observations: Literal["state", "images"] | None = None
    """What the policy looks at."""
    source: str | None = None
    """Who demonstrated: scripted, human, ..."""
    demonstrations: int | None = None
    """Demonstrations of a task."""
    iterations: int | None = None
    """Training steps of a lesson."""
    first_iterations: int | None = None
    """Training steps of the first lesson; that of the others where it is not said."""
    batch: int | None = None
    """Windows in a batch."""
    window: int | None = None
    """Time steps in a window."""
    split: Literal["validation", "test"] | None = None
    """Which of our initial states it was tested on; left out where it was others'."""
    selected_by: Literal["instruction", "task_id"] | None = None
    """What chose the skill in a test."""
    horizon: int | None = None
    """The most steps of an episode."""
    ahead: int | None = None
    """Actions that were taken for each look at the observation."""
    episodes: int | None = None
    """Episodes of a test, where the file has rates alone."""
    base_parameters: int | None = None
    """Parameters of the whole policy after the first lesson."""
    trained_parameters: int | None = None
    """Parameters trained for a new skill."""
    stored_parameters: int | None = None
    """Parameters kept in the end."""
    remembered_bytes: int | None = None
    """Bytes of demonstrations kept in the end to learn on."""
    passes: float | None = None
    """Passes of a batch through the policy in a training step."""
    seconds: float | None = None
    """Seconds of training, all lessons together."""


PLAIN = ("eval_info", "result")
"""Names that every result of a program bears: the method is called by the folder then."""
KEYS = tuple(field.name for field in fields(Facts))


def facts_of(words: Mapping[str, str], path: Path) -> Facts:
    """Facts from text; empty text says nothing.

    Raises:
        RunError: an unknown key, or a value that it cannot have.
    """
    values: dict[str, Any] = {}
    for key, text in words.items():
        if key not in KEYS:
            raise RunError(f"{path} says {key!r}, which is nothing that a result can say: {nearest(key, KEYS)}")
        if not text.strip():
            continue
        try:
            value = msgspec.convert(text.strip(), _kinds()[key], strict=False)
        except ValueError as problem:
            reason = str(problem).replace("`", "").removesuffix(" - at $")
            raise RunError(f"{path} says {key}={text!r}, which cannot be ({reason}): correct it") from problem
        if isinstance(value, int | float) and value < (0 if key in ("seed", "remembered_bytes") else 1e-9):
            raise RunError(f"{path} says {key}={text!r}, which cannot be (it is too small): correct it")
        values[key] = value
    return Facts(**values)


@cache
def _kinds() -> dict[str, Any]:
    return typing.get_type_hints(Facts)


def merged(said: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What is said beside a file goes before what the file says."""
    return {**own, **{key: value for key, value in said.items() if value.strip()}}


def tasks_said(facts: Facts) -> list[str] | None:
    """The tasks by name, where they or a suite with its own order is said."""
    if facts.tasks is not None:
        return [name.strip() for name in facts.tasks.split("+")]
    return None if facts.suite is None else suites_tasks(facts.suite)


def suites_tasks(suite: str) -> list[str] | None:
    """The tasks of a suite in its own order; None where this machine does not know it."""
    try:
        return [task.name for task in load_suite(suite).tasks]
    except SkilltokensError:
        return None


def record_of(
    facts: Facts,
    schema: str,
    tasks: Sequence[str],
    cells: Sequence[Cell],
    path: Path,
    *,
    ordered: bool,
    first: int | None,
) -> LifelongRecord:
    """The record of one result.

    Args:
        schema: what wrote it.
        tasks: in the order of their lessons, if it is known.
        ordered: whether it is.
        first: how many tasks the first lesson taught; None: one, or all where nothing was tested before the last.

    Raises:
        RunError: the cells contradict each other.
    """
    count = len(tasks)
    record = LifelongRecord(
        schema=schema,
        method=facts.method or (path.parent.name if path.stem in PLAIN else path.stem),
        suite=facts.suite or "",
        protocol=facts.protocol or "",
        observations=facts.observations or "",
        seed=facts.seed or 0,
        tasks=[TaskEntry(name, "") for name in tasks],
        first=facts.first or first,
        demonstrations=Demonstrations(
            source=facts.source or "",
            episodes=[] if facts.demonstrations is None else [facts.demonstrations] * count,
        ),
        cells=list(cells),
        parameters=_parameters(facts, alone=count > (facts.first or first or 1)),
        remembered=[] if facts.remembered_bytes is None else [facts.remembered_bytes],
        passes=[] if facts.passes is None else [facts.passes] * count,
        timing=Timing(train_s=[] if facts.seconds is None else [facts.seconds]),
        config=_config(facts, ordered),
        versions={},
        started="",
        finished=None,
    )
    for problem in problems_in(record):
        raise RunError(f"{path} contradicts itself ({problem}): correct it")
    return record


def _parameters(facts: Facts, alone: bool) -> Parameters:
    """As lists over lessons: the first trains the base, others (if any task has one `alone`) a skill; what is stored is
    known of the end."""
    first, new, stored = facts.base_parameters, facts.trained_parameters, facts.stored_parameters
    trained = [] if new is None else [first or new, new] if alone else [first or new]
    return Parameters(base=first, trained=trained, total=[] if stored is None else [stored])


def _config(facts: Facts, ordered: bool) -> dict[str, Any]:
    """The settings that are said, under the names that ours have."""
    first = facts.first_iterations or facts.iterations
    train = {
        "iterations": facts.iterations,
        "first_iterations": first,
        "batch": facts.batch,
        "window": facts.window,
    }
    evaluate = {"split": facts.split, "horizon": facts.horizon, "ahead": facts.ahead}
    config = {
        "selected_by": facts.selected_by,
        "first": facts.first if facts.protocol == "B" else None,
        "ordered": ordered or None,
        "train": {name: value for name, value in train.items() if value is not None},
        "evaluate": {name: value for name, value in evaluate.items() if value is not None},
    }
    return {name: value for name, value in config.items() if value is not None and value != {}}
