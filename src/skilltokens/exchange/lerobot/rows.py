"""Episodes from the rows and the videos of a LeRobot data set: a row group at a time, videos from front to back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.demos.rules import conform
from skilltokens.exchange.lerobot import pictures
from skilltokens.exchange.lerobot.episodes import Entry, has_bounds
from skilltokens.exchange.lerobot.features import Choice, Source, size_of
from skilltokens.exchange.lerobot.info import INFO, ROW, Info
from skilltokens.exchange.lerobot.own import OWN, Own, OwnStore
from skilltokens.exchange.lerobot.statistics import bounds, check_bounds
from skilltokens.exchange.lerobot.tables import Table, numbers
from skilltokens.exchange.lerobot.videos import VideoReader
from skilltokens.files import parse_json, read_bytes, shown
from skilltokens.types import ACTION, Array, DemonstrationError, Episode, Feature, Progress, Report, Task

STATS = "meta/stats.json"
TIMES = 1e-4
"""Seconds by which two steps may be nearer or farther than fps says; LeRobot's own."""


class Reader:
    """Reads episodes; one file of rows and one of pictures a column are open at a time."""

    def __init__(
        self, info: Info, choice: Choice, own: Own | None, clip: bool, changed: bool, total: int, report: Report
    ) -> None:
        self.info, self.choice = info, choice
        self._own, self._clip, self._changed, self._report = own, clip, changed, report
        self._total, self._done = total, 0
        self._open: Table | None = None
        self._videos: dict[str, VideoReader] = {}
        self._limits = _limits(info, choice.sources)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._open, *self._videos.values()):
            if one is not None:
                one.__exit__()

    def skip(self, entries: Sequence[Entry]) -> None:
        """Counts episodes as done that need not be read."""
        self._done += len(entries)

    def episodes(self, entries: Sequence[Entry], task: Task, own: OwnStore | None, first: int) -> Iterator[Episode]:
        """The episodes of one task, in their order.

        Args:
            own: the task's store as it was exported.
            first: the number of the task's first row in the data set.
        """
        with contextlib.ExitStack() as stack:
            private = None
            if own is not None and own.private:
                private = stack.enter_context(Table(self.info.folder / private_file(own.number)))
            for entry in entries:
                self._report(Progress("import", self._done, self._total, task.name))
                arrays = self._episode(entry)
                if private is not None and own is not None:
                    row = entry.start - first
                    part = private.take(row, row + entry.length, list(own.private))
                    for name, feature in own.private.items():
                        column = part.column(name)
                        arrays[name] = numbers(column, feature.dtype, feature.shape, f"{private.path}: {name!r}")
                self._done += 1
                yield Episode(arrays)

    def _episode(self, entry: Entry) -> dict[str, Array]:
        where = f"{self.info.folder}: episode {entry.number}"
        inside = [source.column for source in self.choice.sources.values() if source.kind != "video"]
        part = self._table(entry.path).take(entry.row, entry.row + entry.length, [*ROW, *inside])
        times = _checked_rows(part, entry, self.info.fps, where)
        arrays: dict[str, Array] = {}
        for name, source in self.choice.sources.items():
            here = f"{where}, {source.column!r}"
            shape = source.feature.shape
            if source.kind == "video":
                clip = entry.clips[source.column]
                if source.column not in self._videos:
                    self._videos[source.column] = VideoReader()
                video = self._videos[source.column]
                arrays[name] = video.read(clip.path, clip.start + times, self.info.fps, shape, here)
            elif source.kind == "image":
                arrays[name] = pictures.decoded(part.column(source.column), shape, here)
            else:
                arrays[name] = self._numbers(part, source, entry, here)
        if self._clip:
            arrays[ACTION] = np.clip(arrays[ACTION], -1, 1)
        features = {name: source.feature for name, source in self.choice.sources.items()}
        return conform(where, Episode(arrays), features)

    def _numbers(self, part: Any, source: Source, entry: Entry, where: str) -> Array:
        column = self.info.columns[source.column]
        if size_of(source.feature) != size_of(Feature(column.shape)):
            raise DemonstrationError(f"{where} has the shape {list(column.shape)} in {INFO} and another in {OWN}")
        array = numbers(part.column(source.column), column.dtype, source.feature.shape, where)
        if has_bounds(source):
            for limits, said in (
                (entry.bounds.get(source.column), "meta/episodes"),
                (self._limits[source.column], STATS),
            ):
                check_bounds(array, limits, where, said)
        return array

    def _table(self, path: Path) -> Table:
        if self._open is None or self._open.path != path:
            if self._open is not None:
                self._open.__exit__()
            self._open = Table(path)
            if self._open.is_ours and self._own is None and not self._changed:
                raise DemonstrationError(
                    f"{self.info.folder} was written by `skilltokens demos export`, and its {OWN} is gone: restore it, "
                    "or take the data set as it is now (--changed)"
                )
        return self._open


def private_file(number: int) -> str:
    """Where an export keeps the private features of a task."""
    return f"private/task-{number:03d}.parquet"


def _checked_rows(part: Any, entry: Entry, fps: float, where: str) -> Array:
    """The seconds of an episode's steps, once its rows are those that they must be.

    Raises:
        DemonstrationError: rows are missing, of another episode or task, or their times do not fit to fps.
    """
    steps = np.arange(entry.length)
    right = {
        "frame_index": steps,
        "index": entry.start + steps,
        "episode_index": entry.number,
        "task_index": entry.task,
    }
    for name, expected in right.items():
        values = numbers(part.column(name), "int64", (), f"{where}, {name!r}")
        wrong = values != expected
        if wrong.any():
            step = int(wrong.argmax())
            needed = np.broadcast_to(expected, values.shape)[step]
            raise DemonstrationError(
                f"{where}, step {step} has the {name} {values[step]} where meta/episodes needs {needed}: the data set "
                "is damaged, or rows are missing"
            )
    times = numbers(part.column("timestamp"), "float64", (), f"{where}, 'timestamp'")
    between = np.abs(np.diff(times) - 1 / fps)
    wrong = ~(between <= TIMES + 2.0**-22 * np.abs(times[1:]))
    if wrong.any() or not np.isfinite(times).all():
        step = int(wrong.argmax()) + 1 if wrong.any() else 0
        raise DemonstrationError(
            f"{where}, step {step} is at {times[step]:.6g} s, which does not fit to {fps:g} steps a second: correct "
            "the timestamps, or fps in meta/info.json"
        )
    return times


def _limits(info: Info, sources: Mapping[str, Source]) -> dict[str, tuple[Array, Array] | None]:
    """Column -> the smallest and the largest numbers that meta/stats.json says; a data set may have none."""
    path = info.folder / STATS
    said: Any = {}
    if os.path.lexists(path):
        said = parse_json(read_bytes(path, DemonstrationError), path, DemonstrationError)
        if not isinstance(said, dict):
            raise DemonstrationError(f"{path} is no JSON object ({shown(said)}): restore it")
    limits: dict[str, tuple[Array, Array] | None] = {}
    for source in sources.values():
        if has_bounds(source):
            entry = said.get(source.column)
            width = source.feature.shape[0] if source.feature.shape else 1
            where = f"{path}: {source.column!r}"
            limits[source.column] = bounds(entry, width, where) if isinstance(entry, dict) else None
    return limits
