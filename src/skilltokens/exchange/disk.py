"""A file for HDF5 to write to, which reports a failed write later, where HDF5 cannot crash on it."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType


class DeferredErrorFile:
    """A new file at `path`, in the form of a Python file object that h5py can write through.

    HDF5 (seen in 1.14 and 2.0) brings the process down with a segmentation fault if writing fails while a file is
    being closed, for instance on a full disk. So a failed write is kept and answered as if it had worked, and
    `raise_error` raises it where that is safe.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "w+")
        self._position = 0
        self._end = 0
        self._error: OSError | None = None

    def raise_error(self) -> None:
        """
        Raises:
            OSError: the first write that failed, if one did.
        """
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, content: bytes | memoryview) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        if self._error is None:
            try:
                self._file.seek(self._position)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as problem:
                self._error = problem
        self._position += size
        self._end = max(self._end, self._position)
        return size

    def readinto(self, buffer: bytearray | memoryview) -> int:
        self._file.seek(self._position)
        count = self._file.readinto(buffer) or 0
        self._position += count
        return count

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def truncate(self, size: int | None = None) -> int:
        self._end = self._position if size is None else size
        if self._error is None:
            try:
                self._file.truncate(self._end)
            except OSError as problem:
                self._error = problem
        return self._end

    def flush(self) -> None:
        """Nothing is held back: every write goes to the system at once."""

    def __enter__(self) -> DeferredErrorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
