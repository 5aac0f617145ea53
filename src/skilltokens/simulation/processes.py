"""Worker processes: how one is started, talked to, found dead or hanging and ended, and a pool that lends them out.

A worker process runs one function of this project with a line to its parent. It gets requests and sends replies, or
news in between; an error of ours that it sends is raised in the parent. It ends when the parent closes the line or ends
in any way (lifeline.py). What is asked and answered is its users' business.
"""

from __future__ import annotations

import contextlib
import enum
import math
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker
from pickle import PicklingError
from typing import Any, Generic, Protocol, Self, TypeVar

from skilltokens.simulation.lifeline import end_with_parent
from skilltokens.types import SkilltokensError, Suite, SuiteError

ATTEMPTS = 2
"""Work whose process died or hung is begun once more, then reported."""
PATIENCE = 5.0
"""Seconds that a process gets to end by itself before it is killed."""
GRACE = 1.0
"""Seconds that a late reply is waited for once more: a whole machine or job may have been stopped for a while."""
START = 120.0
"""Seconds that a process gets to start and to import what it needs, which no limit of a simulator is meant for."""
DAY = 86400.0
"""Seconds that are waited for at a stretch: the system takes no more than a month."""
BEAT = 0.2
"""Seconds between two signs of life that a process sends, at least."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(Exception):
    """A worker process ended without a reply. The message says how."""


class WorkerHung(WorkerDied):
    """A worker process gave no sign of life for so long that no reply is expected any more. The message says how long.

    It may still run: who catches this ends it.
    """


class _News(enum.Enum):
    """What a worker process sends that is no reply."""

    ALIVE = enum.auto()


class ParentGone(Exception):
    """The parent process has ended, or wants no more of this one."""


class Line:
    """A worker process's end of the line to its parent."""

    def __init__(self, ours: connection.Connection):
        self._connection = ours
        self._sent = time.monotonic()

    def receive(self) -> Any:
        """The next request. Raises ParentGone where none will come."""
        try:
            return self._connection.recv()
        except (EOFError, OSError) as problem:
            raise ParentGone from problem

    def send(self, reply: object) -> None:
        """Sends anything picklable; a SkilltokensError is raised in the parent. Raises ParentGone."""
        self._sent = time.monotonic()
        try:
            self._connection.send(reply)
        except OSError as problem:
            raise ParentGone from problem

    def sign(self) -> None:
        """Says that the work goes on, unless something was sent just now. Raises ParentGone."""
        if time.monotonic() - self._sent >= BEAT:
            self.send(_News.ALIVE)


class WorkerProcess:
    """A new process that runs work(line, suite, *arguments): with one thread for numerical libraries, deaf to Ctrl-C.

    Args:
        name: of the process, as the system shows it.
        work: a function at the top of a module. ParentGone may leave it.

    Raises:
        SuiteError: the suite cannot be sent to another process, or no process could be started.
    """

    def __init__(self, name: str, work: Callable[..., None], suite: Suite, *arguments: object):
        context = multiprocessing.get_context("spawn")
        self._begun = self._has_answered = self._ended = False
        self._replies: deque[Any] = deque()
        self._limit, self._until = 0.0, math.inf
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, work, suite, *arguments), name=name, daemon=True)
        try:
            with _conditions():
                self._process.start()
        except (PicklingError, TypeError, AttributeError) as problem:
            self._connection.close()
            raise SuiteError(
                f"suite {suite.name!r} cannot be sent to worker processes ({problem}): "
                "define its classes at the top of a module, or use 0 workers"
            ) from problem
        except OSError as problem:
            self._connection.close()
            raise SuiteError(f"a worker process could not be started ({problem}): use fewer workers") from problem
        finally:
            theirs.close()

    def send(self, request: object, limit: float = 0.0) -> None:
        """Sends a request. Raises WorkerDied.

        Args:
            limit: seconds without a sign of life until `receive` gives up; 0: never.
        """
        self._limit = limit
        self._live()
        try:
            self._connection.send(request)
        except OSError as problem:
            raise WorkerDied(self._how()) from problem

    def receive(self) -> Any:
        """The next reply; waits for it.

        Raises:
            WorkerDied: there is none and the process has ended, or (WorkerHung) seems to hang.
            SkilltokensError: the process sent this error.
        """
        while not self.answered():
            late = not connection.wait(self.waits_on(), self.left()) and self.left() == 0
            if late and not connection.wait(self.waits_on(), GRACE):
                raise WorkerHung(f"no sign of life for {self._limit:g} s")
        if not self._replies:
            raise WorkerDied(self._how())
        self._has_answered = True
        reply = self._replies.popleft()
        if isinstance(reply, SkilltokensError):
            raise reply
        return reply

    def answered(self) -> bool:
        """Whether `receive` has something to say at once: a reply, or that none will come."""
        try:
            while self._connection.poll():
                news = self._connection.recv()
                self._begun = True
                self._live()
                if news is not _News.ALIVE:
                    self._replies.append(news)
        except (EOFError, OSError):
            return True
        # It may have ended while a child of its own keeps the line open.
        return bool(self._replies) or bool(connection.wait([self._process.sentinel], 0))

    def left(self) -> float | None:
        """Seconds until no reply is expected any more, or a day, if that is sooner; None: for ever."""
        return None if math.isinf(self._until) else min(max(0.0, self._until - time.monotonic()), DAY)

    def waits_on(self) -> list[Any]:
        """What becomes ready when a reply is there or the process has ended."""
        return [self._connection, self._process.sentinel]

    def hang_up(self) -> None:
        """Closes the line, upon which the process ends when it next uses it."""
        self._connection.close()

    def close(self, kill: bool = False) -> int | None:
        """Ends the process and what it has started, at once or when its patience is at an end; returns its exit code.

        A process that hangs in the kernel (a dead disk or driver) cannot be ended: it is left, and None is returned.
        """
        self.hang_up()
        if not kill:
            connection.wait([self._process.sentinel], PATIENCE)
        code = self._end()
        if code is not None:
            self._process.close()
        return code

    def _live(self) -> None:
        self._until = time.monotonic() + (self._limit + (BEAT if self._begun else START) if self._limit else math.inf)

    def _end(self) -> int | None:
        """Kills what still runs, and takes in the exit code."""
        if not self._ended:  # once only: the number of a process that was waited for may be another's next
            self._ended = True
            assert self._process.pid, "a group without a number would be this process's own"
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has not come to head a group yet
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.join(PATIENCE)
        return self._process.exitcode

    def _how(self) -> str:
        if not connection.wait([self._process.sentinel], PATIENCE):
            return "it closed its line but is still running"
        code = self._end() or 0
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"exit code {code}, {signal.Signals(-code).name}"
        if not self._has_answered:
            return f"exit code {code}, before its first answer (does the script lack `if __name__ == '__main__':`?)"
        return f"exit code {code}"


class Lendable(Protocol):
    """What a pool lends out: a process, or something in this one that stands for it."""

    def answered(self) -> bool: ...

    def left(self) -> float | None: ...

    def waits_on(self) -> list[Any]: ...

    def hang_up(self) -> None: ...

    def close(self, kill: bool = False) -> int | None: ...


Worker = TypeVar("Worker", bound=Lendable)


class WorkerPool(Generic[Worker]):
    """Up to `size` workers, started when first needed and kept. As a context manager it ends them all."""

    def __init__(self, start: Callable[[], Worker], size: int):
        self._start, self._size = start, size
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def take(self) -> Worker | None:
        """An idle worker, started if need be; None when all are at work."""
        if not self._idle and len(self._all) < self._size:
            worker = self._start()
            self._all.append(worker)
            self._idle.append(worker)
        return self._idle.pop() if self._idle else None

    def give(self, worker: Worker) -> None:
        """Hands an idle worker back."""
        self._idle.append(worker)

    def discard(self, worker: Worker) -> int | None:
        """Ends a worker that died, or whose answer nobody waits for any more; returns its exit code."""
        self._all.remove(worker)
        return worker.close(kill=True)

    def close(self) -> None:
        """Ends all workers; their time to end by themselves runs at once for all."""
        self._idle.clear()
        for worker in self._all:
            worker.hang_up()
        while self._all:
            self._all.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ready(workers: Sequence[Worker]) -> list[Worker]:
    """Those of the workers, at least one, that `receive` returns or raises at once for: it waits for a reply, an end,
    or the end of a limit."""
    lines = {line: worker for worker in workers for line in worker.waits_on()}
    if not lines:
        return list(workers)
    workers_ready = [worker for worker in workers if worker.answered()]  # several replies may have come at once
    while not workers_ready:
        times = [left for worker in workers if (left := worker.left()) is not None]
        if not connection.wait(list(lines), min(times, default=None)):
            connection.wait(list(lines), GRACE)
        workers_ready = [worker for worker in workers if worker.answered() or worker.left() == 0]
    return workers_ready


@contextlib.contextmanager
def _conditions() -> Iterator[None]:
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


def _run(ours: connection.Connection, work: Callable[..., None], *arguments: object) -> None:
    """The worker process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the line
    end_with_parent()
    line = Line(ours)
    with contextlib.suppress(ParentGone):
        line.send(_News.ALIVE)
        work(line, *arguments)
