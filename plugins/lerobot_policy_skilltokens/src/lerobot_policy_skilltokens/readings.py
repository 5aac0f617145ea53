"""LeRobot's batches as a library's observations: the same numbers, in the library's own dtypes and order of axes.

LeRobot gives every number as a float, and pictures as floats in 0 to 1 with the colours in front. A library of pictures
in 0 to 255 gets the very bytes that the camera gave; what cannot be turned back for certain is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skilltokens.types import ACTION, GOAL, Array, Feature, SettingError


def observation_of(batch: Mapping[str, Any], features: Mapping[str, Feature]) -> dict[str, Array]:
    """The library's observation (B, *shape) for each feature, from a batch of tensors.

    Raises:
        SettingError: a feature is missing, or cannot be the library's for certain.
    """
    observation: dict[str, Array] = {}
    for name, feature in features.items():
        if name == ACTION or (name not in batch and name.startswith(GOAL)):
            continue
        if name not in batch:
            names = ", ".join(sorted(key for key in batch if key.startswith("observation.")))
            raise SettingError(
                f"the batch has no {name!r}, which the library observes: it has {names or 'no observation'}; "
                "--rename_map gives a feature another name"
            )
        values = np.asarray(batch[name].detach().cpu().numpy())
        pictured = len(feature.shape) == 3
        observation[name] = _picture(name, values, feature) if pictured else _numbers(name, values, feature)
    return observation


def _picture(name: str, values: Array, feature: Feature) -> Array:
    """A picture (B, height, width, colours), from one with the colours in front or behind."""
    height, width, colours = feature.shape
    if values.shape[1:] == (colours, height, width):
        values = np.moveaxis(values, 1, 3)
    elif values.shape[1:] != feature.shape:
        raise SettingError(
            f"{name!r} is a picture of shape {values.shape[1:]} where the library observes (colours, height, width) of "
            f"{(colours, height, width)}: give it the camera's own size"
        )
    if feature.dtype != "uint8" or values.dtype == np.uint8:
        return _numbers(name, values, feature)
    if not (np.isfinite(values).all() and values.min(initial=0) >= 0 and values.max(initial=0) <= 1):
        raise SettingError(
            f"{name!r} is a picture of floats from {values.min():g} to {values.max():g} where the library observes "
            "bytes: give floats in 0 to 1, as LeRobot does, or uint8"
        )
    return np.ascontiguousarray(np.rint(values * 255).astype(np.uint8))


def _numbers(name: str, values: Array, feature: Feature) -> Array:
    """The same numbers in the feature's dtype."""
    if values.shape[1:] != feature.shape:
        raise SettingError(f"{name!r} has shape {values.shape[1:]} where the library observes {feature.shape}")
    kind = np.dtype(feature.dtype)
    if kind.kind == "f":
        return np.ascontiguousarray(values.astype(kind))
    whole = np.rint(np.nan_to_num(values.astype(np.float64)))
    cast = whole.astype(kind)
    if not (np.isfinite(values).all() and (whole == values).all() and (cast == whole).all()):
        raise SettingError(f"{name!r} has values that are no {feature.dtype}, which the library observes")
    return cast
