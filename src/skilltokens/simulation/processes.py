"""Worker processes: how one is started, talked to, found dead and ended, and a pool that lends them out.

A worker process runs one function of this project with a line to its parent. It gets requests and sends replies, or
news in between; an error of ours that it sends is raised in the parent. It ends when the parent closes the line or ends
in any way. What is asked and answered is its users' business.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker
from pickle import PicklingError
from typing import Any, Generic, Protocol, Self, TypeVar

from skilltokens.types import SkilltokensError, Suite, SuiteError

ATTEMPTS = 2
"""Work whose process died is begun once more, then reported."""
PATIENCE = 5.0
"""Seconds that a process gets to end by itself before it is killed."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(Exception):
    """A worker process ended without a reply. The message says how."""


class ParentGone(Exception):
    """The parent process has ended, or wants no more of this one."""


class Line:
    """A worker process's end of the line to its parent."""

    def __init__(self, ours: connection.Connection):
        self._connection = ours

    def receive(self) -> Any:
        """The next request. Raises ParentGone where none will come."""
        try:
            return self._connection.recv()
        except (EOFError, OSError) as problem:
            raise ParentGone from problem

    def send(self, reply: object) -> None:
        """Sends anything picklable; a SkilltokensError is raised in the parent. Raises ParentGone."""
        try:
            self._connection.send(reply)
        except OSError as problem:
            raise ParentGone from problem


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
        self._answered = False
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

    def send(self, request: object) -> None:
        """Sends a request. Raises WorkerDied."""
        try:
            self._connection.send(request)
        except OSError as problem:
            raise WorkerDied(self._how()) from problem

    def receive(self) -> Any:
        """The next reply; waits for it.

        Raises:
            WorkerDied: there is none and the process has ended.
            SkilltokensError: the process sent this error.
        """
        try:
            if not self._connection.poll() and not self._process.is_alive():
                raise EOFError  # it ended, but a child of its own keeps the line open
            reply = self._connection.recv()
        except (EOFError, OSError) as problem:
            raise WorkerDied(self._how()) from problem
        self._answered = True
        if isinstance(reply, SkilltokensError):
            raise reply
        return reply

    def waits_on(self) -> list[Any]:
        """What becomes ready when a reply is there or the process has ended."""
        return [self._connection, self._process.sentinel]

    def hang_up(self) -> None:
        """Closes the line, upon which the process ends when it next uses it."""
        self._connection.close()

    def close(self, kill: bool = False) -> int | None:
        """Ends the process, at once or when its patience is at an end, and waits for that; returns its exit code."""
        self.hang_up()
        if kill:
            self._process.kill()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode
        self._process.close()
        return code

    def _how(self) -> str:
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if code is None:
            return "it closed its line but is still running"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"exit code {code}, {signal.Signals(-code).name}"
        if not self._answered:
            return f"exit code {code}, before its first answer (does the script lack `if __name__ == '__main__':`?)"
        return f"exit code {code}"


class Lendable(Protocol):
    """What a pool lends out: a process, or something in this one that stands for it."""

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
    """Those of the workers, at least one, whose reply or end has come; waits for it."""
    lines = {line: worker for worker in workers for line in worker.waits_on()}
    if not lines:
        return list(workers)
    return list(dict.fromkeys(lines[line] for line in connection.wait(list(lines))))


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
    _leave_with_parent()
    with contextlib.suppress(ParentGone):
        work(Line(ours), *arguments)


def _leave_with_parent() -> None:
    """Ends this process soon after its parent has ended, whatever it is doing then.

    A closed line tells a process the same, but only when it next uses it: an expert that fails and fails has nothing to
    send for minutes. The patience is for a process that tidies up by itself.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            time.sleep(PATIENCE)
            os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
