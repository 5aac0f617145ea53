"""The processes that simulators live in.

A `Simulators` lives in this process (`Here`) or in a worker process (`There`); both take the same requests and give
the same replies, so the rollout loop does not know the difference and results cannot depend on it. A `Pool`
lends them out. A worker gets one request, then gives its reply, so neither side can wait for the other for ever.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pickle import PicklingError
from typing import Any

from skilltokens.simulation.children import child_conditions
from skilltokens.simulation.memory import fitting
from skilltokens.simulation.simulators import Reply, Reset, Simulators, Step
from skilltokens.types import Report, SettingError, SkilltokensError, Suite, SuiteError, silent

PATIENCE = 5.0
"""Seconds that a worker process gets to end by itself before it is killed."""


@dataclass(frozen=True)
class Failure:
    """The simulator raised: the sentence for the user."""

    message: str


class WorkerDied(Exception):
    """A worker process ended without a reply. The message says how."""


class Here:
    """Simulators in this process; a request is carried out when it is sent."""

    def __init__(self, simulators: Simulators):
        self._simulators = simulators
        self._reply: Reply | None = None

    def send(self, request: Reset | Step) -> None:
        self._reply = self._simulators.answer(request)

    def receive(self) -> Reply:
        assert self._reply is not None, "no request was sent"
        reply, self._reply = self._reply, None
        return reply

    def waits_on(self) -> list[Any]:
        return []

    def hang_up(self) -> None:
        pass

    def close(self, kill: bool = False) -> None:
        # After an error a simulator may be too broken to close; the error itself must reach the user.
        with contextlib.suppress(Exception) if kill else contextlib.nullcontext():
            self._simulators.close()


class There:
    """Simulators in a process of their own, which ends with this one, however this one ends."""

    def __init__(self, suite: Suite):
        context = multiprocessing.get_context("spawn")
        self._answered = False
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, suite), name="skilltokens-simulators", daemon=True)
        try:
            with child_conditions():
                self._process.start()
        except (PicklingError, TypeError, AttributeError) as problem:
            raise SuiteError(
                f"suite {suite.name!r} cannot be sent to worker processes ({problem}): "
                "define its classes at the top of a module, or use 0 workers"
            ) from problem
        except OSError as problem:
            raise SuiteError(f"a worker process could not be started ({problem}): use fewer workers") from problem
        finally:
            theirs.close()

    def send(self, request: Reset | Step) -> None:
        try:
            self._connection.send(request)
        except OSError as problem:
            raise WorkerDied(self._how()) from problem

    def receive(self) -> Reply:
        try:
            if not self._connection.poll() and not self._process.is_alive():
                raise EOFError  # it ended, but a child of its own keeps the line open
            reply = self._connection.recv()
        except (EOFError, OSError) as problem:
            raise WorkerDied(self._how()) from problem
        self._answered = True
        if isinstance(reply, Failure):
            raise SuiteError(reply.message)
        return reply

    def waits_on(self) -> list[Any]:
        """What becomes ready when a reply is there or the process has ended."""
        return [self._connection, self._process.sentinel]

    def hang_up(self) -> None:
        """Closes the line, upon which an idle process ends."""
        self._connection.close()

    def close(self, kill: bool = False) -> None:
        """Ends the process and waits for its end."""
        self.hang_up()
        if kill:
            self._process.kill()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _how(self) -> str:
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if code is None:
            return "it closed its line but goes on"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"exit code {code}, {signal.Signals(-code).name}"
        if not self._answered:
            return f"exit code {code}, before its first answer (does the script lack `if __name__ == '__main__':`?)"
        return f"exit code {code}"


Worker = Here | There


class Pool:
    """Up to `workers` simulator processes of one suite, started when first needed; 0: simulators in this process.

    Use it as a context manager around several calls of `evaluate`, so that processes and environments are kept.
    Results do not depend on the number of workers. Where memory is too small for them fewer are used, and `report`
    is told so.

    Raises:
        SettingError: `workers` is negative.
    """

    def __init__(self, suite: Suite, workers: int = 0, report: Report = silent):
        if workers < 0:
            raise SettingError(f"the number of workers is {workers}: use 0 for this process, or 1 and more")
        self.suite = suite
        self.workers = fitting(workers, suite, report)
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def take(self) -> Worker | None:
        """An idle worker, started if need be; None when all are at work."""
        if not self._idle and len(self._all) < max(self.workers, 1):
            worker = There(self.suite) if self.workers else Here(self._simulators())
            self._all.append(worker)
            self._idle.append(worker)
        return self._idle.pop() if self._idle else None

    def give(self, worker: Worker) -> None:
        """Hands an idle worker back."""
        self._idle.append(worker)

    def discard(self, worker: Worker) -> None:
        """Ends a worker that died, or whose answer nobody waits for any more."""
        self._all.remove(worker)
        worker.close(kill=True)

    def close(self) -> None:
        """Closes all environments and ends all processes."""
        self._idle.clear()
        for worker in self._all:
            worker.hang_up()
        while self._all:
            self._all.pop().close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _simulators(self) -> Simulators:
        return Simulators(self.suite)


def ready(workers: Sequence[Worker]) -> list[Worker]:
    """Those of the workers, at least one, whose reply or end has come; waits for it."""
    lines = {line: worker for worker in workers for line in worker.waits_on()}
    if not lines:
        return list(workers)
    return list(dict.fromkeys(lines[line] for line in connection.wait(list(lines))))


def _serve(line: connection.Connection, suite: Suite) -> None:
    """A worker process: answers requests until its line closes, which it does when the parent ends in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    simulators = Simulators(suite)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            request = line.recv()
            try:
                reply = simulators.answer(request)
            except Exception as problem:
                said = str(problem) if isinstance(problem, SkilltokensError) else f"{type(problem).__name__}: {problem}"
                known = isinstance(problem.__cause__, SkilltokensError)
                reply = Failure(said if known else f"{said} (run it with 0 workers to see the traceback)")
            line.send(reply)
    simulators.close()
