"""The processes that simulators live in.

A `Simulators` lives in this process (`Here`) or in a worker process; both take the same requests and give the same
replies, so the rollout loop does not know the difference and results cannot depend on it. A `Pool` lends them out. A
worker gets one request, then gives its reply, so neither side can wait for the other for ever. A worker that gives no
sign of life for a limit is ended by who waits for it. Nothing can end simulators in this process but the user, so
`Here` only says what hangs.
"""

from __future__ import annotations

import contextlib
from typing import Any

from skilltokens.settings import STEP_LIMIT
from skilltokens.simulation.memory import fitting
from skilltokens.simulation.processes import Line, ParentGone, WorkerPool, WorkerProcess
from skilltokens.simulation.signs import RESET, Watch, heard_by, tell
from skilltokens.simulation.simulators import Reply, Reset, Simulators, Step
from skilltokens.types import Report, SettingError, SkilltokensError, Suite, SuiteError, silent

_HERE = (
    "it runs in this process, so only Ctrl-C ends it: with 1 worker and more it would be ended and begun once more by "
    "itself"
)


class Here:
    """Simulators in this process; a request is carried out when it is sent.

    `report` gets a line where one gives no sign of life for its limit.
    """

    def __init__(self, simulators: Simulators, report: Report = silent):
        self._simulators, self._report = simulators, report
        self._reply: Reply | None = None
        self._watch = Watch()

    def send(self, request: Reset | Step, limit: float = 0.0) -> None:
        def late(signs: int) -> None:
            tell(self._report, f"{self._simulators.place(request, signs)}: no answer for {limit:g} s; {_HERE}")

        with self._watch.over(limit, late):
            self._reply = self._simulators.answer(request)

    def answered(self) -> bool:
        return True

    def left(self) -> None:
        return None

    def receive(self) -> Reply:
        assert self._reply is not None, "no request was sent"
        reply, self._reply = self._reply, None
        return reply

    def waits_on(self) -> list[Any]:
        return []

    def hang_up(self) -> None:
        pass

    def close(self, kill: bool = False) -> None:
        self._watch.close()
        # After an error a simulator may be too broken to close; the error itself must reach the user.
        with contextlib.suppress(Exception) if kill else contextlib.nullcontext():
            self._simulators.close()


Worker = Here | WorkerProcess


class Pool(WorkerPool[Worker]):
    """Up to `workers` simulator processes of one suite, started when first needed; 0: simulators in this process.

    Use it as a context manager around several calls of `evaluate`, so that processes and environments are kept.
    Results do not depend on the number of workers. Where memory is too small for them fewer are used, and `report`
    gets a line about it.

    Args:
        limit: seconds that a simulator may take for one step, and RESET times as many for a reset; 0: no limit. One
            that takes longer is taken to hang. Its process is ended and its episodes are begun once more; in this
            process that is impossible, so `report` gets a line (standard error, where it is silent).

    Raises:
        SettingError: `workers` or `limit` is negative.
    """

    def __init__(self, suite: Suite, workers: int = 0, report: Report = silent, limit: float = STEP_LIMIT):
        if workers < 0:
            raise SettingError(f"the number of workers is {workers}: use 0 for this process, or 1 and more")
        if not limit >= 0:
            raise SettingError(f"step_limit {limit:g} is impossible: use 0 for no limit, or seconds")
        self.suite, self.report, self.limit = suite, report, limit
        self.workers = fitting(workers, suite, report)
        super().__init__(self._worker, max(self.workers, 1))

    def _worker(self) -> Worker:
        if self.workers:
            return WorkerProcess("skilltokens-simulators", _serve, self.suite)
        return Here(self._simulators(), self.report)

    def allows(self, request: Reset | Step) -> float:
        """Seconds that a request may take without a sign of life; 0: any time."""
        return self.limit * (RESET if isinstance(request, Reset) else 1)

    def _simulators(self) -> Simulators:
        return Simulators(self.suite)


def _serve(line: Line, suite: Suite) -> None:
    """A worker process: answers requests until its line closes."""
    simulators = Simulators(suite)
    with contextlib.suppress(ParentGone), heard_by(line.sign):
        while True:
            request = line.receive()
            try:
                reply = simulators.answer(request)
            except ParentGone:
                raise
            except Exception as problem:
                reply = SuiteError(_sentence(problem))
            line.send(reply)
    with contextlib.suppress(Exception):  # nobody listens any more, and all replies are given
        simulators.close()


def _sentence(problem: Exception) -> str:
    """What the user reads of an error in a worker process, whose traceback is lost."""
    message = str(problem) if isinstance(problem, SkilltokensError) else f"{type(problem).__name__}: {problem}"
    if isinstance(problem.__cause__, SkilltokensError):
        return message
    return f"{message} (run it with 0 workers to see the traceback)"
