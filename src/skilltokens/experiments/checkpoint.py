"""What a run needs to resume: the method's state after each lesson, and the lesson in training. Nothing is pickled.

Both files are sealed and tied to their run: run.json names the fingerprint of the state that it was committed with, and
the lesson in training says which run it is of and which state it began from.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from torch import Tensor

from skilltokens.experiments.reading import altered, cell_problems
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.files import seal
from skilltokens.simulation.memory import STAGE
from skilltokens.tensors import State, check_finite, fingerprint, on_cpu, read_state, write_state
from skilltokens.types import Progress, Report, RunError, silent


@dataclass(frozen=True)
class Before:
    """A lesson that was interrupted, at its last point."""

    start: tuple[dict[str, Tensor], dict[str, Any]]
    cells: list[Cell]
    seconds: Sequence[float]
    """Of training, of evaluating, and of the processor while training, which files of older versions lack."""


class Work:
    """A lesson at work: its training at the last stop, its cells and its seconds, as progress.safetensors keeps them.

    Args:
        folder: the run's.
        lesson: its number.
        record: the run's so far; cells of this lesson that were kept are put behind its own.
        report: told where what was kept cannot be used, so that the lesson starts again.

    Raises:
        RunError: what was kept is of another run.
    """

    def __init__(self, folder: Path, lesson: int, record: LifelongRecord, report: Report = silent) -> None:
        cells, self._tie = record.cells, Tie.of(record, lesson)
        self._folder = folder
        self._cells, self._first = cells, len(cells)
        before = load_progress(folder, self._tie, report)
        self.start: State | None = None if before is None else before.start
        """Where training resumes, as `Point.state` gives it."""
        train, evaluate, *processor = before.seconds if before else (0.0, 0.0, 0.0)
        self.seconds = {"train": train, "evaluate": evaluate}
        """Spent on it, over interruptions."""
        self.processor = processor[0] if processor else None
        """Seconds of this process' processors that training took; None where an older version began it."""
        if before is not None:
            cells += before.cells
            for problem in cell_problems(cells, [task.name for task in record.tasks]):
                raise altered(_progress(folder), problem)
        self._start()

    def _start(self) -> None:
        self._last, self._last_processor = time.monotonic(), time.process_time()

    @property
    def cells(self) -> list[Cell]:
        """The lesson's own."""
        return self._cells[self._first :]

    def spent(self, kind: Literal["train", "evaluate"]) -> None:
        """Counts the seconds since this, or `keep`, was called last."""
        last, last_processor = self._last, self._last_processor
        self._start()
        self.seconds[kind] += self._last - last
        if kind == "train" and self.processor is not None:
            self.processor += self._last_processor - last_processor

    def keep(self, state: State | None = None) -> None:
        """Writes down where it stands, with a new stop of the training or that of the last time."""
        if state is not None and self.start is not None and state[1] == self.start[1]:
            return  # where an interrupted training had been kept
        self.start = state or self.start
        assert self.start is not None
        processor = () if self.processor is None else (self.processor,)
        save_progress(self._folder, self._tie, self.start, self.cells, (*self.seconds.values(), *processor))
        self._start()  # writing counts as nothing


class Tie(msgspec.Struct, frozen=True):
    """What a lesson in training belongs to."""

    lesson: int
    run: str = ""
    """SHA-256 of what the run is made of."""
    state: str = ""
    """Fingerprint of the state that the lesson began from; empty for the first."""

    @classmethod
    def of(cls, record: LifelongRecord, lesson: int) -> Tie:
        """Of a lesson of a run, as its run.json says now."""
        made_of = [record.method, record.suite, record.seed, record.tasks, record.config, record.demonstrations]
        return cls(lesson, seal({"run": msgspec.to_builtins(made_of)}), record.state)


def save_state(folder: Path, lessons: int, state: Mapping[str, Tensor]) -> str:
    """Keeps a method's state after so many lessons; returns its fingerprint, for run.json.

    Raises:
        RunError: it holds a number that is not finite, or cannot be written.
    """
    tensors, about = on_cpu(state), {"lessons": lessons}
    check_finite(tensors, f"the method's state after {lessons} lessons")
    write_state(_state(folder, lessons), tensors, about)
    return fingerprint(tensors, about)


def load_state(folder: Path, lessons: int, known: str, report: Report = silent) -> dict[str, Tensor]:
    """A method's state after so many lessons.

    Args:
        known: its fingerprint, as run.json says it; empty in a run.json of before there were any.
        report: told where the file is one of before there were seals.

    Raises:
        RunError: it is missing or damaged, or another one than run.json was written for.
    """
    path = _state(folder, lessons)
    try:
        tensors, about = read_state(path, None if known else lambda note: report(Progress(STAGE, 0, 1, note)))
        check_finite(tensors, str(path))
    except RunError as problem:
        raise RunError(f"{problem}, or start the run again in a new folder") from problem
    if known and fingerprint(tensors, about) != known:
        raise RunError(
            f"{path} is not the state that run.json was written for: it is of another run or lesson; restore it, or "
            "start the run again in a new folder"
        )
    return tensors


def save_progress(folder: Path, tie: Tie, state: State, cells: Sequence[Cell], seconds: Sequence[float]) -> None:
    """Keeps a lesson in training."""
    tensors, plain = state
    about = {"tie": tie, "fit": plain, "evaluations": cells, "seconds": seconds}
    write_state(_progress(folder), tensors, msgspec.to_builtins(about))


class _About(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What stands beside the tensors of a lesson in training."""

    tie: Tie
    fit: dict[str, Any]
    evaluations: list[Cell]
    seconds: Annotated[list[Annotated[float, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=2, max_length=3)]


def load_progress(folder: Path, tie: Tie, report: Report = silent) -> Before | None:
    """The lesson in training, if one was kept. A damaged file counts as none, since the lesson can start again.

    Args:
        report: told where it is damaged.

    Raises:
        RunError: it is of another run.
    """
    path = _progress(folder)
    if not os.path.lexists(path):
        return None
    try:
        tensors, content = read_state(path)
        about = msgspec.convert(content, _About)
        if not all(map(math.isfinite, about.seconds)):
            raise RunError(f"{path} is altered (its times are not finite): restore it from a copy")
    except (RunError, ValueError) as problem:
        note = f"lesson {tie.lesson + 1} starts again, since {problem}".removesuffix(": restore it from a copy")
        report(Progress(STAGE, 0, 1, note if isinstance(problem, RunError) else f"{note} in {path}"))
        return None
    if about.tie == tie:
        return Before((tensors, about.fit), about.evaluations, about.seconds)
    if about.tie.run == tie.run and about.tie.lesson < tie.lesson:
        return None  # the run died between a commit and the removal of what it made useless
    raise RunError(f"{path} is of another run than the run.json beside it: move it away, and the lesson starts again")


def clear(folder: Path) -> None:
    """Removes all that an earlier run has left: a new one must not resume from it."""
    for path in (_progress(folder), *folder.glob("state-*.safetensors")):
        _remove(path)


def discard_untrained(folder: Path, tie: Tie) -> None:
    """Removes a run that has no training step to keep, and its folder if that is empty then."""
    before = load_progress(folder, tie)
    if any(folder.glob("state-*.safetensors")) or (before is not None and before.start[1]["step"]):
        return
    clear(folder)
    (folder / "run.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of its user's lies there, or the lock, with which it goes
        folder.rmdir()


def forget(folder: Path, lessons: int) -> None:
    """Removes what a committed lesson has made useless."""
    _remove(_progress(folder))
    _remove(_state(folder, lessons - 1))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise RunError(
            f"{path} could not be removed ({problem.strerror or problem}): move it away, and run the same command again"
        ) from problem


def _state(folder: Path, lessons: int) -> Path:
    return folder / f"state-{lessons}.safetensors"


def _progress(folder: Path) -> Path:
    return folder / "progress.safetensors"
