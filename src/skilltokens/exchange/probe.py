"""Whether HDF5's library withstands a file: all of it is read once by a process of its own, which may crash or hang.

    python -m skilltokens.exchange.probe FILE

The library follows whatever addresses a damaged file holds: it has ended the process that called it, and gone in
circles for ever, where nothing can interrupt it. What it only complains of is said better by the import itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from pathlib import Path

from skilltokens.types import DemonstrationError

CPU, SPEED = 2, 50_000_000
"""Seconds of work that a file may take at least, and bytes of it a second."""
WAIT = 20.0
"""How many times longer it may take on a busy machine."""
PIECE = 1 << 24  # bytes read at a time


def withstood(path: Path) -> None:
    """
    Raises:
        DemonstrationError: HDF5's library crashes on the file, does not come to an end, or takes all memory.
    """
    status = os.stat(path)
    fault = _fault(str(path), status.st_size, status.st_mtime_ns, status.st_ino)
    if fault:
        raise DemonstrationError(f"{path} is damaged (HDF5's library {fault}): get the file again")


@functools.lru_cache(maxsize=64)
def _fault(path: str, size: int, *_: int) -> str:
    """What went wrong with a file as it is now; empty where nothing did."""
    seconds = CPU + size // SPEED
    words = [sys.executable, "-m", "skilltokens.exchange.probe", path, str(seconds), str(size)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=WAIT * seconds)
    except subprocess.TimeoutExpired:
        return "does not come to an end on it"
    except OSError:  # no process can be started here: as it was before there were probes
        return ""
    if done.returncode == -24:  # SIGXCPU
        return "does not come to an end on it"
    return "crashes on it" if done.returncode < 0 else "takes too much memory" if done.returncode == 3 else ""


def main(path: str, seconds: int, size: int) -> int:
    """Reads all that lies in the file itself; 3 where that takes too much memory."""
    import h5py

    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds + 1, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (2**32 + 4 * size, 2**32 + 4 * size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with h5py.File(path, "r") as file:
            _read(file)
            file.visititems(lambda _, entry: _read(entry))
    except MemoryError:
        return 3
    except Exception:
        return 0  # the import meets it too, and says where
    return 0


def _read(entry: object) -> None:
    """Everything in one group or array that an import may read."""
    import h5py

    if not isinstance(entry, h5py.Group | h5py.Dataset):
        return
    with contextlib.suppress(Exception):
        for name in entry.attrs:
            entry.attrs.get(name)
    if isinstance(entry, h5py.Dataset) and entry.ndim and not entry.is_virtual and not entry.external:
        rows = max(1, PIECE * len(entry) // max(1, entry.nbytes))
        with contextlib.suppress(OSError, ValueError, RuntimeError, KeyError):
            for start in range(0, len(entry), rows):
                entry[start : start + rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
