"""What an array of someone else's file is: a vector, a picture, depth, or a picture as a JPEG or PNG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeGuard

import h5py
import numpy as np

COLOURS = (1, 3, 4)
"""How many numbers a pixel has: grey, red-green-blue, or these and how opaque it is."""
_DEPTH = re.compile(r"(^|_)depths?(_|$)")
_ENCODED = (b"\xff\xd8", b"\x89PNG")


def is_vector(entry: object) -> TypeGuard[h5py.Dataset]:
    """Numbers (steps, n), or what holds the same: (steps,), (steps, 1, n) and (steps, n, 1)."""
    return (
        isinstance(entry, h5py.Dataset)
        and entry.dtype.kind in "fiub"
        and is_flat(entry.shape)
        and not is_encoded(entry)
    )


def is_picture(entry: object) -> TypeGuard[h5py.Dataset]:
    """Pictures (steps, height, width, colours) or (steps, colours, height, width), in uint8 or in floats."""
    if not isinstance(entry, h5py.Dataset) or entry.ndim != 4 or is_depth(entry):
        return False
    return entry.dtype == np.uint8 or (entry.dtype.kind == "f" and 3 in (entry.shape[1], entry.shape[3]))


def is_depth(entry: object) -> bool:
    """Distances, (steps, height, width) or with one number a pixel, in floats or so called: no policy here reads it."""
    if not isinstance(entry, h5py.Dataset) or entry.dtype.kind not in "fiu" or entry.ndim not in (3, 4):
        return False
    named = bool(_DEPTH.search(str(entry.name).rpartition("/")[2]))
    return (named and not is_vector(entry)) or (entry.ndim == 4 and entry.dtype.kind == "f" and entry.shape[3] == 1)


def is_encoded(entry: object) -> TypeGuard[h5py.Dataset]:
    """Pictures as the bytes of a JPEG or PNG for each step: texts, or rows of uint8."""
    if not isinstance(entry, h5py.Dataset) or entry.ndim not in (1, 2) or not len(entry) or 0 in entry.shape:
        return False
    if entry.dtype.kind not in "SOV" and (entry.dtype != np.uint8 or entry.ndim != 2):
        return False
    first = entry[0]
    if isinstance(first, np.ndarray | np.void):
        first = first.tobytes()
    return isinstance(first, bytes) and first.startswith(_ENCODED)


def unread_kind(entry: object) -> str:
    """What an array is that no feature is made of by itself, in a word; empty where one can be."""
    return "depth" if is_depth(entry) else "JPEG or PNG" if is_encoded(entry) else ""


def has_colours_first(shape: Sequence[int]) -> bool:
    """Whether the shape of a picture is (colours, height, width)."""
    return shape[0] in COLOURS and shape[2] not in COLOURS


def is_flat(shape: Sequence[int]) -> bool:
    """Whether an array of this shape holds a vector a step: (steps,), (steps, n), (steps, 1, n) or (steps, n, 1)."""
    return 1 <= len(shape) <= 3 and sum(size != 1 for size in shape[1:]) <= 1
