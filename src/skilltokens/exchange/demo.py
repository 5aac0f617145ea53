"""One demo of an HDF5 file as an episode, by a `Conversion`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from skilltokens.demos.rules import conform
from skilltokens.exchange.conversion import Conversion, check_action
from skilltokens.exchange.kinds import is_flat
from skilltokens.exchange.layout import dataset, member, text_of
from skilltokens.types import ACTION, Array, DemonstrationError, Episode


def read_demo(path: Path, demo: h5py.Group, conversion: Conversion, clip: bool) -> Episode:
    """One demo as an episode that keeps every rule of a store (`demos.rules`)."""
    where = str(path) if demo.name == "/" else f"{path}: {demo.name}"  # one episode is the whole file in some layouts
    actions = _actions(path, where, demo, conversion.actions)
    if len(actions) <= conversion.late:
        raise DemonstrationError(f"{where} is {'too short' if len(actions) else 'empty'}: leave it out")
    count = text_of(demo.attrs.get("num_samples", len(actions)))
    if _number(count) != len(actions):
        raise DemonstrationError(f"{where} has {len(actions)} actions where num_samples says {count}: repair the file")
    observed = member(path, demo, conversion.observed)
    arrays: dict[str, Array] = {ACTION: np.clip(actions, -1, 1) if clip else actions}
    for name, group in conversion.keys.items():
        parts = [_rows(path, observed, key, len(actions)) for key in group]
        arrays[name] = _made(where, name, parts, conversion)
    for name in conversion.private:
        arrays[name] = _rows(path, demo, name, len(actions))
    if conversion.late:
        arrays = {name: array[1:] if name == ACTION else array[:-1] for name, array in arrays.items()}
    for name, array in arrays.items():
        _check_values(where, name, array, conversion)
    return Episode(conform(where, Episode(arrays), conversion.features))


def _number(text: str) -> float | None:
    try:
        return float(text.strip("[]"))
    except ValueError:
        return None


def _actions(path: Path, where: str, demo: h5py.Group, keys: Sequence[str]) -> Array:
    """The actions of a demo, (steps, A); whole numbers as floats."""
    arrays = [dataset(path, demo, key)[()] for key in keys]
    for key, array in zip(keys, arrays, strict=True):
        check_action(path, f"{str(demo.name).rstrip('/')}/{key}", array.shape[1:])
        _check_whole(where, ACTION, array)
        if len(array) != len(arrays[0]):
            raise DemonstrationError(f"{where}: {key} has {len(array)} rows for {len(arrays[0])} of {keys[0]}")
    flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays]
    actions = np.concatenate(flat, axis=1) if len(flat) > 1 else flat[0]
    return actions if actions.dtype.kind == "f" else actions.astype(np.float64)


def _rows(path: Path, group: h5py.Group, key: str, steps: int) -> Array:
    part = np.asarray(dataset(path, group, key)[()])
    if len(part) != steps:
        raise DemonstrationError(f"{path}: {group.name}/{key} has {len(part)} rows for {steps} actions")
    return part


def _made(where: str, name: str, parts: Sequence[Array], conversion: Conversion) -> Array:
    """One feature of an episode from its arrays: vectors joined, pictures upright with the colours last."""
    feature, array = conversion.features[name], parts[0]
    if len(parts) == 1 and name in conversion.colours_first and array.ndim == 4:
        array = np.moveaxis(array, 1, 3)
    if name in conversion.turned:
        array = array[:, ::-1]
    if feature.dtype.startswith("float"):
        for part in parts:
            _check_whole(where, name, part)
    if len(parts) == 1 and (array.shape[1:] == feature.shape or not is_flat(array.shape)):
        return array
    return np.concatenate([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts], axis=1)


def _check_whole(where: str, name: str, array: Array) -> None:
    """Raises DemonstrationError where whole numbers are too large to be kept in float32 as they are."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 4:
        return
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    wrong = rows.astype(np.float32).astype(np.float64) != rows.astype(np.float64)
    wrong |= np.abs(rows.astype(np.float64)) > 2**53
    if wrong.any():
        step = int(wrong.any(axis=1).argmax())
        raise DemonstrationError(
            f"{where}, step {step}, feature {name!r} holds {rows[step][wrong[step]][0]}, which float32 cannot say "
            "exactly: leave that key out (--keys), or scale it"
        )


def _check_values(where: str, name: str, array: Array, conversion: Conversion) -> None:
    """Raises DemonstrationError where actions that must not, or pictures in floats, lie outside of their range."""
    if name in conversion.floats:
        lowest, remedy = 0, "a picture in floats goes from 0 to 1: divide those of 0 to 255 by 255"
    elif name == ACTION and conversion.bounded:
        lowest, remedy = -1, "LIBERO's actions lie within: scale the actions, or clip them (--clip)"
    else:
        return
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    wrong = (rows < lowest) | (rows > 1)
    if wrong.any():
        step = int(wrong.any(axis=1).argmax())
        value = rows[step][wrong[step]][0]
        raise DemonstrationError(
            f"{where}, step {step}, feature {name!r} holds {value:.6g}, outside [{lowest}, 1]; {remedy}"
        )
