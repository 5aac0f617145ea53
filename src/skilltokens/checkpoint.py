"""What a run needs to go on: the method's state after each lesson, and the lesson in training. Nothing is pickled."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from skilltokens.files import write_bytes
from skilltokens.types import RunError


@dataclass(frozen=True)
class Before:
    """A lesson that was interrupted, at its last point."""

    start: tuple[dict[str, Tensor], dict[str, Any]]
    evaluations: list[dict[str, Any]]
    seconds: tuple[float, float]


def save_state(folder: Path, lessons: int, state: Mapping[str, Tensor]) -> None:
    """Keeps a method's state after so many lessons."""
    write_bytes(_state(folder, lessons), save({n: t.contiguous() for n, t in state.items()}), RunError)


def load_state(folder: Path, lessons: int) -> dict[str, Tensor]:
    """Raises RunError when it is missing or damaged."""
    path = _state(folder, lessons)
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as problem:
        raise RunError(
            f"{path} is missing or damaged ({problem}): restore it, or start the run again in a new folder"
        ) from problem


def save_progress(
    folder: Path,
    lesson: int,
    state: tuple[Mapping[str, Tensor], Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    seconds: tuple[float, float],
) -> None:
    """Keeps a lesson in training."""
    tensors, plain = state
    about = {"lesson": lesson, "fit": plain, "evaluations": list(evaluations), "seconds": list(seconds)}
    write_state(_progress(folder), tensors, about)


def load_progress(folder: Path, lesson: int) -> Before | None:
    """The lesson in training, if one was kept; a damaged file counts as none, since the lesson can start again."""
    with contextlib.suppress(RunError, KeyError, TypeError):
        tensors, about = read_state(_progress(folder))
        if about["lesson"] == lesson:
            return Before((tensors, about["fit"]), about["evaluations"], tuple(about["seconds"]))
    return None


def write_state(path: Path, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
    """Keeps a state of tensors and of what JSON can hold, in one file."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_bytes(path, save(plain, {"about": json.dumps(rest)}), RunError)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_state` wrote.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["about"])  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as problem:
        raise RunError(f"{path} is missing or damaged ({problem}): remove it, and it is made again") from problem


def forget(folder: Path, lessons: int) -> None:
    """Removes what a committed lesson has made useless."""
    _progress(folder).unlink(missing_ok=True)
    _state(folder, lessons - 1).unlink(missing_ok=True)


def _state(folder: Path, lessons: int) -> Path:
    return folder / f"state-{lessons}.safetensors"


def _progress(folder: Path) -> Path:
    return folder / "progress.safetensors"
