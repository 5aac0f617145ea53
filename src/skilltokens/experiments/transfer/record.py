"""matrix.json: the cells of a transfer matrix with all that is needed to resume, repeat and judge them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from skilltokens.experiments.reading import altered
from skilltokens.experiments.records import BaseLibrary, Demonstrations, Machine, Resumed, TaskEntry
from skilltokens.files import check_seal, read_json, sealed, write_json
from skilltokens.types import RunError

SCHEMA = "skilltokens.transfer/1"
FILE = "matrix.json"


class TransferCell(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One pair: a task that was learned from a skill, evaluated at each point of its learning curve."""

    start: int | None = None
    """The task whose skill it was learned from, by its place; None: the base."""
    task: int
    progress: list[float]
    """Shares of the training."""
    successes: list[int]
    """Of `episodes`, at each of them."""
    outcomes: list[str]
    """At each of them a letter for each initial state: 1 for success, 0 for failure."""
    episodes: int
    loss: float | None = None
    """The cloning loss of the learned skill on held-out demonstrations."""
    seconds: float = 0.0


class RuleScores(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a rule that chooses a neighbour says of every pair."""

    rule: str
    less_is_nearer: bool = False
    scores: list[list[float]]
    """(tasks, tasks): of the skill of each task, in a row, for each new task, in a column."""
    base: list[float] = []
    """(tasks,): of the base, with the new instruction; empty where the rule says nothing of it."""


class TransferRecord(msgspec.Struct, omit_defaults=True, kw_only=True):
    """matrix.json."""

    schema: str = SCHEMA
    recipe: str
    command: str = ""
    method: str
    suite: str
    split: str
    seed: int
    encoder: str = ""
    tasks: list[TaskEntry]
    base: BaseLibrary | None = None
    """The library that the skills were learned from, and they themselves, which come last."""
    demonstrations: Demonstrations = msgspec.field(default_factory=Demonstrations)
    held_out: Demonstrations = msgspec.field(default_factory=Demonstrations)
    """Those behind the ones that are learned from: how many, and the digest of the store that holds both."""
    cells: list[TransferCell] = []
    rules: list[RuleScores] = []
    config: dict[str, Any]
    versions: dict[str, str | None]
    commit: str | None = None
    machine: Machine | None = None
    started: str
    resumed: list[Resumed] = []
    finished: str = ""


def read_matrix(path: Path) -> TransferRecord:
    """The matrix.json that is named, or the one in a folder.

    Raises:
        RunError: it is missing, truncated or altered, or its counts cannot be.
    """
    path = Path(path)
    path = path / FILE if os.path.isdir(path) else path
    content = read_json(path, SCHEMA, RunError)
    check_seal(content, path, RunError)
    try:
        record = msgspec.convert(content, TransferRecord)
    except ValueError as problem:
        raise altered(path, str(problem).replace("`", "").replace("$.", "")) from problem
    for problem in _problems(record):
        raise altered(path, problem)
    return record


def write_matrix(folder: Path, record: TransferRecord) -> None:
    """Replaces FOLDER/matrix.json atomically, sealed.

    Raises:
        RunError: it cannot be written.
    """
    content = {name: value for name, value in msgspec.to_builtins(record).items() if name != "schema"}
    write_json(folder / FILE, sealed({"schema": SCHEMA, **content}), RunError)


def _problems(record: TransferRecord) -> Iterator[str]:
    """What cannot be right, though every value is of its kind."""
    tasks, known = len(record.tasks), set()
    for i, cell in enumerate(record.cells):
        places = (cell.task, cell.task if cell.start is None else cell.start)
        if not all(0 <= place < tasks for place in places):
            yield f"cells[{i}] is about a task that there is not"
        if not len(cell.progress) == len(cell.successes) == len(cell.outcomes) > 0 or cell.progress[-1] != 1:
            yield f"cells[{i}] has no whole curve"
        for good, letters in zip(cell.successes, cell.outcomes, strict=False):
            counts = letters.count("1"), letters.count("0"), len(letters)
            if cell.episodes < 1 or counts != (good, cell.episodes - good, cell.episodes):
                yield f"cells[{i}] has outcomes that are not those it counts"
        if (cell.start, cell.task) in known:
            yield f"cells[{i}] comes twice"
        known.add((cell.start, cell.task))
    for rule in record.rules:
        if [len(row) for row in rule.scores] != [tasks] * tasks or len(rule.base) not in (0, tasks):
            yield f"the rule {rule.rule!r} does not score every pair"
    if record.finished and (len(known) != tasks * (tasks + 1) or not record.rules):
        yield "it says that it is finished, and lacks cells"
