"""run.json read and written: kinds are checked by the records, here what the values mean.

Counts that cannot be, tasks that do not exist, and cells that contradict each other are refused. What is written is
sealed: run.json says a digest of itself. Files without one, of the schemas before, stay readable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from skilltokens.experiments.records import Cell, LifelongRecord, RewardRecord, Variant, Wording
from skilltokens.files import (
    REWARD_SCHEMA,
    RUN_SCHEMA,
    SEAL,
    UNSEALED_REWARD_SCHEMA,
    UNSEALED_RUN_SCHEMA,
    check_seal,
    depth,
    read_json,
    sealed,
    write_json,
)
from skilltokens.types import RunError

SPLITS = ("test", "validation")
CHOOSERS = ("instruction", "task_id")
LIFELONG, REWARD = (RUN_SCHEMA, UNSEALED_RUN_SCHEMA), (REWARD_SCHEMA, UNSEALED_REWARD_SCHEMA)
"""Schemas that can be read, the one that is written first."""
DEEPEST = 20
"""How deep values may lie in run.json: its settings are read by functions that call themselves."""

Record = TypeVar("Record", LifelongRecord, RewardRecord)


def run_file(path: Path) -> Path:
    """The run.json that is named, or the one in the folder that is named."""
    path = Path(path)
    return path / "run.json" if os.path.isdir(path) else path


def read_record(path: Path) -> LifelongRecord | RewardRecord:
    """Any run.json, or the one in a folder.

    Raises:
        RunError: it is missing, truncated, altered or of another schema.
    """
    path = run_file(path)
    content = _read(path, (*LIFELONG, *REWARD))
    if content["schema"] in LIFELONG:
        return _checked_lifelong(path, content)
    return _checked_reward(path, content)


def read_lifelong(path: Path) -> LifelongRecord:
    """The run.json of a lifelong run, or the one in its folder.

    Raises:
        RunError: it is missing, truncated, altered (counts that cannot be, tasks that do not exist, cells that
            contradict each other) or of another schema.
    """
    path = run_file(path)
    return _checked_lifelong(path, _read(path, LIFELONG))


def read_reward(path: Path) -> RewardRecord:
    """The run.json of a run from reward, or the one in its folder.

    Raises:
        RunError: it is missing, damaged or of another kind.
    """
    path = run_file(path)
    return _checked_reward(path, _read(path, REWARD))


def write_record(folder: Path, record: LifelongRecord | RewardRecord) -> None:
    """Replaces FOLDER/run.json atomically, sealed, in the newest schema, whatever the record was read from.

    Raises:
        RunError: it cannot be written.
    """
    record.schema = RUN_SCHEMA if isinstance(record, LifelongRecord) else REWARD_SCHEMA
    write_json(Path(folder) / "run.json", sealed(msgspec.to_builtins(record)), RunError)


def _read(path: Path, schemas: tuple[str, ...]) -> dict[str, Any]:
    """The content of a run.json whose seal is right; one of an older schema need not bear any."""
    content = read_json(path, schemas, RunError)
    if SEAL in content or content["schema"] in (RUN_SCHEMA, REWARD_SCHEMA):
        check_seal(content, path, RunError)
    if depth(content) > DEEPEST:
        raise altered(path, "nested too deep")
    return content


def altered(path: Path, problem: str) -> RunError:
    """What to raise for a file that cannot be trusted."""
    return RunError(f"{path} is truncated or altered ({problem}): restore it, or run the same command again")


def _converted(path: Path, content: dict[str, Any], kind: type[Record]) -> Record:
    try:
        return msgspec.convert(content, kind)
    except ValueError as problem:
        raise altered(path, str(problem).replace("`", "").replace("$.", "")) from problem


def lifelong_in(content: dict[str, Any], path: Path) -> LifelongRecord:
    """The record of a lifelong run that another file holds; `path` is for messages.

    Raises:
        RunError: it is altered, as in `read_lifelong`.
    """
    if depth(content) > DEEPEST:
        raise altered(path, "nested too deep")
    return _checked_lifelong(path, content)


def _checked_lifelong(path: Path, content: dict[str, Any]) -> LifelongRecord:
    record = _converted(path, content, LifelongRecord)
    for problem in problems_in(record):
        raise altered(path, problem)
    return record


def _checked_reward(path: Path, content: dict[str, Any]) -> RewardRecord:
    record = _converted(path, content, RewardRecord)
    if not record.tasks:
        raise altered(path, "it names no task")
    for result in record.results:
        if not result.steps or len(result.steps) != len(result.successes) or result.episodes < 1:
            raise altered(path, f"the result of {result.task!r} has no whole curve")
    return record


def problems_in(record: LifelongRecord) -> Iterator[str]:
    """What in a run.json cannot be right, though every value is of its kind."""
    tasks = len(record.tasks)
    if not tasks:
        yield "it names no task"
    yield from cell_problems(record.cells, [task.name for task in record.tasks])
    for key, numbers in (("trained", record.parameters.trained), ("total", record.parameters.total)):
        if len(numbers) > tasks:
            yield f"parameters.{key} has more entries than there are tasks"
        if min(numbers, default=0) < 0:
            yield f"parameters.{key} holds a number below 0"
    for i, lesson in enumerate(record.learning):
        if len(lesson.iterations) != len(lesson.loss):
            yield f"learning[{i}] has more losses than iterations, or fewer"
    for i, flow in enumerate(record.gradients):
        for layer, series in flow.layers.items():
            for kind, norms in series.items():
                count = len(flow.iterations)
                if len(norms) not in (0, count):
                    yield f"gradients[{i}] has {len(norms)} norms of {kind} rows in {layer} for {count} records"
    for name, entries in (("selection", record.selection), ("variants", record.variants)):
        for i, entry in enumerate(entries):
            places = (entry.task, entry.chosen if isinstance(entry, Wording) else entry.skill)
            if not all(place is None or 0 <= place < tasks for place in places):
                yield f"{name}[{i}] is about a task that the run does not have"
    for i, variant in enumerate(record.variants):
        if not 0 <= variant.successes <= variant.episodes or variant.episodes == 0:
            yield f"variants[{i}] counts {variant.successes} successes of {variant.episodes} episodes"
        yield from _other_outcomes(f"variants[{i}]", variant)


def cell_problems(cells: list[Cell], tasks: list[str]) -> Iterator[str]:
    """What in the cells of a run of these tasks cannot be right."""
    known: set[tuple[Any, ...]] = set()
    for i, cell in enumerate(cells):
        place = f"evaluations[{i}]"
        if not (-1 <= cell.after < len(tasks) and 0 <= cell.task < len(tasks) and 0 <= cell.progress <= 1):
            yield f"{place} is about a task or a time that the run does not have"
        elif not 0 <= (cell.skill or 0) < len(tasks):
            yield f"{place} was acted by a skill that the run does not have"
        if cell.split not in SPLITS or cell.selected_by not in CHOOSERS:
            yield f"{place} has split {cell.split!r} and selected_by {cell.selected_by!r}"
        if not 0 <= cell.successes <= cell.episodes or cell.episodes == 0:
            yield f"{place} counts {cell.successes} successes of {cell.episodes} episodes"
        yield from _other_outcomes(place, cell)
        key = (cell.after, cell.progress, cell.task, cell.split, cell.selected_by)
        if key in known:
            yield f"{place} repeats a cell"
        known.add(key)
        if cell.same_as is not None and not (0 <= cell.same_as < i and _alike(cells[cell.same_as], cell, tasks)):
            yield f"{place} claims the same bits as entry {cell.same_as}, which differs"


def _other_outcomes(place: str, counted: Cell | Variant) -> Iterator[str]:
    """Where outcomes are noted episode by episode, they must be those that are counted."""
    letters = counted.outcomes
    if letters and (letters.count("1"), letters.count("1") + letters.count("0"), len(letters)) != (
        *(counted.successes, counted.episodes, counted.episodes),
    ):
        yield f"{place} has outcomes that are not those it counts"


def _alike(one: Cell, other: Cell, tasks: list[str]) -> bool:
    """Whether two cells may be of the same bits: the same task and states, and the same counts."""
    return tasks[one.task] == tasks[other.task] and all(
        getattr(one, name) == getattr(other, name) for name in ("split", "successes", "episodes", "outcomes")
    )
