"""Scaling constants from a user's own demonstrations, and a summary of a store.

Suites declare constants of their robot's workspace. For data without a suite, `workspace_statistics` makes
such constants once, when a library is made; every later skill keeps them. If every skill had scales of its own, the
same position would look different to each of them. No other choice costs as much success.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.demos.header import SCHEMA
from skilltokens.demos.kinds import NUMBERS, kind_of
from skilltokens.demos.store import DemonstrationStore, same_features
from skilltokens.types import ACTION, Array, Feature, Scale

STILL = 0.02
"""An entry stands still if its deviation is below this share of its own largest reading."""
FLOOR = 0.2
"""The unit of an entry that stands still, as a share of its own largest reading: a gripper that stays open at 4 cm may
later close. Other entries have no say: they may be in other units, such as joints in degrees beside a gripper from 0
to 1."""
_PIECE = 1 << 24  # bytes read at a time


def workspace_statistics(stores: Sequence[DemonstrationStore]) -> dict[str, Scale]:
    """Center and unit of every observation that is a vector or a set, of any dtype, in the feature's own units.

    Of a set the things that are there count, and its flag is left as it is. A boolean becomes -1 or 1, whatever of it a
    store shows. All stores weigh the same.

    The center is the mean. The unit is the standard deviation, but where an entry stands still (`STILL`) a share of its
    own largest reading (`FLOOR`): else it would become huge as soon as a later skill moves it. An entry that is always
    0 has unit 1. `coverage.still_entries` says which entries hardly varied. Actions have constants too where some of
    them lie outside [-1, 1]: they are in the robot's own units then.

    Raises:
        DemonstrationError: no store, or stores with different features.
    """
    scales: dict[str, Scale] = {}
    for name, feature in same_features(stores, alike=True).items():
        if not (own_units(stores) if name == ACTION else kind_of(name, feature) in NUMBERS):
            continue
        moments = [_moments(store[name]) for store in stores]
        center = np.mean([mean for mean, _ in moments], axis=0)
        spread = np.sqrt(np.mean([variance + (mean - center) ** 2 for mean, variance in moments], axis=0))
        most = np.max([largest(store[name]) for store in stores], axis=0)
        unit = np.where(spread < STILL * most, FLOOR * most, spread)
        if feature.dtype == "bool":
            center, unit = np.full_like(center, 0.5), np.full_like(unit, 0.5)
        if kind_of(name, feature) == "set":
            center[0], unit[0] = 0.0, 1.0
        scales[name] = Scale(tuple(center.tolist()), tuple(np.where(unit > 0, unit, 1.0).tolist()))
    return scales


def own_units(stores: Sequence[DemonstrationStore]) -> bool:
    """Whether actions are in the robot's own units: some lie outside [-1, 1]."""
    return any(bool((largest(store[ACTION]) > 1).any()) for store in stores)


def largest(array: Array) -> Array:
    """The largest distance from 0 of each entry over the rows of `pieces`, in float64."""
    return np.max([np.abs(piece).max(axis=0, initial=0.0) for piece in pieces(array)], axis=0)


def info(path: str | Path) -> dict[str, Any]:
    """What is in the store at `path`, ready for JSON: task, source, counts, lengths of episodes, ranges of vectors.

    Raises:
        DemonstrationError: there is no store, or it is damaged.
    """
    store = DemonstrationStore.open(path)
    lengths = np.diff(np.asarray(store.offsets))
    return {
        "path": str(store.path),
        "schema": SCHEMA,
        "suite": store.suite,
        "task": store.task.name,
        "instruction": store.task.instruction,
        "wordings": list(store.task.wordings),
        "held_out": list(store.task.held_out),
        "source": store.source,
        "settings": store.settings,
        "versions": store.versions,
        "episodes": store.episodes,
        "steps": store.steps,
        "lengths": {"least": int(lengths.min()), "mean": float(lengths.mean()), "most": int(lengths.max())},
        "features": {name: _feature_info(store[name], feature) for name, feature in store.features.items()},
        "bytes": sum(entry["bytes"] for entry in store.files.values()),
        "digest": store.digest,
    }


def _moments(array: Array) -> tuple[Array, Array]:
    """Mean and variance over the rows of `pieces`, in float64, which are read in pieces of bounded size."""
    count = max(len(array) if array.ndim == 2 else sum(len(piece) for piece in pieces(array)), 1)
    mean, variance = np.zeros(array.shape[-1]), np.zeros(array.shape[-1])
    for piece in pieces(array):
        mean += piece.sum(axis=0) / count
    for piece in pieces(array):
        variance += ((piece - mean) ** 2).sum(axis=0) / count
    return mean, variance


def pieces(array: Array) -> Iterator[Array]:
    """The rows (n, width) of a vector (steps, width), or of the things that there are in a set (steps, slots, width).

    They come in float64, and in pieces of bounded size.
    """
    rows = max(1, _PIECE // (8 * math.prod(array.shape[1:])))
    read = (np.asarray(array[start : start + rows], dtype=np.float64) for start in range(0, len(array), rows))
    return read if array.ndim == 2 else (piece[piece[..., 0] > 0.5] for piece in read)


def _feature_info(array: Array, feature: Feature) -> dict[str, Any]:
    entry: dict[str, Any] = {"shape": list(feature.shape), "dtype": feature.dtype}
    if len(feature.shape) == 1:
        entry["least"] = float(np.min(array))
        entry["most"] = float(np.max(array))
    return entry
