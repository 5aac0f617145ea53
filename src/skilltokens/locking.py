"""One writer at a time: a lock on a folder, which a process that is killed does not hold.

FOLDER/.lock      held by the writer; it stays there when nobody writes
FOLDER/.writer    who holds it, for those who wait

A folder in which nothing but these two was made goes with the lock, so that a refused command leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from skilltokens.files import held, read_bytes
from skilltokens.types import Progress, Report, SkilltokensError, silent

WAITING = "waiting for another writer"
"""The stage that is reported while somebody else writes; the note says who."""
LOCKS = (".lock", ".writer")
"""The files that a lock leaves in its folder."""


@contextlib.contextmanager
def locked(
    folder: Path,
    error: type[SkilltokensError] = SkilltokensError,
    *,
    wait: float = 0.0,
    advice: str = "wait until it is done",
    report: Report = silent,
) -> Iterator[None]:
    """Holds the lock of a folder, which is made if it is missing.

    Args:
        folder: what to lock. Readers need no lock.
        error: what to raise.
        wait: seconds to wait for another writer.
        advice: what the error says to do.
        report: told who writes, while this process waits.

    Raises:
        error: another process writes there still, or the folder cannot be written.
    """
    folder = Path(folder)
    lock = FileLock(folder.absolute() / LOCKS[0], is_singleton=True)  # who holds it already may take it again
    deadline = time.monotonic() + wait
    try:
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _own_lock(folder)
                lock.acquire(timeout=0)
                break
            except Timeout:
                if time.monotonic() >= deadline:
                    raise error(f"{folder} is being written by {writer(folder)}: {advice}") from None
                report(Progress(WAITING, 0, 1, f"{folder}: {writer(folder)}"))
                time.sleep(min(0.05 if wait < 5 else 0.2, wait))
        with contextlib.suppress(FileNotFoundError):
            (folder / LOCKS[1]).unlink()  # whatever stands there: a pipe would be waited for, a link written through
        (folder / LOCKS[1]).write_text(json.dumps(_self()))
    except OSError as problem:
        raise error(f"{folder} cannot be locked ({problem.strerror or problem}): check the folder") from problem
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with contextlib.suppress(OSError):
                (folder / LOCKS[1]).unlink()
                if [path.name for path in folder.iterdir()] == [LOCKS[0]]:
                    (folder / LOCKS[0]).unlink()
                    folder.rmdir()  # fails where another process has come to work there
        lock.release()


def _own_lock(folder: Path) -> None:
    """Removes a lock that is a link to another file, as in a download's cache: no writer holds it, nor ever could."""
    path = folder / LOCKS[0]
    if path.is_symlink():
        with held(folder, wait=True):  # so that nobody removes what another process has put in its place by now
            if path.is_symlink():
                path.unlink()


def check_free(
    folder: Path, error: type[SkilltokensError] = SkilltokensError, *, advice: str = "wait until it is done"
) -> None:
    """Raises `error` where another process writes in a folder now, before anything is prepared for nothing."""
    lock = FileLock(Path(folder) / LOCKS[0])
    if not os.path.exists(Path(folder) / LOCKS[0]):
        return
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        raise error(f"{folder} is being written by {writer(folder)}: {advice}") from None
    except OSError:
        return  # a folder that can only be read: nobody writes there


def writer(folder: Path) -> str:
    """Who writes in a folder, in words."""
    try:
        who = json.loads(read_bytes(folder / LOCKS[1])[:2000])
        place = f"process {int(who['process'])} on {who['host']!s:.100}"
        return f"{place} since {who['since']!s:.40} ({who['command']!r:.200})"
    except (SkilltokensError, ValueError, LookupError, TypeError, RecursionError):
        return "another process"


def _self() -> dict[str, str | int]:
    """This process, as those who wait read of it."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "python"
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since, "command": command[:500]}
