"""A file for HDF5 to write to that never fails while HDF5 looks, and says afterwards that it did."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType


class QuietDisk:
    """A new file at `path`, in the form of a Python file object that h5py can write through.

    HDF5 (seen in 1.14 and 2.0) brings the process down with a segmentation fault if writing fails while a file is
    being closed, for instance on a full disk. So a failed write is remembered and answered as if it had worked,
    and `check` raises it where it is safe to do so.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "w+")
        self._place = 0
        self._end = 0
        self._problem: OSError | None = None

    def check(self) -> None:
        """
        Raises:
            OSError: the first failure of the disk, if there was one.
        """
        if self._problem is not None:
            raise self._problem

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, content: bytes | memoryview) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        if self._problem is None:
            try:
                self._file.seek(self._place)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as problem:
                self._problem = problem
        self._place += size
        self._end = max(self._end, self._place)
        return size

    def readinto(self, buffer: bytearray | memoryview) -> int:
        self._file.seek(self._place)
        count = self._file.readinto(buffer) or 0
        self._place += count
        return count

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def truncate(self, size: int | None = None) -> int:
        self._end = self._place if size is None else size
        if self._problem is None:
            try:
                self._file.truncate(self._end)
            except OSError as problem:
                self._problem = problem
        return self._end

    def flush(self) -> None:
        """Nothing is held back: every write goes to the system at once."""

    def __enter__(self) -> QuietDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
