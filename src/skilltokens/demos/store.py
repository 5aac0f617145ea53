"""The demonstration store: one task, one folder, one flat memory-mapped array for each feature.

    FOLDER/SUITE/TASK/
      header.json         what is in it (schema skilltokens.demonstrations/1), with the digest of every file
      offsets.npy         (episodes + 1,) int64: episode i is rows offsets[i] to offsets[i + 1]
      <feature>.npy       (steps, *shape): all episodes one after another

Opening reads the header and the sizes of the files, nothing else, so it takes the same few milliseconds for
a megabyte and for a terabyte. Contents are checked when they are written, and again by `verify`.
docs/formats.md describes the format for other programs.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import io
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.demos import kinds
from skilltokens.demos.checks import findings
from skilltokens.demos.header import HEADER, OFFSETS, SCHEMA, feature_from, read_header, task_from
from skilltokens.demos.rules import check_features, check_task, conform
from skilltokens.files import reading, replacing, sealed, shown, write_json
from skilltokens.types import SIMULATOR, Array, DemonstrationError, Episode, Feature, Task

_PIECE = 1 << 20  # bytes read at a time


class DemonstrationStore:
    """A store, open for reading. Make one with `DemonstrationStore.open` or `write_store`.

    Any number of processes may read a store at once; the system keeps its pages in memory once for all of them. A
    pickled store is its path, not its data. A store that is replaced while it is open keeps showing the old contents.

    Attributes:
        path: the folder.
        task: the task, with its instruction and wordings.
        suite: the suite's name.
        source: who demonstrated: "scripted", "human", ...
        settings: how the demonstrations were made (noise, seed, ...), as given to `write_store`.
        versions: versions of the simulator, the environments and the experts.
        features: name -> shape of one step, and dtype.
        private: the features for tools alone, in the same form; no policy sees them (`types.SIMULATOR`).
        offsets: (episodes + 1,) int64, memory-mapped.
        episodes, steps: how many there are.
        digest: SHA-256 of everything above and of every byte of data; equal for equal demonstrations.
        rows: which steps of the files these are, from the first to behind the last; None where they are in memory.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], arrays: Mapping[str, Array], offsets: Array) -> None:
        self.path = path
        self.task = task_from(header["task"])
        self.suite: str = header["suite"]
        self.source: str = header["source"]
        self.settings: dict[str, Any] = header["settings"]
        self.versions: dict[str, str] = header["versions"]
        features = {n: feature_from(entry) for n, entry in header["features"].items()}
        self.features: dict[str, Feature] = {n: f for n, f in features.items() if not n.startswith(SIMULATOR)}
        self.private: dict[str, Feature] = {n: f for n, f in features.items() if n.startswith(SIMULATOR)}
        self.episodes: int = header["episodes"]
        self.steps: int = header["steps"]
        self.digest: str = header["digest"]
        self.files: dict[str, dict[str, Any]] = header["files"]
        self.rows: tuple[int, int] | None = (0, self.steps)
        self.offsets = offsets
        self._arrays = arrays

    @classmethod
    def open(cls, path: str | Path) -> DemonstrationStore:
        """Opens the store in folder `path`.

        Raises:
            DemonstrationError: there is no store, the header was altered, or a file is not of the size, dtype and shape
                that the header says. Altered values are found by `verify`, which reads everything.
        """
        path = Path(path)
        if os.path.isfile(path):
            raise DemonstrationError(
                f"{path} is a file, not a demonstration store (a folder): an HDF5 file can be imported into one"
            )
        header = read_header(path)
        for name, entry in header["files"].items():
            _check_size(path / name, entry["bytes"])
        rows = {name: (header["steps"], *feature["shape"]) for name, feature in header["features"].items()}
        arrays = {n: _mapped(path, n, header["features"][n]["dtype"], shape) for n, shape in rows.items()}
        return cls(path, header, arrays, _mapped(path, OFFSETS, "int64", (header["episodes"] + 1,)))

    def __getitem__(self, name: str) -> Array:
        """All steps of one feature, (steps, *shape), memory-mapped and read-only."""
        return self._arrays[name]

    def __len__(self) -> int:
        return self.episodes

    def episode(self, index: int) -> Episode:
        """Episode `index`: memory-mapped views of (its steps, *shape) for every feature but the private ones.

        Raises:
            IndexError: there is no such episode.
        """
        if not 0 <= index < self.episodes:
            raise IndexError(f"{self.path} has episodes 0 to {self.episodes - 1}, not {index}")
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Episode({name: self._arrays[name][rows] for name in self.features})

    def part(self, first: int, last: int) -> DemonstrationStore:
        """Episodes `first` to `last` - 1 of this store, as a store over the same files; its digest is the whole one's.

        Raises:
            IndexError: there are no such episodes.
        """
        if not 0 <= first < last <= self.episodes:
            raise IndexError(f"{self.path} has episodes 0 to {self.episodes - 1}, not {first} to {last - 1}")
        part = copy.copy(self)
        start, stop = int(self.offsets[first]), int(self.offsets[last])
        part.rows = None if self.rows is None else (self.rows[0] + start, self.rows[0] + stop)
        part.offsets = np.asarray(self.offsets[first : last + 1]) - start
        part.episodes, part.steps = last - first, stop - start
        part._arrays = {name: array[start:stop] for name, array in self._arrays.items()}
        return part

    def holding(self, arrays: Mapping[str, Array], offsets: Array) -> DemonstrationStore:
        """Other episodes in memory, as a store of this one's task and features; its digest is still this one's.

        Args:
            arrays: every feature but the private ones, (steps, *shape).
            offsets: (episodes + 1,), from 0 to steps.
        """
        held = copy.copy(self)
        held.offsets, held._arrays, held.private, held.rows = offsets, dict(arrays), {}, None
        held.episodes, held.steps = len(offsets) - 1, int(offsets[-1])
        return held

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(self.episodes))

    def verify(self) -> None:
        """Reads every byte and checks it: digests, offsets, finite values.

        Raises:
            DemonstrationError: the first thing that is wrong. `skilltokens.demos.check` lists all of them.
        """
        for finding in findings(self):
            raise DemonstrationError(finding)

    def __reduce__(self) -> tuple[Any, ...]:
        return DemonstrationStore.open, (self.path,)

    def __repr__(self) -> str:
        return f"DemonstrationStore({str(self.path)!r}: {self.episodes} episodes, {self.steps} steps)"


def write_store(
    path: str | Path,
    episodes: Iterable[Episode],
    *,
    task: Task,
    features: Mapping[str, Feature],
    source: str,
    suite: str,
    versions: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> DemonstrationStore:
    """Writes a store to folder `path` and opens it. An older store there is replaced in one move at the end.

    Episodes are read and written one at a time, so `episodes` may be a generator and need not fit in memory.
    No date or time is stored: equal episodes give a store with equal bytes.

    Args:
        path: the folder, by convention FOLDER/SUITE/TASK.
        episodes: each has all of `features` as arrays (steps, *shape), which are cast to the declared dtype.
        source: who demonstrated: "scripted", "human", ...
        suite: the suite's name, or any name for your own data.
        versions: versions of the simulator, the environments and the experts.
        settings: anything JSON can hold that says how the demonstrations were made, such as noise and seed.

    Raises:
        DemonstrationError: a demonstration breaks a rule (see `rules`), there is none, the disk is full or the
            folder cannot be written. A store that was at `path` is left as it was.
    """
    path = Path(path)
    check_task(str(path), task)
    check_features(str(path), features)
    if os.path.isfile(path) or (os.path.isdir(path) and any(path.iterdir()) and not os.path.isfile(path / HEADER)):
        raise DemonstrationError(f"{path} exists and is no demonstration store: choose another path or remove it")
    with replacing(path, DemonstrationError) as fresh:
        fresh.mkdir()
        offsets, files = _write_arrays(path, fresh, episodes, features)
        header = {
            "schema": SCHEMA,
            "suite": suite,
            "task": dataclasses.asdict(task),
            "source": source,
            "settings": dict(settings or {}),
            "versions": dict(versions or {}),
            "features": {name: dataclasses.asdict(features[name]) for name in features},
            "episodes": len(offsets) - 1,
            "steps": offsets[-1],
            "files": files,
        }
        write_json(fresh / HEADER, sealed(header), DemonstrationError)
    return DemonstrationStore.open(path)


def same_features(stores: Sequence[DemonstrationStore], *, alike: bool = False) -> dict[str, Feature]:
    """The features of `stores`, which must have the same names, shapes and dtypes in all of them.

    Args:
        alike: dtypes may differ where a policy reads both alike (`kinds.alike`); those of the first store are returned.

    Raises:
        DemonstrationError: there is no store, or two differ; the message names both and the feature.
    """
    if not stores:
        raise DemonstrationError("no demonstration store was given: name at least one")
    first = stores[0]
    for other in stores[1:]:
        for name in sorted(first.features.keys() | other.features.keys()):
            one, two = first.features.get(name), other.features.get(name)
            if one != two and not (alike and kinds.alike(one, two)):
                raise DemonstrationError(
                    f"{first.path} and {other.path} differ in feature {name!r} ({kinds.shown(one)} and "
                    f"{kinds.shown(two)}): stores that are learned together need the same features"
                    f"{kinds.remedy(one, two)}"
                )
    return dict(first.features)


def stores_in(folder: str | Path) -> list[DemonstrationStore]:
    """Opens every store in or below `folder`, sorted by path. `folder` may be a store itself.

    Raises:
        DemonstrationError: there is none, or one is damaged.
    """
    folder = Path(folder)
    if os.path.isfile(folder / HEADER) or os.path.isfile(folder):
        return [DemonstrationStore.open(folder)]
    # Hidden folders are stores that a killed process did not finish.
    folders = sorted(
        header.parent
        for header in (folder.rglob(HEADER) if os.path.isdir(folder) else ())
        if not any(part.startswith(".") for part in header.relative_to(folder).parts)
    )
    if not folders:
        raise DemonstrationError(f"{shown(folder)} holds no demonstration store (no {HEADER}): check the path")
    return [DemonstrationStore.open(path) for path in folders]


def _write_arrays(
    path: Path, fresh: Path, episodes: Iterable[Episode], features: Mapping[str, Feature]
) -> tuple[list[int], dict[str, dict[str, Any]]]:
    """Writes the episodes into the folder `fresh`, one at a time; returns the offsets and the header's entries of the
    files. `path` is for messages."""
    offsets = [0]
    files: dict[str, _ArrayFile] = {}
    try:
        for name, feature in features.items():
            files[name] = _ArrayFile(fresh / f"{name}.npy", feature)
        for number, episode in enumerate(episodes):
            arrays = conform(f"{path}: episode {number}", episode, features)
            for name, array in arrays.items():
                files[name].append(array)
            offsets.append(offsets[-1] + len(next(iter(arrays.values()))))
        if len(offsets) == 1:
            raise DemonstrationError(f"{path}: there is no episode to store: give at least one")
        entries = {f"{name}.npy": file.finish(offsets[-1]) for name, file in files.items()}
    finally:
        for file in files.values():
            file.close()
    content = io.BytesIO()
    np.save(content, np.array(offsets, dtype=np.int64), allow_pickle=False)
    (fresh / f"{OFFSETS}.npy").write_bytes(content.getvalue())
    entries[f"{OFFSETS}.npy"] = {
        "bytes": len(content.getvalue()),
        "sha256": hashlib.sha256(content.getvalue()).hexdigest(),
    }
    return offsets, dict(sorted(entries.items()))


class _ArrayFile:
    """A .npy file that grows by rows. Its digest is of what was given to be written, whatever the disk made of it."""

    def __init__(self, path: Path, feature: Feature) -> None:
        self._path, self._feature = path, feature
        self._file = path.open("w+b")
        self._file.write(_npy_header(feature.dtype, (0, *feature.shape)))
        self._start = self._file.tell()
        self._given = hashlib.sha256()

    def append(self, rows: Array) -> None:
        self._file.write(rows.data)
        self._given.update(rows.data)

    def finish(self, steps: int) -> dict[str, Any]:
        """Writes the number of rows; the entry of the header.

        A digest covers the number of rows first, which is known last. So the rows are read once more, and what is read
        must be what was given.
        """
        head = _npy_header(self._feature.dtype, (steps, *self._feature.shape))
        self._file.seek(0)
        self._file.write(head)
        whole, again = hashlib.sha256(head), hashlib.sha256()
        self._file.seek(self._start)
        while piece := self._file.read(_PIECE):
            whole.update(piece)
            again.update(piece)
        if again.digest() != self._given.digest():
            raise DemonstrationError(
                f"{self._path.name} is read otherwise than it was written: check the disk and the memory, and run the "
                "same command again"
            )
        return {"bytes": self._file.tell(), "sha256": whole.hexdigest()}

    def close(self) -> None:
        self._file.close()


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """A .npy header (format 1.0) whose length does not depend on the number of rows, so it can be rewritten."""
    text = repr({"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
    start = 10  # magic, version and length
    room = -(-(start + len(text) - len(str(shape[0])) + 20 + 1) // 64) * 64
    return b"\x93NUMPY\x01\x00" + (room - start).to_bytes(2, "little") + text.ljust(room - start - 1).encode() + b"\n"


def _check_size(file: Path, expected: int) -> None:
    """Before a file is mapped: it is one, and as large as the header says."""
    try:
        status = file.stat()
    except OSError as problem:
        if file.is_symlink():
            with reading(file, DemonstrationError):  # says where to
                pass
        raise DemonstrationError(f"{file} is missing or unreadable: restore it or make the store again") from problem
    size = status.st_size
    if not stat.S_ISREG(status.st_mode):
        with reading(file, DemonstrationError):  # says what it is
            pass
    if size != expected:
        raise DemonstrationError(
            f"{file} is truncated or altered ({size} bytes where {expected} are needed): "
            "restore it or make the store again"
        )


def _mapped(path: Path, name: str, dtype: str, shape: tuple[int, ...]) -> Array:
    """A file's numbers, mapped once what it says of them is what the header says, and all of it is there."""
    file = path / f"{name}.npy"
    with reading(file, DemonstrationError) as content:
        size = os.fstat(content.fileno()).st_size
        try:
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            header = read[np.lib.format.read_magic(content)](content)
        except Exception as problem:  # NumPy parses it as Python text, and fails in as many ways as Python can
            reason = str(problem).split("\n", 1)[0][:160] or type(problem).__name__
            raise DemonstrationError(
                f"{file} cannot be read ({reason}): restore it or make the store again"
            ) from problem
        start = content.tell()
    if header != (shape, False, np.dtype(dtype)) or size - start != math.prod(shape) * np.dtype(dtype).itemsize:
        order = " in columns" if header[1] else ""
        raise DemonstrationError(
            f"{file} holds {str(header[2])[:40]} {shown(header[0])}{order} where the header says {dtype} {shape}: "
            "restore it or make the store again"
        )
    return np.memmap(file, np.dtype(dtype), "r", start, shape)


def check(path: str | Path) -> list[str]:
    """Every fault of the store in folder `path`, one sentence a fault; empty if there is none.

    A store that cannot be opened gives one sentence that says why. For a folder of stores see `stores_in`.
    """
    try:
        return list(findings(DemonstrationStore.open(path)))
    except DemonstrationError as problem:
        return [str(problem)]
