"""Loaded by every Python process that finds this folder on its path: counts file operations, and dies at a chosen one.

Three variables of the environment say what to watch (`watch`); without them nothing happens.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from typing import Any

PLACES = {
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
}
"""Audit event of an operation that changes a disk -> where in its arguments is a path, and what it is relative to."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(folder: str, log: str, at: int) -> None:
    """Watches this process from here on.

    Args:
        folder: operations in or below it count: files opened for writing, renamed or removed, folders made or removed.
        log: a file that gets a line an operation, of all processes that are watched with it.
        at: the process is killed (SIGKILL) just before this operation, and every other one at its next; 0: none is.
    """
    folder, busy = os.path.realpath(folder), False

    def within(path: Any, relative_to: Any) -> bool:
        if isinstance(path, int):
            return False
        path = os.fsdecode(path)
        if isinstance(relative_to, int) and relative_to >= 0 and not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/self/fd/{relative_to}"), path)
        parent = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        path = os.path.join(parent, os.path.basename(path))
        return path == folder or path.startswith(folder + os.sep)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy:
            return
        places = PLACES.get(event, ())
        if event == "open" and (arguments[2] or 0) & WRITES:
            places = ((0, None),)
        if not places:
            return
        busy = True
        try:
            paths = [(arguments[i], None if j is None else arguments[j]) for i, j in places]
            if any(within(*path) for path in paths) and _changes(event, paths[0][0]):
                _note(log, f"{event} {' -> '.join(str(path) for path, _ in paths)}", at)
        finally:
            busy = False

    sys.addaudithook(hook)


def _changes(event: str, path: Any) -> bool:
    """Whether an operation does anything: no folder is made twice, and what is not there is not removed."""
    there = isinstance(path, int) or os.path.lexists(path) or not os.path.isabs(path)
    return not there if event == "os.mkdir" else there or event not in ("os.remove", "os.rmdir")


def _note(log: str, line: str, at: int) -> None:
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the operations of all processes have one order
        before = os.pread(descriptor, os.fstat(descriptor).st_size, 0).count(b"\n")
        os.write(descriptor, line.replace("\n", " ").encode() + b"\n")
        if 0 < at <= before + 1:
            os.kill(os.getpid(), signal.SIGKILL)
    finally:
        os.close(descriptor)


if "KILLED_FOLDER" in os.environ:
    watch(os.environ["KILLED_FOLDER"], os.environ["KILLED_LOG"], int(os.environ["KILLED_AT"]))
