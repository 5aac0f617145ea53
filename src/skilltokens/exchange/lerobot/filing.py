"""Files of bounded sizes in LeRobot's layout: rows, what is said of episodes, and videos."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skilltokens.exchange.lerobot.statistics import Stats
from skilltokens.exchange.lerobot.videos import VideoWriter
from skilltokens.types import Array, DemonstrationError, Feature

MB = 1 << 20
PARQUET: dict[str, Any] = {"compression": "snappy", "use_dictionary": False, "write_page_checksum": True}
_BUFFER = 50
"""Episodes whose statistics are kept in memory before they are written."""


@dataclass(frozen=True)
class FileSizes:
    """How large the files of a data set may become; the defaults are LeRobot's.

    Attributes:
        data, videos: MB of a Parquet file, and of a video. An episode is not divided, and an encoder holds some back.
        chunk: files in one folder.
    """

    data: float = 100
    videos: float = 200
    chunk: int = 1000

    def __post_init__(self) -> None:
        if not (self.data > 0 and self.videos > 0 and self.chunk >= 1):
            raise DemonstrationError(f"{self} is impossible: files and folders need sizes above 0")

    def place(self, number: int) -> dict[str, int]:
        """Where the file of that number lies."""
        return {"chunk_index": number // self.chunk, "file_index": number % self.chunk}


class Files:
    """Numbered Parquet files, each of a bounded size. A context manager."""

    def __init__(self, folder: Path, schema: pa.Schema, sizes: FileSizes) -> None:
        self._folder, self._schema, self._sizes = folder, schema, sizes
        self._number = -1
        self._stack = contextlib.ExitStack()
        self._writer: Any = None
        self._file: Any = None

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, table: pa.Table) -> int:
        """Adds a row group; the number of its file."""
        if self._file is None or self._file.tell() + table.nbytes > self._sizes.data * MB:
            self._stack.close()
            self._number += 1
            path = self._folder / file_path(self._sizes.place(self._number), "parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._stack.enter_context(path.open("wb"))
            self._writer = self._stack.enter_context(pq.ParquetWriter(self._file, self._schema, **PARQUET))
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        return self._number

    @property
    def following(self) -> int:
        """The number of the file that is open, or will be first."""
        return max(self._number, 0)


class EpisodeFiles:
    """What is said of each episode, with its statistics. A context manager."""

    def __init__(self, folder: Path, sizes: FileSizes) -> None:
        self._folder, self._sizes = folder, sizes
        self._buffer: list[dict[str, Any]] = []
        self._files: Files | None = None

    def __enter__(self) -> EpisodeFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        if self._files is not None:
            self._files.__exit__()

    def write(self, entry: dict[str, Any], stats: Mapping[str, Stats]) -> None:
        said = {f"stats/{name}/{word}": array.tolist() for name, part in stats.items() for word, array in part.items()}
        self._buffer.append({**entry, **said})
        if len(self._buffer) == _BUFFER:
            self._flush()

    def _flush(self) -> None:
        number = self._files.following if self._files else 0
        place = {f"meta/episodes/{name}": value for name, value in self._sizes.place(number).items()}
        table = pa.Table.from_pylist([{**entry, **place} for entry in self._buffer] or [])
        if not self._buffer:
            return
        if self._files is None:
            self._files = Files(self._folder, table.schema, self._sizes)
        self._files.write(table.cast(self._files._schema))
        self._buffer.clear()


class Films:
    """The videos of one feature, each of a bounded size. A context manager."""

    def __init__(self, fresh: Path, column: str, feature: Feature, fps: float, sizes: FileSizes) -> None:
        self._fresh, self._column, self._shape, self._fps, self._sizes = fresh, column, feature.shape, fps, sizes
        self._number = -1
        self._writer: VideoWriter | None = None
        self.about: dict[str, Any] = {}

    def __enter__(self) -> Films:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, array: Array) -> dict[str, Any]:
        """Adds an episode; what is said of it."""
        if self._writer is None or self._writer.size >= self._sizes.videos * MB:
            if self._writer is not None:
                self._writer.close()
            self._number += 1
            path = self._fresh / "videos" / self._column / file_path(self._sizes.place(self._number), "mp4")
            self._writer = VideoWriter(path, self._fps, self._shape[0], self._shape[1], repr(self._column))
            self.about = self._writer.about()
        start = self._writer.frames
        self._writer.write(array)
        said = {
            **self._sizes.place(self._number),
            "from_timestamp": start / self._fps,
            "to_timestamp": self._writer.frames / self._fps,
        }
        return {f"videos/{self._column}/{word}": value for word, value in said.items()}


def file_path(place: Mapping[str, int], ending: str) -> str:
    """Where a file lies in its folder."""
    return f"chunk-{place['chunk_index']:03d}/file-{place['file_index']:03d}.{ending}"
