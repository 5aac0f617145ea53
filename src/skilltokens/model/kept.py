"""What frozen trunks make of the pictures of demonstrations, computed once and kept beside them, memory-mapped.

    FOLDER/SUITE/.features/KEY/
      features.npy     (steps, rows, columns, channels) float16: whole, or not there
      features.part    while it is computed: a .npy file whose last pieces are missing
      pieces           the SHA-256 of each piece of it, by which a killed computation goes on

The key is made of the digests of the trunk and of the demonstrations, the camera, the steps and the kind of device, so
every run of every method shares them, and other pictures never have the same. Some pictures are computed again when a
file is opened: what another machine computed with other bits is made anew. Everything here may be removed at any time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from skilltokens.demos.store import DemonstrationStore
from skilltokens.files import read_bytes
from skilltokens.locking import check_free, locked
from skilltokens.model.trunks.trunk import FrozenTrunk
from skilltokens.types import Array, DemonstrationError, Progress, Report, SkilltokensError

FOLDER, WHOLE, PART, PIECES = ".features", "features.npy", "features.part", "pieces"
STAGE = "features"
"""The stage of the progress."""
PIECE = 64
"""Pictures that are computed and written at a time."""
PATIENCE = 2.0
"""Seconds that may pass without a word."""
CHECKED = 3
"""Pictures that are computed again when a file is opened."""
_DIGEST = 32
_seen: set[tuple[Path, int]] = set()
"""What was checked in this process: files and the time of their last change."""


@dataclass(frozen=True)
class Entry:
    """The features of one camera's pictures in one store."""

    trunk: FrozenTrunk
    store: DemonstrationStore
    feature: str
    device: str

    @property
    def rows(self) -> tuple[int, int]:
        """Which of the store's files' steps."""
        assert self.store.rows is not None
        return self.store.rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of all pictures."""
        high, wide, _ = self.store.features[self.feature].shape
        return self.store.steps, *self.trunk.grid(high, wide), self.trunk.channels

    @property
    def nbytes(self) -> int:
        """Of the features."""
        return 2 * int(np.prod(self.shape, dtype=np.int64))

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        kind = torch.device(self.device).type
        said = [self.trunk.digest, self.store.digest, self.feature, list(self.rows), kind]
        return self.store.path.parent / FOLDER / hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    def compute(self, first: int, last: int) -> Array:
        """The features of some of the pictures, each by itself: the bits that acting gives."""
        pictures = torch.from_numpy(np.array(self.store[self.feature][first:last])).to(self.device)
        return torch.cat([self.trunk.compute(picture) for picture in pictures.split(1)]).cpu().numpy()


def kept(entry: Entry, limit: float, needed: Collection[Path], report: Report) -> Array:
    """The features (steps, rows, columns, channels) in float16, memory-mapped; computed first where they are not there.

    Args:
        limit: gigabytes that all kept features beside these demonstrations may take.
        needed: folders of those that are in use, which stay.

    Raises:
        DemonstrationError: they do not fit into the limit or onto the disk, or cannot be written. What was computed so
            far is kept, and the next call goes on from there.
    """
    folder = entry.folder
    features = _opened(entry)
    if features is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise _unwritten(entry, problem) from problem
        with locked(folder, DemonstrationError, wait=float("inf"), report=report):
            features = _opened(entry)  # another process may have computed them meanwhile
            if features is None:
                _make_room(entry, limit, {folder, *needed})
                try:
                    _write(entry, report)
                except OSError as problem:
                    raise _unwritten(entry, problem) from problem
                features = _opened(entry)
    if features is None:
        raise DemonstrationError(f"{folder} is read otherwise than it was written: check the disk and the memory")
    with contextlib.suppress(OSError):
        os.utime(folder)  # used just now
    return features


def _unwritten(entry: Entry, problem: OSError) -> DemonstrationError:
    full = problem.errno == errno.ENOSPC
    advice = f"free {entry.nbytes / 1e9:.1f} GB on that disk" if full else "make that folder one to write to"
    return DemonstrationError(
        f"{entry.folder} could not be written ({problem.strerror or problem}): {advice} and run the same command "
        "again, which goes on from here, or use --train.features-gb 0"
    )


def in_memory(entry: Entry, report: Report) -> Array:
    """The same without a disk."""
    news = _News(entry, report)
    features = np.empty(entry.shape, np.float16)
    for first in range(0, entry.store.steps, PIECE):
        features[first : first + PIECE] = entry.compute(first, min(first + PIECE, entry.store.steps))
        news.tell(first + PIECE)
    return features


# ---------------------------------------------------------------- opening


def _opened(entry: Entry) -> Array | None:
    """What is kept, where it is whole and has the bits that this machine computes; else None."""
    path = entry.folder / WHOLE
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
        changed = os.stat(path).st_mtime_ns
    except (OSError, ValueError, EOFError):  # not there, half written, or no .npy file
        return None
    whole = os.path.getsize(path) == len(_header(entry)) + entry.nbytes
    if not whole or features.shape != entry.shape or features.dtype != np.float16:
        return None
    if (path, changed) not in _seen:
        for row in np.linspace(0, entry.store.steps - 1, CHECKED).round().astype(int):
            if entry.compute(row, row + 1).tobytes() != np.asarray(features[row : row + 1]).tobytes():
                return None
        _seen.add((path, changed))
    return np.asarray(features)


def _header(entry: Entry) -> bytes:
    """A .npy header (format 1.0)."""
    text = repr({"descr": "<f2", "fortran_order": False, "shape": entry.shape})
    length = -(-(10 + len(text) + 1) // 64) * 64
    return b"\x93NUMPY\x01\x00" + (length - 10).to_bytes(2, "little") + text.encode().ljust(length - 11) + b"\n"


# ---------------------------------------------------------------- writing


class _News:
    """Progress, once it takes longer than a moment."""

    def __init__(self, entry: Entry, report: Report) -> None:
        self._total, self._report, self._began = entry.store.steps, report, time.monotonic()
        self._note = f"{entry.store.task.name} {entry.feature.rpartition('.')[2]}"

    def tell(self, done: int) -> None:
        if time.monotonic() - self._began > PATIENCE:
            self._report(Progress(STAGE, min(done, self._total), self._total, self._note))


def _write(entry: Entry, report: Report) -> None:
    """Computes what is missing, piece by piece, and gives the file its name when it is whole."""
    folder, header = entry.folder, _header(entry)
    (folder / WHOLE).unlink(missing_ok=True)
    steps, row = entry.store.steps, entry.nbytes // entry.store.steps
    done = _whole_pieces(entry)
    news = _News(entry, report)
    with (
        (folder / PART).open("r+b" if done else "wb") as part,
        (folder / PIECES).open("r+b" if done else "wb") as pieces,
    ):
        if not done:
            part.write(header)
        part.seek(len(header) + done * PIECE * row)
        part.truncate()
        pieces.seek(done * _DIGEST)
        pieces.truncate()
        for first in range(done * PIECE, steps, PIECE):
            content = entry.compute(first, min(first + PIECE, steps)).tobytes()
            for file, data in ((part, content), (pieces, hashlib.sha256(content).digest())):
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            news.tell(first + PIECE)
    (folder / PART).replace(folder / WHOLE)
    (folder / PIECES).unlink()


def _whole_pieces(entry: Entry) -> int:
    """How many pieces of an interrupted computation are as they were written."""
    header, row = _header(entry), entry.nbytes // entry.store.steps
    try:
        digests = read_bytes(entry.folder / PIECES)
        with (entry.folder / PART).open("rb") as part:
            if part.read(len(header)) != header:
                return 0
            for number in range(min(len(digests) // _DIGEST, entry.store.steps // PIECE)):
                content = part.read(PIECE * row)
                if hashlib.sha256(content).digest() != digests[number * _DIGEST : (number + 1) * _DIGEST]:
                    return number
            return min(len(digests) // _DIGEST, entry.store.steps // PIECE)
    except (OSError, SkilltokensError):
        return 0


def _make_room(entry: Entry, limit: float, stay: Collection[Path]) -> None:
    """Removes what was not used for longest, until the features fit into the limit.

    Raises:
        DemonstrationError: they do not, or the disk is too full.
    """
    above = entry.folder.parent
    sizes = {path: _size(path) for path in above.iterdir() if path.is_dir() and path != entry.folder}
    others = sorted((path for path in sizes if path not in stay), key=lambda path: path.stat().st_mtime)
    total = sum(sizes.values()) + entry.nbytes
    while total > limit * 1e9 and others:
        oldest = others.pop(0)
        with contextlib.suppress(SkilltokensError):  # one that another process computes stays
            check_free(oldest)
            shutil.rmtree(oldest, ignore_errors=True)
            total -= sizes[oldest]
    if total > limit * 1e9:
        raise DemonstrationError(
            f"what the trunk {entry.trunk.name!r} makes of these pictures takes {total / 1e9:.1f} GB in {above}, more "
            f"than train.features-gb {limit:g}: raise it"
        )
    missing = entry.nbytes - _size(entry.folder)
    free = shutil.disk_usage(above).free
    if missing > free:
        raise DemonstrationError(
            f"what the trunk {entry.trunk.name!r} makes of {entry.store.path} takes {missing / 1e9:.1f} GB, and the "
            f"disk has {free / 1e9:.1f} GB left: free some space, or use --train.features-gb 0"
        )


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        total = sum(file.stat().st_size for file in os.scandir(folder))
    return total
