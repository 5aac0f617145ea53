"""What a skill was taught on, in numbers: mean and deviation of its vectors, by which they are scaled for the policy.

They are the skill's own. A base that was taught one task may have seen a reading that never moved: its deviation is 0,
and a new task's readings become millions. So deviations have a floor. Pictures and words stay as the base has them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from skilltokens.demos import DemonstrationStore
from skilltokens.demos.kinds import kind_of
from skilltokens.types import ACTION

FLOOR, ACTION_FLOOR = 0.02, 0.1
"""The least deviations, in the data's own units."""
MEAN, DEVIATION = ".mean", ".std"


def measured(store: DemonstrationStore) -> dict[str, Tensor]:
    """Mean and deviation of every vector of a store: `<feature>.mean`, `<feature>.std`, float32."""
    numbers: dict[str, Tensor] = {}
    for name, feature in store.features.items():
        if kind_of(name, feature) != "vector" and name != ACTION:
            continue
        values = np.asarray(store[name], np.float64)
        floor = ACTION_FLOOR if name == ACTION else FLOOR
        numbers[name + MEAN] = torch.from_numpy(values.mean(0).astype(np.float32))
        numbers[name + DEVIATION] = torch.from_numpy(np.maximum(values.std(0), floor).astype(np.float32))
    return numbers


def scaled(batch: Mapping[str, Tensor], statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch as the policy sees it; what has no statistics stays as it is."""
    return {
        name: (value - statistics[name + MEAN].to(value.device)) / statistics[name + DEVIATION].to(value.device)
        if name + MEAN in statistics and isinstance(value, Tensor)
        else value
        for name, value in batch.items()
    }


def in_units(action: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
    """Actions (..., A) of the policy in the data's own units."""
    if ACTION + MEAN not in statistics:
        return action
    return action * statistics[ACTION + DEVIATION].to(action.device) + statistics[ACTION + MEAN].to(action.device)


def plain(statistics: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """As JSON has them."""
    return {name: value.tolist() for name, value in statistics.items()}


def from_plain(content: Mapping[str, list[float]]) -> dict[str, Tensor]:
    """The reverse of `plain`. Raises ValueError, TypeError or AttributeError for anything else."""
    numbers = {str(name): torch.tensor([float(x) for x in values]) for name, values in content.items()}
    if not all(bool(torch.isfinite(value).all()) for value in numbers.values()):
        raise ValueError("its statistics are not finite")
    return numbers
