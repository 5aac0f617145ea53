"""By which numbers what a skill sees and does is scaled for the policy: (x - center) / unit, entry by entry.

They are the skill's own, measured on its demonstrations as the policy's base wants it: mean and deviation, or the
middle and half the width of a range. A base that was taught one task may have seen a reading that never moved: its
deviation is 0, and a new task's readings become millions. So units have a floor. Pictures and words stay as the base
has them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from skilltokens.demos import DemonstrationStore
from skilltokens.demos.kinds import kind_of
from skilltokens.types import ACTION, Array

FLOOR, ACTION_FLOOR = 0.02, 0.1
"""The least units, in the data's own: of observations and of actions."""
CENTER, UNIT = ".center", ".unit"
Spread = tuple[float, float] | None
"""How a unit is measured: from one quantile to another, (0, 1) being the smallest and the largest value; None: the
deviation."""
WHOLE: Spread = (0.0, 1.0)


def measured(store: DemonstrationStore, spreads: Mapping[str, Spread] | None = None) -> dict[str, Tensor]:
    """Center and unit of the vectors of a store: `<feature>.center`, `<feature>.unit`, float32.

    Args:
        spreads: of which features, and how; None: of every vector and the action, by mean and deviation.
    """
    if spreads is None:
        spreads = {n: None for n, one in store.features.items() if n == ACTION or kind_of(n, one) == "vector"}
    numbers: dict[str, Tensor] = {}
    for name, spread in spreads.items():
        values = np.asarray(store[name], np.float64)
        if spread is None:
            numbers |= scale_of(name, values.mean(0), values.std(0))
        else:
            low, high = np.quantile(values, spread, axis=0)
            numbers |= scale_of(name, (low + high) / 2, (high - low) / 2)
    return numbers


def scale_of(name: str, center: Array, unit: Array) -> dict[str, Tensor]:
    """The two entries of a feature; no unit is below the floor."""
    unit = np.maximum(unit, ACTION_FLOOR if name == ACTION else FLOOR)
    return {
        name + part: torch.from_numpy(np.asarray(values, np.float32).copy())
        for part, values in ((CENTER, center), (UNIT, unit))
    }


def scaled(batch: Mapping[str, Tensor], statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch as the policy sees it; what has no statistics, or is none (`action: None`), stays as it is."""
    return {
        name: (value - statistics[name + CENTER].to(value.device)) / statistics[name + UNIT].to(value.device)
        if name + CENTER in statistics and isinstance(value, Tensor)
        else value
        for name, value in batch.items()
    }


def in_units(action: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
    """Actions (..., A) of the policy in the data's own units."""
    if ACTION + CENTER not in statistics:
        return action
    return action * statistics[ACTION + UNIT].to(action.device) + statistics[ACTION + CENTER].to(action.device)


def plain(statistics: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """As JSON has them."""
    return {name: value.tolist() for name, value in statistics.items()}


def from_plain(content: Mapping[str, list[float]]) -> dict[str, Tensor]:
    """The reverse of `plain`. Raises ValueError, TypeError or AttributeError for anything else."""
    numbers = {str(name): torch.tensor([float(x) for x in values]) for name, values in content.items()}
    if not all(bool(torch.isfinite(value).all()) for value in numbers.values()):
        raise ValueError("its statistics are not finite")
    return numbers
