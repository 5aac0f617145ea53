"""What a child process must find before its first import, and when it must go."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def child_conditions() -> Iterator[None]:
    """A process started within gets one thread for its numerical libraries, and no Ctrl-C.

    Both are inherited, so they are set here for an instant. A Ctrl-C in that instant reaches this process
    afterwards.
    """
    resource_tracker.ensure_running()  # or starting it later would let Ctrl-C through again
    before = {name: os.environ.get(name) for name in _THREADS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def leave_with_parent(patience: float) -> None:
    """Ends this process `patience` seconds after its parent has ended, whatever it is doing then.

    A closed line tells a child the same, but only when it next uses it: an expert that fails and fails has nothing to
    send for minutes. The patience is for a child that tidies up by itself.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            time.sleep(patience)
            os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
