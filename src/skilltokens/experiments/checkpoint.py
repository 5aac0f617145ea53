"""What a run needs to resume: the method's state after each lesson, and the lesson in training. Nothing is pickled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from skilltokens.experiments.records import Cell
from skilltokens.tensors import State, read_state, write_state
from skilltokens.types import RunError


@dataclass(frozen=True)
class Before:
    """A lesson that was interrupted, at its last point."""

    start: tuple[dict[str, Tensor], dict[str, Any]]
    cells: list[Cell]
    seconds: tuple[float, float]


class Work:
    """A lesson at work: its training at the last stop, its cells and its seconds, as progress.safetensors keeps them.

    Args:
        folder: the run's.
        lesson: its number.
        cells: the run's so far; those of this lesson that were kept are put behind them.
    """

    def __init__(self, folder: Path, lesson: int, cells: list[Cell]) -> None:
        self._folder, self._lesson = folder, lesson
        self._cells, self._first = cells, len(cells)
        before = load_progress(folder, lesson)
        self.start: State | None = None if before is None else before.start
        """Where training resumes, as `Point.state` gives it."""
        train, evaluate = before.seconds if before else (0.0, 0.0)
        self.seconds = {"train": train, "evaluate": evaluate}
        """Spent on it, over interruptions."""
        cells += before.cells if before else []
        self._last = time.monotonic()

    @property
    def cells(self) -> list[Cell]:
        """The lesson's own."""
        return self._cells[self._first :]

    def spent(self, kind: Literal["train", "evaluate"]) -> None:
        """Counts the seconds since this, or `keep`, was called last."""
        now = time.monotonic()
        self.seconds[kind] += now - self._last
        self._last = now

    def keep(self, state: State | None = None) -> None:
        """Writes down where it stands, with a new stop of the training or that of the last time."""
        if state is not None and self.start is not None and state[1] == self.start[1]:
            return  # where an interrupted training had been kept
        self.start = state or self.start
        assert self.start is not None
        save_progress(self._folder, self._lesson, self.start, self.cells, tuple(self.seconds.values()))
        self._last = time.monotonic()  # writing counts as nothing


def save_state(folder: Path, lessons: int, state: Mapping[str, Tensor]) -> None:
    """Keeps a method's state after so many lessons."""
    write_state(_state(folder, lessons), state)


def load_state(folder: Path, lessons: int) -> dict[str, Tensor]:
    """Raises RunError when it is missing or damaged."""
    path = _state(folder, lessons)
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as problem:
        raise RunError(
            f"{path} is missing or damaged ({problem}): restore it, or start the run again in a new folder"
        ) from problem


def save_progress(folder: Path, lesson: int, state: State, cells: Sequence[Cell], seconds: tuple[float, ...]) -> None:
    """Keeps a lesson in training."""
    tensors, plain = state
    about = {"lesson": lesson, "fit": plain, "evaluations": msgspec.to_builtins(cells), "seconds": list(seconds)}
    write_state(_progress(folder), tensors, about)


def load_progress(folder: Path, lesson: int) -> Before | None:
    """The lesson in training, if one was kept; a damaged file counts as none, since the lesson can start again."""
    with contextlib.suppress(RunError, KeyError, TypeError, msgspec.ValidationError):
        tensors, about = read_state(_progress(folder))
        if about["lesson"] == lesson:
            cells = msgspec.convert(about["evaluations"], list[Cell])
            return Before((tensors, about["fit"]), cells, tuple(about["seconds"]))
    return None


def clear(folder: Path) -> None:
    """Removes all that an earlier run has left: a new one must not resume from it."""
    for path in (_progress(folder), *folder.glob("state-*.safetensors")):
        path.unlink(missing_ok=True)


def discard_untrained(folder: Path) -> None:
    """Removes a run that has no training step to keep, and its folder if that is empty then."""
    before = load_progress(folder, 0)
    if any(folder.glob("state-*.safetensors")) or (before is not None and before.start[1]["step"]):
        return
    clear(folder)
    (folder / "run.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of its user's lies there
        folder.rmdir()


def forget(folder: Path, lessons: int) -> None:
    """Removes what a committed lesson has made useless."""
    _progress(folder).unlink(missing_ok=True)
    _state(folder, lessons - 1).unlink(missing_ok=True)


def _state(folder: Path, lessons: int) -> Path:
    return folder / f"state-{lessons}.safetensors"


def _progress(folder: Path) -> Path:
    return folder / "progress.safetensors"
