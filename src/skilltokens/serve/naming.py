"""The names in a request -> the library's features: openpi's, vla-eval's and our own name the same things differently.

Between the parts of a name, `/` and maps within maps stand for `.`: `observation/state`, `{"images": {"wrist": ...}}`.
`observation.` may be left out. `state` and `states` mean `observation.state`. openpi's `observation/image` and
`observation/wrist_image` mean the library's only camera of that kind: the latter has "wrist", "hand" or "gripper" in
its name, the former has not. Everything else needs `--rename`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from skilltokens.types import ACTION, GOAL, STATE, Array, Feature, ServeError, SettingError, nearest

OBSERVATION = "observation."
IMAGES = "observation.images."
WRIST = ("wrist", "hand", "gripper")
"""Words in the names of cameras that look from the hand."""
DEPTH = 4
"""Maps within maps."""


def dotted(name: str) -> str:
    """A name as the library has it."""
    return name.replace("/", ".")


def renames(words: Sequence[str], features: Mapping[str, Feature]) -> dict[str, str]:
    """NAME=FEATURE, each as it is typed -> name in requests, dotted -> feature.

    Raises:
        SettingError: one is no such pair, or the library has no such feature.
    """
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, feature = word.partition("=")
        known = [known for known in features if known != ACTION]
        if not name or not equals:
            raise SettingError(f"rename {word!r} is no pair: write NAME=FEATURE, such as observation/image={known[-1]}")
        if dotted(feature) not in known:
            raise SettingError(f"rename {word!r}: the library has no feature {feature!r}: {nearest(feature, known)}")
        pairs[dotted(name)] = dotted(feature)
    return pairs


def names_of(features: Mapping[str, Feature], renamed: Mapping[str, str]) -> dict[str, str]:
    """Every name, dotted, that a request may use -> the feature that it means. `renamed` goes before our own rules."""
    seen = [name for name in features if name != ACTION]
    names = {name.removeprefix(OBSERVATION): name for name in seen}
    cameras = [name for name in seen if len(features[name].shape) == 3]
    at_hand = [name for name in cameras if any(word in name.lower() for word in WRIST)]
    others = [name for name in cameras if name not in at_hand]
    for name, meant in (("image", others), ("wrist_image", at_hand)):
        if len(meant) == 1:
            names.setdefault(name, meant[0])
    if STATE in seen:
        names.setdefault("states", STATE)
    names = {**names, **{OBSERVATION + name: feature for name, feature in names.items()}}
    return {**names, **{name: name for name in seen}, **renamed}


class Naming:
    """What one skill reads, found in requests.

    Args:
        features: what it reads, by name: `observation.goal.*` may be left out.
        known: what else the library knows, and this skill does not look at.
        renamed: name in requests, dotted -> feature.
    """

    def __init__(
        self, features: Mapping[str, Feature], known: Mapping[str, Feature], renamed: Mapping[str, str]
    ) -> None:
        self.features = dict(features)
        self.names = names_of({**known, **features}, renamed)

    def read(self, entries: Mapping[Any, Any]) -> tuple[dict[str, Array], list[str]]:
        """The observation, each feature (1, *shape), and the names of what nobody reads.

        Raises:
            ServeError: something is missing, comes twice, or is not of the feature's shape and kind; one sentence.
        """
        observation: dict[str, Array] = {}
        origin: dict[str, str] = {}
        unused: list[str] = []
        for name, value in _flat(entries):
            feature = self.names.get(dotted(name))
            if feature not in self.features:
                unused.append(name[:100])
                continue
            if feature in observation:
                raise ServeError(f"{origin[feature]!r} and {name!r} both mean {feature!r}: send one of them")
            observation[feature] = fitted(name, value, feature, self.features[feature])[None]
            origin[feature] = name
        for feature in self.features:
            if feature not in observation and not feature.startswith(GOAL):
                sent = f"what came is {', '.join(map(repr, unused))}" if unused else "nothing else came"
                raise ServeError(f"the request lacks {feature!r}, which the skill reads; {sent:.300}")
        return observation, unused


def _flat(entries: Mapping[Any, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """The entries of maps within maps, by their names with dots between."""
    for key, value in entries.items():
        if not isinstance(key, str):
            raise ServeError(f"a name in the request is {type(key).__name__}: use text")
        if isinstance(value, Mapping):
            if depth == DEPTH:
                raise ServeError(f"the request has more than {DEPTH} maps within each other")
            yield from _flat(value, f"{before}{key}.", depth + 1)
        else:
            yield before + key, value


def fitted(name: str, value: Any, feature: str, kind: Feature) -> Array:
    """A value of a request as an array of the feature's dtype, (*shape).

    Numbers of a vector may come as any number that holds no more than a float; a picture must be of its own dtype.

    Raises:
        ServeError: its shape or dtype is another, or a number is not finite.
    """
    what = f"{name!r}" if dotted(name) == feature else f"{name!r} ({feature})"
    try:
        array = np.asarray(value)
    except ValueError:
        raise ServeError(f"{what} is a list of lists of different lengths: send an array {kind.shape}") from None
    if array.dtype.kind not in "biuf":
        raise ServeError(f"{what} is {type(value).__name__}, not numbers: send an array {kind.shape} of {kind.dtype}")
    if array.shape != kind.shape:
        raise ServeError(f"{what} has the shape {array.shape}: the skill reads {kind.shape}")
    dtype = np.dtype(kind.dtype)
    if array.dtype != dtype and (len(kind.shape) == 3 or not np.can_cast(array.dtype, dtype, "same_kind")):
        raise ServeError(f"{what} has the dtype {array.dtype}: the skill reads {dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        entry = tuple(int(place) for place in np.argwhere(~np.isfinite(array))[0])
        raise ServeError(f"{what} is not finite at entry {entry[0] if len(entry) == 1 else entry}")
    return array
