"""SHA-256 of a base's large files, remembered beside a library: that of some gigabytes takes tens of seconds.

What is remembered counts only for a file of the same place, size, inode and times of change, to the nanosecond. A file
that changed just before it was read is not remembered, since a further change may have the same time. Nothing is
trusted by it alone: the numbers of a base are compared once it is loaded, and `verify` reads every file again.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from skilltokens.files import check_seal, digest, read_json, sealed, write_json
from skilltokens.types import LibraryError, SkilltokensError

NAME = ".digests.json"
"""The file in a library's folder."""
SCHEMA = "skilltokens.digests/1"
LEAST = 1 << 24
"""Bytes of a file from which on its digest is remembered: 16 MiB take some 20 ms."""
SETTLED = 5.0
"""Seconds for which a file must have been left alone."""


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as it was when it was read, and its digest."""

    size: int
    inode: int
    device: int
    changed: int
    """Nanoseconds: of the content, as the file system says."""
    altered: int
    """Nanoseconds: of the content or the file's own entry, which no program sets."""
    sha256: str


class Digests:
    """Digests of files, those of large ones remembered in a folder.

    Args:
        folder: where they are remembered; None: nowhere, and every file is read.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / NAME
        self._known = {} if self.path is None else _read(self.path)

    def of(self, file: Path) -> str:
        """SHA-256 of a file. Raises LibraryError where it cannot be read."""
        key = str(file.resolve())
        before = _state(file)
        known = self._known.get(key)
        if known is not None and before is not None and known == msgspec.structs.replace(before, sha256=known.sha256):
            return known.sha256
        sha256, now = digest(file, LibraryError), time.time_ns()
        if self.path is None or before is None or before.size < LEAST or _state(file) != before:
            return sha256
        if now - max(before.changed, before.altered) > SETTLED * 1e9:
            self._known[key] = msgspec.structs.replace(before, sha256=sha256)
            content = {"schema": SCHEMA, "files": msgspec.to_builtins(self._known)}
            with contextlib.suppress(SkilltokensError):  # a library may be read-only: the file is read each time
                write_json(self.path, sealed(content), LibraryError)
        return sha256


def _state(file: Path) -> Remembered | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return Remembered(state.st_size, state.st_ino, state.st_dev, state.st_mtime_ns, state.st_ctime_ns, "")


def _read(path: Path) -> dict[str, Remembered]:
    """What is remembered; nothing where the file is not there or damaged."""
    try:
        content = read_json(path, (SCHEMA,), LibraryError)
        check_seal(content, path, LibraryError)
        return msgspec.convert(content["files"], dict[str, Remembered])
    except (SkilltokensError, msgspec.ValidationError, LookupError):
        return {}
