"""Scenes moved aside while training: a demonstration as if all of it had been given some centimetres elsewhere.

Actions say how the hand moves, not where it is, so where hand, things and goal move together the same actions are
right. It is what random translation is for pictures (RAD, arXiv 2004.14990), for poses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.demos.kinds import PICTURES, kind_of
from skilltokens.settings import TrainSettings
from skilltokens.types import ACTION, Feature, SettingError, Suite

Places = Mapping[str, tuple[int, ...]]
"""Feature -> where the x of each place stands in it, with y behind it. In a set: in each of its slots."""


def moved_in(train: TrainSettings, suite: Suite) -> Places:
    """The places that a training on a suite's demonstrations moves; raises SettingError as `places_of` does."""
    return places_of(train, suite.features, getattr(suite, "places", None), f"suite {suite.name!r}")


def places_of(train: TrainSettings, features: Mapping[str, Feature], declared: Places | None, source: str) -> Places:
    """The places that a training moves: those that its settings name, else those that the suite declares.

    Args:
        features: what is seen, and the action.
        declared: a suite's `places`, which count where all of them are seen; None: it has none.
        source: what the features belong to, for messages.

    Returns:
        Nothing where `train.shift` is 0.

    Raises:
        SettingError: places are named that are none, or nothing says where places are, or pictures are seen: what they
            show would not move.
    """
    named: dict[str, tuple[int, ...]] = {}
    for name, indices in (_named(text, features, source) for text in train.places):
        named[name] = tuple(sorted({*named.get(name, ()), *indices}))
    if not train.shift:
        return {}
    pictures = [name for name, feature in features.items() if kind_of(name, feature) in PICTURES]
    if pictures:
        raise SettingError(
            f"train.shift moves numbers, and {source} has pictures ({pictures[0]}), which would still show all where "
            "it was: use 0"
        )
    places = named or declared or {}
    if not places or not places.keys() <= features.keys():  # half a scene must not move without the rest
        raise SettingError(
            f"train.shift is impossible: {source} does not say which of its numbers are places. Name them by "
            "train.places, such as observation.state:0 where its first two numbers are x and y"
        )
    return places


def _named(text: str, features: Mapping[str, Feature], source: str) -> tuple[str, tuple[int, ...]]:
    """FEATURE:INDEX,INDEX as a feature and its indices."""
    name, _, numbers = text.rpartition(":")
    feature = features.get(name)
    if feature is None or name == ACTION or kind_of(name, feature) in (*PICTURES, None):
        known = [n for n, f in features.items() if n != ACTION and kind_of(n, f) not in (*PICTURES, None)]
        raise SettingError(
            f"train.places {text!r} names no numbers that {source} sees: write FEATURE:INDEX,INDEX with one of "
            f"{', '.join(known) or 'none'}"
        )
    last = feature.shape[-1] - 2
    indices = numbers.split(",")
    if not all(index.isdecimal() and int(index) <= last for index in indices):
        raise SettingError(
            f"train.places {text!r} must give for each place the index of its x, with y behind it: whole numbers "
            f"from 0 to {last}, such as {name}:0"
        )
    return name, tuple(map(int, indices))


def shifted(
    features: Mapping[str, NDArray[Any]], places: Places, reach: float, generator: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Windows whose places have moved aside in x and y, those of one window all by the same.

    Args:
        features: of B windows of T steps, each (B, T, *shape).
        reach: how far at most in x and in y, in the features' own units; drawn uniformly.

    Returns:
        The same features; a place that is (0, 0) stays: there is nothing there.
    """
    windows = len(next(iter(features.values())))
    aside = generator.uniform(-reach, reach, (windows, 2)).astype(np.float32)
    moved = dict(features)
    for name, indices in places.items():
        value = moved[name].copy()
        steps = aside.reshape(windows, *(1,) * (value.ndim - 2), 2)
        for index in indices:
            there = (value[..., index : index + 2] != 0).any(-1, keepdims=True)
            value[..., index : index + 2] += (steps * there).astype(value.dtype)
        moved[name] = value
    return moved
