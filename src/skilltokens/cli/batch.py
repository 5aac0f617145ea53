"""Several runs at once, each in a process of its own, so that no result depends on what runs beside it.

A child writes its progress as JSON lines on its standard output (`encode`, `encode_failure`, `FINISHED`); whatever
else it prints (its libraries' warnings, a traceback) goes to its log file. The parent shows the progress and waits. It
never writes to a child's standard input, which closes when the parent ends in any way: that is the child's lifeline.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from skilltokens.types import Progress, RunError

PATIENCE = 20.0
"""Seconds that a child gets to stop cleanly before it is killed. A killed run resumes from its last whole task too."""


@dataclass(frozen=True)
class Job:
    """One child process, which speaks the protocol on its standard output and ends when its standard input closes."""

    name: str
    command: tuple[str, ...]
    log: Path
    """Where its standard error goes; removed at the end if there was none."""
    threads: int = 1
    memory: int = 0
    """Bytes that it is known to take; 0: unknown. For who shares machines out; nobody else heeds it."""


class View(Protocol):
    """What shows the children's progress."""

    def update(self, name: str, progress: Progress) -> None: ...

    def finish(self, name: str, failure: str | None) -> None: ...


def encode(progress: Progress) -> str:
    """One line of the protocol, without its end."""
    return json.dumps({"progress": asdict(progress)}, ensure_ascii=False)


def encode_failure(sentence: str) -> str:
    """The last line of a child that stops at a mistake which its user can fix."""
    return json.dumps({"failure": sentence}, ensure_ascii=False)


FINISHED = '{"finished": true}'
"""The last line of a child that did its job: what its libraries do when it ends, however slowly, changes nothing."""


def decode(line: str) -> Progress | str | None:
    """The progress or the sentence of a failure in a line of the protocol; None for FINISHED.

    Raises:
        ValueError: the line is none of them.
    """
    content = json.loads(line)
    if isinstance(content, dict) and isinstance(content.get("failure"), str):
        return content["failure"]
    if content == json.loads(FINISHED):
        return None
    try:
        return Progress(**content["progress"])
    except (KeyError, TypeError) as problem:
        raise ValueError(f"not a line of the protocol: {line!r}") from problem


def run_jobs(jobs: Sequence[Job], at_once: int, view: View) -> dict[str, str | None]:
    """Runs all jobs, `at_once` at a time; returns for each job's name its failure in a sentence, or None.

    A job that fails does not stop the others. On KeyboardInterrupt (Ctrl-C, and SIGTERM or SIGHUP, which are treated
    alike) the children are interrupted and waited for, and the exception is raised again.

    Raises:
        RunError: a log file cannot be written.
    """
    waiting = list(reversed(jobs))
    endings: dict[str, str | None] = {}
    with stopping(list[Child]()) as children, selectors.DefaultSelector() as selector:
        while waiting or children:
            while waiting and len(children) < at_once:
                child = Child(waiting.pop())
                children.append(child)
                selector.register(child.pipe, selectors.EVENT_READ, child)
            for key, _ in selector.select():
                child: Child = key.data
                for progress in child.read():
                    view.update(child.job.name, progress)
                if child.ended:
                    selector.unregister(child.pipe)
                    children.remove(child)
                    endings[child.job.name] = failure = child.close()
                    view.finish(child.job.name, failure)
    return endings


class Child:
    """A running job. It leads a process group of its own, so that Ctrl-C reaches the parent alone, which decides."""

    def __init__(self, job: Job, folder: Path | None = None) -> None:
        """Starts it, in a folder where that is not this process' own."""
        self.job = job
        self.ended = False
        self._rest = b""
        self._failure: str | None = None
        self._finished = False
        threads = str(job.threads)
        try:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            self._log: IO[bytes] = job.log.open("wb")
        except OSError as problem:
            raise RunError(
                f"{job.log} cannot be written ({problem.strerror}): choose a folder you may write to with --out"
            ) from problem
        self.process = subprocess.Popen(
            job.command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            # Math libraries start a thread for each core unless these variables are set before they are loaded.
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._lifeline, self.pipe = self.process.stdin, self.process.stdout

    def read(self) -> Iterator[Progress]:
        """The progress that the child has sent since the last call; notes its end and its failure."""
        block = os.read(self.pipe.fileno(), 1 << 16)
        self.ended = not block
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            message = decode(line.decode())
            if isinstance(message, Progress):
                yield message
            elif message is None:
                self._finished = True
            else:
                self._failure = message

    def close(self) -> str | None:
        """Waits for the end of a child that has closed its pipe; its failure in a sentence, or None."""
        with suppress(subprocess.TimeoutExpired):  # it can close its pipe and go on
            self.process.wait(PATIENCE)
        self._kill()
        status = self.process.wait()
        self._close_files()
        if self._failure is not None or self._finished or status == 0:
            if self.job.log.stat().st_size == 0:
                self.job.log.unlink()
            return self._failure
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        last = self.job.log.read_text(errors="replace").strip().rpartition("\n")[2]
        error = f", saying {last!r}" if last else ""
        return f"{self.job.name} {how}{error}: see {self.job.log}, and run the same command again to resume"

    def ask_to_stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)

    def stop(self, patience: float) -> None:
        """Waits, then kills the child and whatever it had started."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self._kill()
        with suppress(subprocess.TimeoutExpired):  # hanging in the kernel, which nothing ends
            self.process.wait(PATIENCE)
        self._close_files()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _close_files(self) -> None:
        for file in (self._lifeline, self.pipe, self._log):
            file.close()


class Stoppable(Protocol):
    """Something that works until it is stopped."""

    def ask_to_stop(self) -> None: ...

    def stop(self, patience: float) -> None:
        """Waits so many seconds for it to stop, then makes it."""
        ...


Work = TypeVar("Work", bound=Stoppable)


@contextmanager
def stopping(children: list[Work]) -> Iterator[list[Work]]:
    """What is in the list is stopped when the block is left by an exception, Ctrl-C first of all."""
    before = {number: _handle(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield children
    finally:
        patience = PATIENCE
        for child in children:
            child.ask_to_stop()
        for child in children:
            try:
                child.stop(patience)
            except KeyboardInterrupt:  # a second Ctrl-C: no more waiting
                patience = 0.0
                child.stop(patience)
        for number, handler in before.items():
            _handle(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _handle(number: int, handler: Callable[..., object] | int | None) -> Callable[..., object] | int | None:
    """Sets a signal's handler where that is possible, in the main thread; returns the one before."""
    try:
        return signal.signal(number, handler)
    except ValueError:
        return None
