"""How a policy reads a feature, which its name, shape and dtype decide, and what its numbers must be to be read so.

    kind          shape                      what a policy takes it for
    vector        (n,)                       numbers, of any dtype
    goal          (1 + n,), observation.goal.*   the same, behind a number that is 1 where the goal is given, else 0
    set           (slots, n)                 things; the first number of a slot is 1 where there is one, else 0
    image         (height, width, colours)   a picture in uint8, 0 to 255
    float image   (height, width, colours)   a picture in floats, 0 to 1

Numbers of any dtype are the same to a policy, which is given float32: a button is 1 or 0 as bool, uint8 or float.
Pictures in uint8 and in floats are not: 1 is white in one, and all but black in the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from skilltokens.types import ACTION, GOAL, Array, DemonstrationError, Feature

if TYPE_CHECKING:
    from skilltokens.demos.store import DemonstrationStore

Kind = Literal["vector", "goal", "set", "image", "float image"]
NUMBERS = ("vector", "goal", "set")
"""Kinds whose constants are measured."""
PICTURES = ("image", "float image")
SMALLEST = 32
"""Pixels that a picture has at least, in height and in width."""
COLOURS = 31
"""Colours that a picture has at most."""
_PIECE = 1 << 24  # bytes read at a time

Place = tuple[int, ...]


def kind_of(name: str, feature: Feature) -> Kind | None:
    """How a policy reads a feature; None where it cannot, `unread` says why."""
    shape, dtype = feature.shape, feature.dtype
    match len(shape):
        case 1:
            return "goal" if name.startswith(GOAL) and shape[0] > 1 else "vector"
        case 2:
            return "set"
        case 3 if min(shape[:2]) >= SMALLEST and shape[2] <= COLOURS:
            return "image" if dtype == "uint8" else "float image" if dtype.startswith("float") else None
    return None


def unread(feature: Feature) -> str:
    """Why no policy reads a feature that has no kind."""
    shape = feature.shape
    if len(shape) != 3:
        return f"it has {len(shape)} dimensions, where 1 to 3 can be read"
    if shape[2] > COLOURS:
        return "colours must come last" if shape[0] <= COLOURS else f"a picture has {COLOURS} colours at most"
    if min(shape[:2]) < SMALLEST:
        return f"a picture needs {SMALLEST} x {SMALLEST} pixels at least"
    return "a picture needs uint8, or floats in 0 to 1"


def as_read(name: str, feature: Feature) -> Feature:
    """A feature in the dtype that a policy is given: float32 for all but pictures in uint8."""
    return feature if kind_of(name, feature) == "image" else Feature(feature.shape, "float32")


# ---------------------------------------------------------------- comparing


def alike(one: Feature | None, other: Feature | None) -> bool:
    """Whether a policy reads two features alike: their shapes are equal, and so are the dtypes of pictures.

    Vectors and sets of any dtype are numbers, and floats of any precision are floats.
    """
    if one is None or other is None or one.shape != other.shape:
        return one is other
    return len(one.shape) < 3 or _sort(one.dtype) == _sort(other.dtype)


def _sort(dtype: str) -> str:
    return "float" if dtype.startswith("float") else dtype


def difference(ours: Mapping[str, Feature], theirs: Mapping[str, Feature], others: bool = False) -> str | None:
    """The name of the first feature that is not `alike` in both, by the alphabet; None where there is none.

    Args:
        others: `theirs` may have further features.
    """
    names = ours.keys() if others else ours.keys() | theirs.keys()
    return next((name for name in sorted(names) if not alike(ours.get(name), theirs.get(name))), None)


def shown(feature: Feature | None) -> str:
    """`float32 (32, 32, 3)`, or `absent`."""
    return "absent" if feature is None else f"{feature.dtype} {feature.shape}"


def remedy(needed: Feature | None, given: Feature | None) -> str:
    """How to make a picture what is needed, as a clause behind a semicolon; empty where its dtype is not the matter."""
    if needed is None or given is None or needed.shape != given.shape or len(needed.shape) < 3:
        return ""
    if needed.dtype == "uint8":
        return "; np.round(255 * x).astype(np.uint8) converts pictures x in 0 to 1"
    return "; x / np.float32(255) converts pictures x in uint8" if given.dtype == "uint8" else ""


def unseen(features: Mapping[str, Feature], seen: Collection[str], why: str) -> str | None:
    """A sentence that names the observations among `features` that a policy does not look at; None where there is none.

    Args:
        seen: those that it looks at.
        why: it does not look at one that it could.
    """
    reasons = [
        f"{name!r} ({shown(feature)}: {why if kind_of(name, feature) else unread(feature)})"
        for name, feature in features.items()
        if name != ACTION and name not in seen
    ]
    return f"the policy does not look at {'; nor at '.join(reasons)}" if reasons else None


# ---------------------------------------------------------------- what the numbers must be


def misread(kind: str, values: Array) -> tuple[Place, str] | None:
    """The first entry of numbers (rows, *shape) that is not what such a feature holds, and what it is; or None.

    Everything is finite, pictures in floats lie in 0 to 1, and flags of sets and goals are 1 or 0, full slots first.
    """
    if kind == "image":
        return None
    if kind == "float image":
        if values.min() >= 0 and values.max() <= 1:  # false for what is no number
            return None
        bad = ~((values >= 0) & (values <= 1))
    else:
        bad = ~np.isfinite(values)
    if bad.any():
        return _place(bad), f"holds {values[_place(bad)]:.6g}" + ", outside of 0 to 1" * (kind == "float image")
    return misflagged(kind, values)


def misflagged(kind: str, values: Array) -> tuple[Place, str] | None:
    """The same for the flags of a set (rows, slots, n) or a goal (rows, 1 + n) alone; None for other kinds."""
    if kind not in ("set", "goal"):
        return None
    flags = values[..., 0]
    bad = (flags != 0) & (flags != 1)
    if bad.any():
        place = (*_place(bad), 0)
        what = "a thing" if kind == "set" else "the goal"
        return place, f"holds {values[place]:.6g} where 1 says that there is {what}, and 0 that there is none"
    if kind == "set" and flags.shape[1] > 1 and (late := flags[:, 1:] > flags[:, :-1]).any():
        row, slot = _place(late)
        return (row, slot + 1, 0), "has a full slot behind an empty one, where full ones come first"
    return None


def _place(bad: Array) -> Place:
    return tuple(int(number) for number in np.argwhere(bad)[0])


ADVICE = {
    "set": "; (slots, n) is a set of things: put such a flag in front of each, or store numbers that are no things as "
    "a vector (slots * n,) and a grey picture as (height, width, 1)",
    "goal": "; put such a flag in front of its numbers, or name it otherwise than observation.goal.*",
    "float image": "; store pictures in uint8, or divide their numbers by the largest that there can be",
}


def check_readings(store: DemonstrationStore, names: Iterable[str]) -> None:
    """Reads what a policy looks at in a store, where its numbers may not be what they are taken for.

    Args:
        names: the features that the policy looks at.

    Raises:
        DemonstrationError: a set or a goal without flags, or a picture in floats outside of 0 to 1.
    """
    for name in names:
        kind = kind_of(name, store.features[name])
        if kind not in ADVICE:
            continue
        array = store[name]
        rows = max(1, _PIECE * len(array) // max(1, array.nbytes))
        for start in range(0, len(array), rows):
            piece = array[start : start + rows]
            fault = misread(kind, piece) if kind == "float image" else misflagged(kind, piece)
            if fault is not None:
                (row, *place), problem = fault
                raise DemonstrationError(
                    f"{store.path}: {_moment(store, start + row)}, feature {name!r}, entry {tuple(place)} {problem}"
                    f"{ADVICE[kind]}"
                )


def _moment(store: DemonstrationStore, row: int) -> str:
    episode = int(np.searchsorted(np.asarray(store.offsets), row, side="right")) - 1
    return f"episode {episode}, step {row - int(store.offsets[episode])}"


def wrong_observation(values: Array, feature: Feature) -> str | None:
    """What is wrong with one observation (*shape) of a feature, as a clause; None where nothing is.

    It must have the shape, be finite, and be the same numbers in the feature's dtype, up to the precision of floats;
    pictures in floats are none in uint8, nor the reverse.
    """
    if values.shape != feature.shape:
        return f"has shape {values.shape} where the suite declares {feature.shape}"
    kind, dtype = values.dtype.kind, np.dtype(feature.dtype)
    if kind == "f" and not np.isfinite(values).all():
        return "is not finite: the simulation has diverged"
    picture = values.ndim > 2 and (kind if kind in "fb" else "i") != (dtype.kind if dtype.kind in "fb" else "i")
    if kind not in "fiub" or picture or not _same_numbers(values, dtype):
        how = remedy(feature, Feature(values.shape, str(values.dtype)))
        return f"is {values.dtype} where the suite declares {dtype}{how}"
    return None


def _same_numbers(values: Array, dtype: np.dtype) -> bool:
    if values.dtype == dtype or dtype.kind == "f":
        return True
    with np.errstate(invalid="ignore"):  # what the dtype cannot hold becomes something else, which is seen
        return bool((values.astype(dtype) == values).all())
