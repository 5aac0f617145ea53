"""A process that ends with its parent, however the parent ends and whatever the process is doing then.

The lifeline is a pipe that only the parent writes to, and never does: it closes when the parent dies, be it by SIGKILL.
On Linux the kernel itself watches it (F_SETSIG, fcntl(2)) and kills the process with what it has started, at once, even
where compiled code holds Python's lock, so that no thread could. Elsewhere a thread watches it.

(PR_SET_PDEATHSIG would end the process alone, without its own children; it is bound to the parent's thread, which may
end long before; and the parent of a forkserver's processes is the forkserver.)
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import select
import signal
import sys
import threading
from multiprocessing import connection


def end_with_parent() -> None:
    """Makes a process that multiprocessing has started end with its parent; see `end_with`."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_with(parent.sentinel)


def end_with(lifeline: int) -> None:
    """Makes this process the head of a group of its own, which is killed when the lifeline closes.

    The group has all that this process starts from now on, but for what leaves it by itself (a new session).

    Args:
        lifeline: the reading end of the pipe; it stays open.
    """
    with contextlib.suppress(PermissionError):  # it heads a session, and so a group, already
        os.setpgid(0, 0)
    if not _watched_by_kernel(lifeline):
        threading.Thread(target=_watch, args=(lifeline,), name="parent-watch", daemon=True).start()
    elif _closed(lifeline):  # before the kernel watched it
        _end()


def _watched_by_kernel(lifeline: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        return False
    return True


def _closed(lifeline: int) -> bool:
    poll = select.poll()
    poll.register(lifeline, 0)  # a hang-up is told whether it is asked for or not
    return bool(poll.poll(0))


def _watch(lifeline: int) -> None:
    connection.wait([lifeline])
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
