"""What a demonstration must be: the rules that writing, importing and checking share.

Each function raises `DemonstrationError` with one sentence that names the store, the episode, the step and
the feature, and says what to do. Steps and episodes are counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from skilltokens.types import ACTION, SIMULATOR, Array, DemonstrationError, Episode, Feature, Task

OBSERVATION = "observation."
LONGEST_INSTRUCTION = 1000
DTYPES = ("float16", "float32", "float64", "uint8", "int32", "int64", "bool")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}")


def check_task(where: str, task: Task) -> None:
    """A task needs a name that can be a file name, and an instruction of 1 to 1000 characters."""
    if not _NAME.fullmatch(task.name):
        raise DemonstrationError(
            f"{where}: the task name {_short(task.name)} cannot name a file: use at most 120 letters, digits, - _ or ."
        )
    for kind, texts in (("instruction", (task.instruction,)), ("wording", task.wordings + task.held_out)):
        for text in texts:
            if not isinstance(text, str) or not text.encode("utf-8", "ignore").strip():
                raise DemonstrationError(f"{where}: task {task.name!r} has an empty {kind}: give it a sentence")
            if text.encode("utf-8", "ignore").decode() != text:
                raise DemonstrationError(f"{where}: the {kind} of task {task.name!r} is not Unicode text: retype it")
            if len(text) > LONGEST_INSTRUCTION:
                raise DemonstrationError(
                    f"{where}: the {kind} of task {task.name!r} has {len(text)} characters: "
                    f"shorten it to at most {LONGEST_INSTRUCTION}"
                )


def check_features(where: str, features: Mapping[str, Feature]) -> None:
    """Features need usable names, sizes and dtypes; one is `action`, a vector of floats, and one an observation."""
    for name, feature in features.items():
        if not _NAME.fullmatch(name) or not (name == ACTION or name.startswith((OBSERVATION, SIMULATOR))):
            raise DemonstrationError(
                f"{where}: {_short(name)} cannot name a feature: use {ACTION!r} or {OBSERVATION}<name> "
                "of letters, digits, - _ or ."
            )
        if any(size < 1 for size in feature.shape):
            raise DemonstrationError(f"{where}: feature {name!r} has the empty shape {feature.shape}: leave it out")
        if feature.dtype not in DTYPES:
            raise DemonstrationError(
                f"{where}: feature {name!r} has dtype {feature.dtype!r}: use one of {', '.join(DTYPES)}"
            )
    action = features.get(ACTION)
    if action is None:
        raise DemonstrationError(f"{where}: there is no feature {ACTION!r}: demonstrations need the actions taken")
    if len(action.shape) != 1 or not action.dtype.startswith("float"):
        raise DemonstrationError(
            f"{where}: {ACTION!r} has shape {action.shape} and dtype {action.dtype}: it must be a vector of floats"
        )
    if not any(name.startswith(OBSERVATION) for name in features):
        raise DemonstrationError(f"{where}: there is no observation: give at least one feature {OBSERVATION}<name>")


def conform(where: str, episode: Episode, features: Mapping[str, Feature]) -> dict[str, Array]:
    """The arrays of one episode in their declared dtypes, C-contiguous. Every rule is checked.

    Args:
        where: the store and the number of the episode, for messages.

    Raises:
        DemonstrationError: a feature is missing, unknown or of the wrong width, lengths differ, the episode is
            empty, or a value is not finite.
    """
    for name in features.keys() ^ episode.features.keys():
        verb = "lacks the feature" if name in features else "has the unknown feature"
        raise DemonstrationError(f"{where} {verb} {name!r}: every episode needs exactly {', '.join(sorted(features))}")
    arrays: dict[str, Array] = {}
    for name, feature in features.items():
        array = np.asarray(episode.features[name])
        if array.ndim == 0 or array.shape[1:] != feature.shape:
            raise DemonstrationError(
                f"{where}, feature {name!r} has shape {array.shape} where (steps, {_sizes(feature.shape)}) is needed: "
                "correct the demonstration or leave it out"
            )
        arrays[name] = _cast(where, name, array, feature)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DemonstrationError(f"{where} has features of different lengths ({lengths}): all need one row for a step")
    if len(arrays[ACTION]) == 0:
        raise DemonstrationError(f"{where} is empty: leave it out")
    for name, array in arrays.items():
        fault = wrong_value(array)
        if fault is not None:
            step, problem = fault
            raise DemonstrationError(f"{where}, step {step}, feature {name!r} {problem}")
    return arrays


def wrong_value(array: Array) -> tuple[int, str] | None:
    """The first step of `array` (steps, *shape) whose values break a rule, and what is wrong with it; or None."""
    if array.dtype.kind != "f":
        return None
    flat = array.reshape(len(array), -1)
    # A sum is finite only if every term is, so the good case needs no temporary of the array's size;
    # a finite array whose sum overflows is put to the exact test.
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(flat.sum(dtype=np.float64))
    if suspect:
        bad = ~np.isfinite(flat).all(axis=1)
        if bad.any():
            step = int(bad.argmax())
            value = flat[step][~np.isfinite(flat[step])][0]
            return step, f"holds {value}: correct the demonstration or leave it out"
    return None


def _cast(where: str, name: str, array: Array, feature: Feature) -> Array:
    dtype = np.dtype(feature.dtype)
    exact = dtype.kind != "f"
    if array.dtype.kind not in "fiub" or (exact and not np.can_cast(array.dtype, dtype, "safe")):
        raise DemonstrationError(
            f"{where}, feature {name!r} has dtype {array.dtype} where {feature.dtype} is needed: convert it first"
        )
    with np.errstate(over="ignore"):  # an overflow becomes an infinity, which the next check names
        return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _short(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "...'"
