"""The processes that simulators live in.

A `Simulators` lives in this process (`Here`) or in a worker process; both take the same requests and give the same
replies, so the rollout loop does not know the difference and results cannot depend on it. A `Pool` lends them out. A
worker gets one request, then gives its reply, so neither side can wait for the other for ever.
"""

from __future__ import annotations

import contextlib
from typing import Any

from skilltokens.simulation.memory import fitting
from skilltokens.simulation.processes import Line, ParentGone, WorkerPool, WorkerProcess
from skilltokens.simulation.simulators import Reply, Reset, Simulators, Step
from skilltokens.types import Report, SettingError, SkilltokensError, Suite, SuiteError, silent


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


Worker = Here | WorkerProcess


class Pool(WorkerPool[Worker]):
    """Up to `workers` simulator processes of one suite, started when first needed; 0: simulators in this process.

    Use it as a context manager around several calls of `evaluate`, so that processes and environments are kept.
    Results do not depend on the number of workers. Where memory is too small for them fewer are used, and `report`
    gets a line about it.

    Raises:
        SettingError: `workers` is negative.
    """

    def __init__(self, suite: Suite, workers: int = 0, report: Report = silent):
        if workers < 0:
            raise SettingError(f"the number of workers is {workers}: use 0 for this process, or 1 and more")
        self.suite = suite
        self.workers = fitting(workers, suite, report)
        super().__init__(self._worker, max(self.workers, 1))

    def _worker(self) -> Worker:
        if self.workers:
            return WorkerProcess("skilltokens-simulators", _serve, self.suite)
        return Here(self._simulators())

    def _simulators(self) -> Simulators:
        return Simulators(self.suite)


def _serve(line: Line, suite: Suite) -> None:
    """A worker process: answers requests until its line closes."""
    simulators = Simulators(suite)
    with contextlib.suppress(ParentGone):
        while True:
            request = line.receive()
            try:
                reply = simulators.answer(request)
            except Exception as problem:
                reply = SuiteError(_sentence(problem))
            line.send(reply)
    simulators.close()


def _sentence(problem: Exception) -> str:
    """What the user reads of an error in a worker process, whose traceback is lost."""
    message = str(problem) if isinstance(problem, SkilltokensError) else f"{type(problem).__name__}: {problem}"
    if isinstance(problem.__cause__, SkilltokensError):
        return message
    return f"{message} (run it with 0 workers to see the traceback)"
