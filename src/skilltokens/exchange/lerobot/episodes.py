"""Where the episodes of a LeRobot data set lie, and what they show: meta/tasks.parquet and meta/episodes/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.exchange.lerobot import statistics
from skilltokens.exchange.lerobot.features import Source
from skilltokens.exchange.lerobot.info import Info
from skilltokens.exchange.lerobot.sound import sound
from skilltokens.exchange.lerobot.tables import Table, numbers
from skilltokens.files import shown
from skilltokens.types import Array, DemonstrationError

TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes"
REMOVE = '`lerobot-edit-dataset --operation.type delete_episodes --operation.episode_indices "[{}]"`'
_SENTENCE = ("task", "__index_level_0__")
"""Columns that hold a task's sentence: pandas names an index that has no name by the second."""
_COUNTS = (
    "episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index"
)  # fmt: skip
MOST_FILES = 10**6


@dataclass(frozen=True)
class Clip:
    """Where an episode's pictures lie: in which video, and from which second on."""

    path: Path
    start: float


@dataclass(frozen=True)
class Entry:
    """One episode of a data set.

    Attributes:
        number: its index in the data set.
        start: the number of its first row in the data set.
        task: the number of its task.
        path, row: its Parquet file, and the number of its first row there.
        clips: column -> where its pictures lie.
        bounds: column -> the smallest and the largest number of each entry, where the data set says them.
    """

    number: int
    length: int
    start: int
    task: int
    path: Path
    row: int
    clips: Mapping[str, Clip]
    bounds: Mapping[str, tuple[Array, Array] | None]


def read_tasks(info: Info) -> list[str]:
    """The sentence of each task, by its number.

    Raises:
        DemonstrationError: the file is missing or damaged, its numbers are not 0, 1, 2, ..., or two have one sentence.
    """
    path = info.folder / TASKS
    with Table(path) as table:
        name = next((name for name in _SENTENCE if name in table.names), _SENTENCE[0])
        rows = table.take(0, table.rows, ["task_index", name])
        index = numbers(rows.column("task_index"), "int64", (), f"{path}: 'task_index'")
        with sound(path, "Parquet file"):
            sentences = [str(words) for words in rows.column(name).to_pylist()]
    if len(index) != info.tasks or not np.array_equal(index, np.arange(len(index))):
        raise DemonstrationError(
            f"{path} does not number {info.tasks} tasks from 0, as meta/info.json says: restore it"
        )
    for words in sentences:
        if sentences.count(words) > 1:
            raise DemonstrationError(f"{path} has the task {shown(words)} twice: give each a sentence of its own")
    return sentences


def read_entries(info: Info, sources: Mapping[str, Source], tasks: Sequence[str]) -> list[Entry]:
    """All episodes, by their number.

    Args:
        sources: what is taken.
        tasks: see `read_tasks`.

    Raises:
        DemonstrationError: a file is missing or damaged, episodes or rows are missing or counted twice, or an episode
            shows no task that is known, or several.
    """
    folder = info.folder / EPISODES
    entries: list[Entry] = []
    rows: dict[Path, int] = {}
    for path in files_of(folder):
        with Table(path) as table:
            for first in range(0, table.rows, 1000):
                columns = _columns(table, sources)
                part = table.take(first, min(first + 1000, table.rows), columns)
                for row in _plain(part, path, sources):
                    entry = _entry(info, path, row, len(entries), sources, tasks, rows)
                    rows[entry.path] = entry.row + entry.length
                    entries.append(entry)
    if len(entries) != info.episodes:
        raise DemonstrationError(
            f"{folder} describes {len(entries)} episodes where meta/info.json counts {info.episodes}: a file is "
            "missing, or altered"
        )
    steps = sum(entry.length for entry in entries)
    if steps != info.frames:
        raise DemonstrationError(
            f"{folder} describes {steps} steps where meta/info.json counts {info.frames}: restore one of them"
        )
    return entries


def files_of(folder: Path) -> list[Path]:
    """The Parquet files FOLDER/chunk-*/*.parquet, in order."""
    paths = sorted(folder.glob("*/*.parquet"))
    if not paths:
        raise DemonstrationError(f"{folder} holds no file chunk-*/*.parquet: get the data set again")
    return paths


def _columns(table: Table, sources: Mapping[str, Source]) -> list[str]:
    needed = ["tasks", *_COUNTS]
    for source in sources.values():
        if source.kind == "video":
            needed += [f"videos/{source.column}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    said = [f"stats/{source.column}/{name}" for source in sources.values() for name in ("min", "max")]
    return needed + [name for name in said if name in table.names]


def _plain(part: Any, path: Path, sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """Rows as plain values, whose counts are whole numbers that are not negative."""
    with sound(path, "Parquet file"):
        rows: list[dict[str, Any]] = part.to_pylist()
    whole = [*_COUNTS]
    for source in sources.values():
        if source.kind == "video":
            whole += [f"videos/{source.column}/chunk_index", f"videos/{source.column}/file_index"]
    for row in rows:
        for name in whole:
            value = row[name]
            if isinstance(value, float) and value == int(value if abs(value) < 2**53 else 0):
                value = row[name] = int(value)  # pandas makes floats of whole numbers where one was missing
            most = MOST_FILES if name.endswith(("chunk_index", "file_index")) else 2**53
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
                raise DemonstrationError(f"{path} holds {shown(value)} as {name!r} of an episode: restore it")
    return rows


def _entry(
    info: Info,
    path: Path,
    row: Mapping[str, Any],
    number: int,
    sources: Mapping[str, Source],
    tasks: Sequence[str],
    rows: Mapping[Path, int],
) -> Entry:
    """The episode that a row describes. `number`: that it must have; `rows`: of each file, how many are taken."""
    start, stop, length = row["dataset_from_index"], row["dataset_to_index"], row["length"]
    if row["episode_index"] != number:
        raise DemonstrationError(f"{path} has the episode {row['episode_index']} where {number} is next: restore it")
    if length < 1 or stop - start != length:
        raise DemonstrationError(f"{path}: episode {number} has the length {length} and the rows {start} to {stop}")
    file = info.data_file(row["data/chunk_index"], row["data/file_index"])
    return Entry(
        number, length, start, _task(path, row["tasks"], number, tasks), file, rows.get(file, 0),
        _clips(info, path, row, sources), _bounds(path, row, number, sources),
    )  # fmt: skip


def _task(path: Path, said: object, number: int, tasks: Sequence[str]) -> int:
    words = [said] if isinstance(said, str) else said
    if not isinstance(words, list) or not words:
        raise DemonstrationError(f"{path}: episode {number} names no task: restore it")
    if len(words) > 1:
        raise DemonstrationError(
            f"{path}: episode {number} shows {len(words)} tasks one after another ({shown(words[0])}, "
            f"{shown(words[1])}), and a store shows one: leave it out with {REMOVE.format(number)}"
        )
    if words[0] not in tasks:
        raise DemonstrationError(f"{path}: episode {number} shows {shown(words[0])}, which {TASKS} has not: restore it")
    return tasks.index(words[0])


def _clips(info: Info, path: Path, row: Mapping[str, Any], sources: Mapping[str, Source]) -> dict[str, Clip]:
    clips: dict[str, Clip] = {}
    for source in sources.values():
        if source.kind == "video":
            key = f"videos/{source.column}"
            start = row[f"{key}/from_timestamp"]
            if not isinstance(start, float | int) or not 0 <= start < 1e9:
                raise DemonstrationError(f"{path} holds {shown(start)} as '{key}/from_timestamp': restore it")
            file = info.video_file(source.column, row[f"{key}/chunk_index"], row[f"{key}/file_index"])
            clips[source.column] = Clip(file, float(start))
    return clips


def _bounds(
    path: Path, row: Mapping[str, Any], number: int, sources: Mapping[str, Source]
) -> dict[str, tuple[Array, Array] | None]:
    return {
        source.column: statistics.bounds(
            {name: row.get(f"stats/{source.column}/{name}") for name in ("min", "max")},
            source.feature.shape[0] if source.feature.shape else 1,
            f"{path}: {source.column!r} of episode {number}",
        )
        for source in sources.values()
        if has_bounds(source)
    }


def has_bounds(source: Source) -> bool:
    """Whether what is read is compared with its statistics: vectors are."""
    return source.kind == "numbers" and len(source.feature.shape) <= 1
