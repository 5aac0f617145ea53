"""LeRobot's batches as a library's observations.

LeRobot gives pictures as floats in 0 to 1 with the colours in front. A library of pictures in uint8 gets the very bytes
that the camera gave; what cannot be turned back for certain is refused. Numbers go to the library as they are, which
checks them (`skilltokens.model.observing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skilltokens.demos.kinds import PICTURES, kind_of
from skilltokens.types import ACTION, Array, Feature, ObservationError


def observation_of(batch: Mapping[str, Any], features: Mapping[str, Feature]) -> dict[str, Array]:
    """What a batch of tensors has of a library's features, each (B, *shape).

    Raises:
        ObservationError: a picture cannot be the library's for certain.
    """
    observation: dict[str, Array] = {}
    for name, feature in features.items():
        if name != ACTION and name in batch:
            values = batch[name].detach().cpu().numpy()
            observation[name] = _picture(name, values, feature) if kind_of(name, feature) in PICTURES else values
    return observation


def _picture(name: str, values: Array, feature: Feature) -> Array:
    """A picture (B, height, width, colours) in the library's dtype, from one with the colours in front or behind."""
    height, width, colours = feature.shape
    if values.shape[1:] == (colours, height, width):
        values = np.moveaxis(values, 1, 3)
    elif values.shape[1:] != feature.shape:
        raise ObservationError(
            f"{name!r} is a picture of shape {values.shape[1:]} where the library has {height} x {width} pixels in "
            f"{colours} colours: LeRobot has it as {(colours, height, width)}"
        )
    if (values.dtype == np.uint8) == (feature.dtype == "uint8"):
        return values
    if values.dtype == np.uint8:
        return values / np.float32(255)
    if not (np.isfinite(values).all() and values.min(initial=0) >= 0 and values.max(initial=0) <= 1):
        raise ObservationError(
            f"{name!r} is a picture of floats from {values.min():g} to {values.max():g} where the library observes "
            "uint8: give floats in 0 to 1, as LeRobot does, or uint8"
        )
    return np.rint(values * 255).astype(np.uint8)
