"""What a Gymnasium environment observes, as features: parts of its observation, found by its observation space.

| space | feature |
|---|---|
| Box of uint8, (height, width, colours) | a picture |
| Box of numbers | float32, in its own shape |
| Discrete, MultiDiscrete | one-hot: one number for each value, since values have no order |
| MultiBinary | 0 and 1 |
| Dict in a Dict | one feature for each of its entries |

An observation may lie beyond the bounds of its Box, which nothing here reads; its shape and kind must be what its space
says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.spaces import Dict as DictSpace

from skilltokens.demos.kinds import wrong_observation
from skilltokens.types import Array, Feature, SuiteError, nearest

Part = slice | str
"""Which part of an environment's observation makes a feature: entries of a vector, or a key of a dictionary, "goal/xy"
for a dictionary in it."""

MOST = 1000
"""Values of a Discrete space that are shown one-hot, at most."""
OBSERVATION = "observation"
_GROUPS = ("images", "goal")
"""What may stand between "observation." and a feature's own name."""


@dataclass(frozen=True)
class _Reading:
    """How one feature is read."""

    keys: tuple[str, ...]
    """Of the dictionaries that lead to it."""
    space: Space[Any]
    """Of what lies there."""
    part: slice | None
    """The entries of a vector; None: all."""
    feature: Feature


class Reader:
    """Cuts a suite's features out of an environment's own observations.

    Args:
        space: the environment's observation space.
        parts: feature -> the part that makes it.
        where: the environment, for messages.

    Raises:
        SuiteError: there is no such part, or nothing can be made of it.
    """

    def __init__(self, space: Space[Any], parts: Mapping[str, Part], where: str) -> None:
        self.where = where
        self._readings = {name: _reading(space, part, where) for name, part in parts.items()}
        self.features: dict[str, Feature] = {name: reading.feature for name, reading in self._readings.items()}

    def read(self, raw: Any) -> dict[str, Array]:
        """The features now; copies, since environments reuse their arrays.

        Raises:
            SuiteError: the observation is not what its space says, or is not finite.
        """
        return {name: self._one(name, reading, raw) for name, reading in self._readings.items()}

    def check(self, features: Mapping[str, Feature]) -> None:
        """Raises SuiteError unless these features are what is observed: those of the suite's first task."""
        for name, feature in self.features.items():
            if feature != features[name]:
                raise SuiteError(
                    f"{self.where} observes {name} of shape {feature.shape} where the first task has "
                    f"{features[name].shape}: all tasks of a suite need the same observations"
                )

    def _one(self, name: str, reading: _Reading, raw: Any) -> Array:
        value = raw
        for key in reading.keys:
            try:
                value = value[key]
            except (KeyError, TypeError, IndexError):
                raise SuiteError(f"{self.where} left {key!r} out of its observation, where {name} is read") from None
        array = _numbers(reading.space, value)
        if array is None:
            observed = value if np.ndim(value) == 0 else f"{np.asarray(value).dtype} {np.shape(value)}"
            raise SuiteError(
                f"{self.where} observes {name} as {observed} where its observation space says {reading.space}: correct "
                "one of them"
            )
        if reading.part is not None:
            array = array[reading.part]
        problem = wrong_observation(array.reshape(reading.feature.shape), reading.feature)
        if problem is not None:
            raise SuiteError(f"{self.where}: {name} {problem}")
        with np.errstate(over="ignore"):
            cast = np.array(array, reading.feature.dtype).reshape(reading.feature.shape)
        if not np.isfinite(cast).all():
            raise SuiteError(f"{self.where}: {name} is too large a number for {reading.feature.dtype}")
        return cast


def entries(space: DictSpace) -> dict[str, str]:
    """Feature -> part, for everything in a dictionary of observations.

    A feature is called by its key, one in a dictionary by both: "goal.xy". Keys that Stable-Baselines3 can take, which
    have no dots, name LeRobot's features too: `observation_state` is `observation.state`.
    """
    parts: dict[str, str] = {}
    for key, entry in space.spaces.items():
        if isinstance(entry, DictSpace):
            parts |= {f"{key}.{name}": f"{key}/{part}" for name, part in entries(entry).items()}
        else:
            parts[_dotted(key) if _dotted(key) not in space.spaces else key] = key
    return parts


def undotted(name: str) -> str:
    """A feature's name as Stable-Baselines3's own policies can take it: `observation_state`."""
    return name.replace(".", "_").replace("/", "_")


def feature_space(shape: tuple[int, ...], dtype: str) -> Box:
    """The Gymnasium space of a feature: a picture in uint8, and stacked ones; all else are numbers without bounds."""
    picture = dtype == "uint8" and len(shape) > 2
    return Box(0, 255, shape, np.uint8) if picture else Box(-np.inf, np.inf, shape, np.float32)


def _dotted(key: str) -> str:
    first, _, rest = key.partition("_")
    if first != OBSERVATION or not rest:
        return key
    group, _, name = rest.partition("_")
    return f"{OBSERVATION}.{group}.{name}" if group in _GROUPS and name else f"{OBSERVATION}.{rest}"


def _reading(space: Space[Any], part: Part, where: str) -> _Reading:
    keys: tuple[str, ...] = ()
    leaf, entry_slice = space, None
    if isinstance(part, str):
        keys, leaf = _follow(space, part, where)
    elif isinstance(space, Box) and len(space.shape) >= 1:
        entry_slice = part
    elif part != slice(None):
        leaf = DictSpace({})  # a slice of something that has no order
    feature = _feature(leaf)
    if feature is not None and entry_slice is not None:
        feature = Feature(np.empty(feature.shape, bool)[entry_slice].shape, feature.dtype)
    if feature is None or 0 in feature.shape:
        raise SuiteError(
            f"{where}: the observation space {space} has no part {part!r} that a feature can be made of: use a slice "
            "for a vector, a key for a dictionary of vectors and images"
        )
    return _Reading(keys, leaf, entry_slice, feature)


def _follow(space: Space[Any], part: str, where: str) -> tuple[tuple[str, ...], Space[Any]]:
    """The keys that lead to a part, and the space of what lies there."""
    if not isinstance(space, DictSpace):
        return (), DictSpace({})
    if part in space.spaces:
        return (part,), space.spaces[part]
    first, slash, rest = part.partition("/")
    if slash and first in space.spaces:
        keys, leaf = _follow(space.spaces[first], rest, where)
        return (first, *keys), leaf
    raise SuiteError(f"{where}: there is no observation {part!r}: {nearest(part, list(space.spaces))}")


def _feature(space: Space[Any]) -> Feature | None:
    """The feature that a space makes; None for one that makes none."""
    if isinstance(space, Box) and space.dtype.kind in "biuf":
        picture = space.dtype == np.uint8 and len(space.shape) == 3
        return Feature(space.shape or (1,), "uint8" if picture else "float32")
    if isinstance(space, Discrete) and space.n <= MOST:
        return Feature((int(space.n),))
    if isinstance(space, MultiDiscrete) and space.nvec.sum() <= MOST:
        return Feature((int(space.nvec.sum()),))
    if isinstance(space, MultiBinary):
        return Feature((int(np.prod(space.shape)),))
    return None


def _numbers(space: Space[Any], value: Any) -> Array | None:
    """An observation as numbers; None where it is not what its space says."""
    try:
        array = np.asarray(value)
    except Exception:  # whatever somebody's environment gives
        return None
    if array.dtype.kind not in "biuf":
        return None
    if isinstance(space, Discrete):
        return _one_hot(array.reshape(-1), np.array([space.n]), np.array([space.start])) if array.size == 1 else None
    if array.shape != space.shape and not (isinstance(space, Box) and space.shape == () and array.size == 1):
        return None
    if isinstance(space, MultiDiscrete):
        return _one_hot(array.reshape(-1), space.nvec.reshape(-1), space.start.reshape(-1))
    return array


def _one_hot(values: Array, counts: Array, starts: Array) -> Array | None:
    """Values (n,) of n spaces, each as one number for each value that it may have, 1 at the one it has."""
    places = values - starts
    if (places != np.rint(places)).any() or (places < 0).any() or (places >= counts).any():
        return None
    ends = np.concatenate([[0], np.cumsum(counts)])
    shown = np.zeros(int(ends[-1]), np.float32)
    shown[ends[:-1].astype(int) + places.astype(int)] = 1
    return shown
