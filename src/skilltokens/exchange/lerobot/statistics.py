"""Statistics of a data set, as LeRobot's policies scale by them, and as a check of what is read.

An entry of a vector has its own; a feature with more axes has one set for each place on its last axis, over all others;
a picture one for each colour, in 0 to 1, in the shape (colours, 1, 1). All are exact. LeRobot 0.6.1 looks at a part of
the pictures, at reduced size, and takes the weighted mean of the episodes' quantiles for those of the whole; here all
pictures are looked at, and the quantiles of the whole are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skilltokens.types import Array, DemonstrationError

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MOST = 1 << 23
"""Numbers of an entry that the quantiles of the whole are taken of; of more, every so-many-th step is."""
SLACK = 1e-5
"""How far data may lie outside of what its statistics say, as a share: they may have been rounded."""
Stats = dict[str, Array]


def of_numbers(array: Array) -> Stats:
    """Statistics of numbers (steps, *shape)."""
    values = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1).astype(np.float64)
    return {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        "count": np.array([len(array)]),
        **dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True)),
    }


def levels(pictures: Array) -> Array:
    """How often each of the 256 values occurs in pictures (steps, height, width, colours): (colours, 256)."""
    return np.stack([np.bincount(pictures[..., colour].ravel(), minlength=256) for colour in range(pictures.shape[-1])])


def of_levels(counts: Array, pictures: int) -> Stats:
    """Statistics of so many pictures, from `levels`. They are exact."""
    values = np.arange(256) / 255
    total = counts.sum(1, keepdims=True)
    mean = (counts * values).sum(1) / total[:, 0]
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / total[:, 0])
    reached = np.cumsum(counts, 1) / total
    of = {
        "min": values[(counts > 0).argmax(1)],
        "max": values[255 - (counts[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": std,
        **{name: values[(reached >= share).argmax(1)] for name, share in QUANTILES.items()},
    }
    return {**{name: array.reshape(-1, 1, 1) for name, array in of.items()}, "count": np.array([pictures])}


def of_whole(parts: Sequence[Stats], arrays: Sequence[Array]) -> Stats:
    """Statistics of numbers, from those of all episodes and from arrays (steps, *shape) that hold them all."""
    counts = np.concatenate([part["count"] for part in parts])
    shares = (counts / counts.sum())[:, None]
    means = np.stack([part["mean"] for part in parts])
    mean = (shares * means).sum(0)
    spread = np.stack([part["std"] for part in parts]) ** 2 + (means - mean) ** 2
    return {
        "min": np.stack([part["min"] for part in parts]).min(0),
        "max": np.stack([part["max"] for part in parts]).max(0),
        "mean": mean,
        "std": np.sqrt((shares * spread).sum(0)),
        "count": np.array([counts.sum()]),
        **_quantiles(arrays),
    }


def _quantiles(arrays: Sequence[Array]) -> Stats:
    flat = [array.reshape(len(array), -1, array.shape[-1] if array.ndim > 1 else 1) for array in arrays]
    stride = -(-sum(array.shape[0] * array.shape[1] for array in flat) // MOST)
    shares = list(QUANTILES.values())
    entries = [
        np.quantile(np.concatenate([array[::stride, :, entry].ravel() for array in flat]).astype(np.float64), shares)
        for entry in range(flat[0].shape[2])
    ]
    return dict(zip(QUANTILES, np.stack(entries, axis=1), strict=True))


def bounds(said: Mapping[str, Any], width: int, where: str) -> tuple[Array, Array] | None:
    """The smallest and the largest number of each entry (width,) that statistics say; None where they say none.

    Raises:
        DemonstrationError: they are no numbers, or of another width.
    """
    if said.get("min") is None or said.get("max") is None:
        return None
    try:
        low, high = (np.asarray(said[name], dtype=np.float64).ravel() for name in ("min", "max"))
    except (TypeError, ValueError, OverflowError) as problem:
        raise DemonstrationError(f"{where} has statistics that are no numbers: {REPAIR}") from problem
    if len(low) != len(high) or len(low) not in (1, width):
        raise DemonstrationError(f"{where} has statistics of {len(low)} entries where {width} are needed: {REPAIR}")
    return low, high


def check_bounds(array: Array, limits: tuple[Array, Array] | None, where: str, source: str) -> None:
    """Raises DemonstrationError where vectors (steps, width) lie outside of what their statistics say.

    Args:
        limits: see `bounds`.
        where: the episode and the column.
        source: whose statistics they are.
    """
    if limits is None:
        return
    low, high = limits
    values = array.reshape(len(array), -1)
    with np.errstate(all="ignore"):  # a stranger's statistics may be endless, or no numbers
        slack = SLACK * np.maximum(np.abs(low), np.abs(high))
        outside = (values < low - slack) | (values > high + slack)
    if outside.any():
        step, entry = (int(index) for index in np.argwhere(outside)[0])
        value, one = values[outside][0], (entry if len(low) > 1 else 0)
        raise DemonstrationError(
            f"{where}, step {step}, entry {entry} holds {value:.6g}, and {source} says {low[one]:.6g} to "
            f"{high[one]:.6g}: the data were altered or damaged, or {REPAIR}"
        )


REPAIR = "make the statistics again (`lerobot-edit-dataset --operation.type recompute_stats`)"
