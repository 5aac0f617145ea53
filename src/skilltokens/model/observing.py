"""What a policy is given to look at: checked in one place, before anything is computed of it.

Whoever acts on raw observations reads them through `Senses`: names, shapes, dtypes, numbers that are finite, and what
the kind of a feature asks of them. A wrong one ends in a sentence that says which feature, and where in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skilltokens.demos.kinds import ADVICE, PICTURES, SMALLEST, misread, remedy
from skilltokens.model.policy import Policy
from skilltokens.types import GOAL, Array, Feature, Observation, ObservationError, nearest


@dataclass(frozen=True)
class Sense:
    """One feature that is read."""

    name: str
    kind: str
    """See demos/kinds.py; or "flat": a vector, or a set whose slots are read side by side."""
    width: int
    """Numbers in its last dimension; of "flat" in all."""
    size: tuple[int, int] | None = None
    """Of a picture, where it is known: any size from `SMALLEST` is read."""
    slots: int | None = None
    """Of a set, where it is known: any number of slots is read."""

    @property
    def optional(self) -> bool:
        """Whether it may be left out."""
        return self.kind == "goal"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether this is the shape of a batch of it."""
        match self.kind:
            case "flat":
                return len(shape) in (2, 3) and self.width == (shape[1] if len(shape) == 2 else shape[1] * shape[2])
            case "set":
                return len(shape) == 3 and shape[2] == self.width and 0 < shape[1] == (self.slots or shape[1])
            case "image" | "float image":
                if len(shape) != 4 or shape[3] != self.width:
                    return False
                return min(shape[1:3]) >= SMALLEST if self.size is None else shape[1:3] == self.size
        return len(shape) == 2 and shape[1] == self.width

    def shown(self, rows: int | str) -> str:
        """The shape that is needed."""
        middle = {
            "set": f"{self.slots or 'slots'}, ",
            "image": "height, width, ",
            "float image": "height, width, ",
        }.get(self.kind, "")
        if self.size is not None:
            middle = "{}, {}, ".format(*self.size)
        return f"({rows}, {middle}{self.width})"


class Senses:
    """The features that a policy reads.

    Args:
        senses: one for each.
        flags: whether flags of sets and goals must be 1 or 0; else numbers above 0.5 are taken for 1.
    """

    def __init__(self, senses: Iterable[Sense], flags: bool = True) -> None:
        self.senses = tuple(senses)
        self.flags = flags
        self._names = frozenset(sense.name for sense in self.senses)
        self._goals = any(sense.optional for sense in self.senses)

    @classmethod
    def of(cls, policy: Policy, features: Mapping[str, Feature] | None = None) -> Senses:
        """What a policy reads, its task token included.

        Args:
            features: of the policy's library: they say how large its pictures are.
        """
        token, senses = policy.task_token, dict[str, Sense]()
        if token is not None:  # it reads all slots of a set
            senses |= {name: Sense(name, "flat", width) for name, width in token.features.items()}
            senses |= {name: Sense(name, "image", 3, _size(name, "image", features)) for name in token.pictures}
        for name, scale in policy.shape.scales.items():
            kind, width = policy.shape.kinds.get(name, "vector"), len(scale.center)
            slots = senses[name].width // width if kind == "set" and name in senses else None
            senses[name] = Sense(name, kind, width, _size(name, kind, features), slots)
        return cls(senses.values())

    def only(self, names: Collection[str]) -> Senses:
        """Those of these names, which may not be left out."""
        return Senses([sense for sense in self.senses if sense.name in names], self.flags)

    def without_flags(self) -> Senses:
        """The same, for numbers of chance: flags of sets and goals may be any numbers."""
        return Senses(self.senses, flags=False)

    def read(self, observation: Observation, rows: int | None = None) -> dict[str, Array]:
        """Copies of what is read, each (rows, *shape), in float32 or, of pictures, in uint8 or float32.

        Args:
            observation: raw, each feature (rows, *shape). It may have more than is read, but for goals of other names.
            rows: of the batch; None: as many as there are, but one at least.

        Raises:
            ObservationError: a feature is missing, or has another shape or dtype; or an entry is not finite, or not
                what its kind asks for.
        """
        if not isinstance(observation, Mapping):
            raise ObservationError(f"the observation is a {type(observation).__name__}: give a dictionary of arrays")
        if self._goals:
            self._check_goals(observation)
        arrays: dict[str, Array] = {}
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite, and is named
            for sense in self.senses:
                value = observation.get(sense.name)
                if value is None:
                    if sense.optional:
                        continue
                    raise ObservationError(self._missing(sense.name, observation))
                arrays[sense.name] = array = self._array(sense, value, rows)
                rows = len(array)
        return arrays

    def _array(self, sense: Sense, value: Any, rows: int | None) -> Array:
        """One feature, checked and copied."""
        try:
            given = np.asarray(value)
        except (TypeError, ValueError) as problem:
            raise ObservationError(f"{sense.name!r} cannot be read as an array ({problem})") from problem
        if not sense.fits(given.shape) or (len(given) != rows if rows is not None else not len(given)):
            raise ObservationError(_misshaped(sense, given, "rows" if rows is None else rows))
        if not _readable(sense.kind, given):
            raise ObservationError(f"{sense.name!r} has dtype {given.dtype} where {_needed(sense.kind, given)}")
        # In one order of memory, whatever the order given: a convolution's last bits depend on it.
        array = np.array(given, np.uint8 if sense.kind == "image" else np.float32, order="C")
        kind = sense.kind if self.flags or sense.kind in PICTURES else "vector"
        fault = misread(kind, array)
        if fault is not None:
            (row, *place), problem = fault
            raise ObservationError(
                f"{sense.name!r} {problem}, in row {row} at {tuple(place)}"
                f"{ADVICE.get(kind, '') if kind in PICTURES else ''}: correct the reading"
            )
        return array

    def _missing(self, name: str, observation: Observation) -> str:
        """Says that a feature is not there, and which of those that are not read may be meant."""
        others = [other for other in observation if other not in self._names]
        advice = nearest(name, others)
        if not advice.startswith("did you mean"):
            advice = f"it has {', '.join(sorted(map(str, observation))) or 'nothing'}"
        return f"the observation lacks {name!r}, which the policy reads: {advice}"

    def _check_goals(self, observation: Observation) -> None:
        """A goal of another name would be left out without a word."""
        for name in observation.keys() - self._names:
            if name.startswith(GOAL):
                known = [sense.name for sense in self.senses if sense.optional]
                raise ObservationError(f"the policy knows no goal {name!r}: {nearest(name, known)}")


def _size(name: str, kind: str, features: Mapping[str, Feature] | None) -> tuple[int, int] | None:
    if kind not in PICTURES or features is None or name not in features:
        return None
    height, width, _ = features[name].shape
    return height, width


def _readable(kind: str, array: Array) -> bool:
    """Whether an array's dtype is its kind's; whole numbers from 0 to 255 are a picture in uint8."""
    if kind == "image":
        whole = array.dtype.kind in "iu"
        return array.dtype == np.uint8 or (whole and array.min() >= 0 and array.max() <= 255)
    return array.dtype.kind == "f" if kind == "float image" else array.dtype.kind in "fiub"


def _needed(kind: str, given: Array) -> str:
    """What a feature's dtype must be, and how it becomes so."""
    if kind not in PICTURES:
        return "numbers are read"
    dtype, name = ("uint8", "uint8") if kind == "image" else ("float32", "floats from 0 to 1")
    return f"pictures in {name} are read{remedy(Feature(given.shape, dtype), Feature(given.shape, str(given.dtype)))}"


def _misshaped(sense: Sense, given: Array, rows: int | str) -> str:
    """Says that an array has another shape than is read, and what may have happened."""
    hint = ""
    if sense.fits((1, *given.shape)):
        hint = ": put a dimension of rows in front, x[None]"
    elif sense.kind in PICTURES and given.ndim == 4 and sense.fits(tuple(np.moveaxis(given, 1, -1).shape)):
        hint = ": colours come last, np.moveaxis(x, 1, -1)"
    return f"{sense.name!r} has shape {given.shape} where {sense.shown(rows)} is read{hint}"
