"""Signs of life: code that steps a simulator says that it goes on, and whoever waits for it listens.

A limit is a time without any sign. So it holds for one step of one episode, however many a request asks for.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from skilltokens.simulation.memory import STAGE
from skilltokens.types import Progress, Report, silent

RESET = 5
"""A reset may take so many limits of a step: it may load a scene first, and the first one a whole simulator."""


def _nobody() -> None: ...


_listener: ContextVar[Callable[[], None]] = ContextVar("listener", default=_nobody)


def sign() -> None:
    """Says that the work goes on: one more step or episode is done."""
    _listener.get()()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Calls `listener` at every sign that the block gives."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@dataclass
class _Work:
    seconds: float
    late: Callable[[int], None]
    signs: int = 0
    latest: float = field(default_factory=time.monotonic)

    def sign(self) -> None:
        self.signs += 1
        self.latest = time.monotonic()


class Watch:
    """A thread that acts once where work in this process's main thread gives no sign for too long.

    It cannot interrupt the work. And where compiled code hangs that holds Python's lock, no thread runs.
    """

    def __init__(self) -> None:
        self._work: _Work | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @contextmanager
    def over(self, seconds: float, late: Callable[[int], None]) -> Iterator[None]:
        """Watches the block: calls late(signs so far) if it gives none for so many seconds; 0: for ever."""
        if not seconds:
            yield
            return
        self._work = work = _Work(seconds, late)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="simulator-watch", daemon=True)
            self._thread.start()
        try:
            with heard_by(work.sign):
                yield
        finally:
            self._work = None

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()

    def _look(self) -> None:
        reported: _Work | None = None
        while not self._closing.wait(0.2):
            work = self._work
            if work is not None and work is not reported and time.monotonic() - work.latest > work.seconds:
                reported = work
                work.late(work.signs)


def tell(report: Report, sentence: str) -> None:
    """Sends news that is never left out; where nobody listens, it is printed on standard error."""
    if report is silent:
        print(f"skilltokens: {sentence}", file=sys.stderr, flush=True)
    else:
        report(Progress(STAGE, 0, 1, sentence))
