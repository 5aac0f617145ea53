"""The CSV that anybody can write: a line for each test of a task. docs/compare.md describes it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skilltokens.experiments.foreign.counting import cell_of, count_of, without_counts
from skilltokens.experiments.foreign.facts import KEYS, Facts, facts_of, merged, record_of
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.files import read_bytes
from skilltokens.types import RunError, nearest

SCHEMA = "csv"
TESTS = ("task", "after", "progress", "successes", "rate", "episodes", "outcomes")
"""Columns of a test; all others are facts.py's keys, and say the same on every line of a run."""
RUN = ("method", "seed", "suite")
"""What tells one run from another."""


@dataclass(frozen=True)
class Line:
    """One test as it stands in the file: `number` is the line's."""

    number: int
    cells: Mapping[str, str]


def read(path: Path, said: Mapping[str, str]) -> list[LifelongRecord]:
    """Every run in the file: the lines of one method, seed and suite.

    Raises:
        RunError: it is missing, no CSV, without a column that is needed, or a line says what cannot be.
    """
    own, lines = _lines(path)
    runs: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        words = merged(said, {**own, **line.cells})
        runs.setdefault(tuple(words.get(key, "") for key in RUN), []).append(line)
    return [_record(path, own, said, lines) for lines in runs.values()]


def _lines(path: Path) -> tuple[dict[str, str], list[Line]]:
    """What its comments say, and its lines by column."""
    try:
        text = read_bytes(path, RunError).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise RunError(f"{path} is no text: write a .csv in UTF-8 (docs/compare.md)") from problem
    own: dict[str, str] = {}
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if row and row[0].lstrip().startswith("#"):
                key, colon, value = ",".join(row).lstrip(" #").partition(":")
                if colon and key.strip() in KEYS:
                    own[key.strip()] = value.strip()
            elif any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
    except csv.Error as problem:
        raise RunError(f"{path} is no CSV ({problem}, line {reader.line_num}): correct it") from problem
    head = [cell.strip() for cell in rows[0][1]] if rows else []
    for column in head:
        if column not in (*TESTS, *KEYS):
            raise RunError(f"{path} has a column {column!r}: {nearest(column, (*TESTS, *KEYS))}")
    if "task" not in head or not {"successes", "outcomes", "rate"} & set(head) or len(set(head)) < len(head):
        raise RunError(
            f"{path} needs a first line with the columns task, successes and episodes (or outcomes), each once: see "
            "docs/compare.md"
        )
    if len(rows) < 2:
        raise RunError(f"{path} has no test: a line for each task that was tested is needed")
    for number, row in rows[1:]:
        if len(row) != len(head):
            raise RunError(f"{path} has {len(row)} cells in line {number} and {len(head)} columns: correct it")
    return own, [Line(number, dict(zip(head, (c.strip() for c in row), strict=True))) for number, row in rows[1:]]


def _record(path: Path, own: Mapping[str, str], said: Mapping[str, str], lines: Sequence[Line]) -> LifelongRecord:
    facts = facts_of(merged(said, {**own, **_columns(path, lines, said)}), path)
    tests = [(line, _after(line, path)) for line in lines]
    last = max((after for _, after in tests if after is not None), default=None)
    names = facts.tasks.split("+") if facts.tasks else _order(tests)
    names = [name.strip() for name in names]
    end = len(names) - 1
    if last is not None and last > end:
        raise RunError(f"{path} has tests after lesson {last + 1} and {len(names)} tasks: one lesson a task is needed")
    cells = [_cell(path, facts, line, names, end if after is None else after) for line, after in tests]
    first = len(names) if last is None and len(names) > 1 else None
    ordered = bool(facts.tasks) or last is not None
    return record_of(facts, SCHEMA, names, cells, path, ordered=ordered, first=first)


def _columns(path: Path, lines: Sequence[Line], said: Mapping[str, str]) -> dict[str, str]:
    """What the columns of all lines of a run say, besides their tests and what is said beside the file."""
    words: dict[str, str] = {}
    for key in (key for key in KEYS if key not in TESTS and key not in said):
        values = {line.cells.get(key, "") for line in lines}
        if len(values) > 1:
            raise RunError(f"{path} says several values of {key} for one run ({', '.join(sorted(values))}): correct it")
        words[key] = values.pop()
    return {key: value for key, value in words.items() if value}


def _after(line: Line, path: Path) -> int | None:
    """The lesson of a test, counted from 0; None: it says none, which is the last."""
    text = line.cells.get("after", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise RunError(f"{path} has after {text!r} in line {line.number}: lessons count from 1")
    return int(text) - 1


def _order(tests: Sequence[tuple[Line, int | None]]) -> list[str]:
    """Tasks by the lesson after which they were first tested, then as they stand in the file."""
    first: dict[str, int] = {}
    for line, after in tests:
        name = line.cells["task"]
        first[name] = min(first.get(name, len(tests)), len(tests) if after is None else after)
    return sorted(first, key=lambda name: first[name])


def _cell(path: Path, facts: Facts, line: Line, names: Sequence[str], after: int) -> Cell:
    task = line.cells["task"]
    if task not in names:
        raise RunError(f"{path} tests {task!r} in line {line.number}: {nearest(task, names)}")
    outcomes = line.cells.get("outcomes", "")
    if set(outcomes) - {"0", "1"}:
        raise RunError(f"{path} has outcomes {outcomes!r} in line {line.number}: a letter an episode is needed, 1 or 0")
    successes, episodes = _number(path, line, "successes"), _number(path, line, "episodes") or facts.episodes
    if outcomes:
        successes, episodes = outcomes.count("1") if successes is None else successes, episodes or len(outcomes)
    if not episodes:
        raise without_counts(path, f" in line {line.number}")
    if successes is None:
        successes = count_of(_share(path, line, "rate"), episodes, f"in line {line.number}", path)
    progress = _share(path, line, "progress") if line.cells.get("progress") else 1.0
    return cell_of(facts, names.index(task), after, successes, episodes, progress, outcomes)


def _number(path: Path, line: Line, column: str) -> int | None:
    text = line.cells.get(column, "")
    if text and not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise RunError(f"{path} has {column} {text!r} in line {line.number}: a whole number is needed")
    return int(text) if text else None


def _share(path: Path, line: Line, column: str) -> float:
    text = line.cells.get(column, "")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RunError(f"{path} has {column} {text!r} in line {line.number}: a number from 0 to 1 is needed")
    return value
