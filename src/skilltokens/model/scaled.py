"""Observations in units of the robot's workspace: what every encoder begins with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skilltokens.types import Scale

LIMIT = 8.0
"""Scaled observations are clipped to this many units, so that one stray reading cannot swamp a policy."""


class Scaled(nn.Module):
    """Knows the constants of the workspace that a feature is scaled by."""

    center: Tensor
    unit: Tensor

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.register_buffer("center", torch.tensor(scale.center, dtype=torch.float32))
        self.register_buffer("unit", torch.tensor(scale.unit, dtype=torch.float32))

    def scaled(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """(x - center) / unit, clipped, plus noise."""
        x = ((x - self.center) / self.unit).clamp(-LIMIT, LIMIT)
        return x if noise is None else x + noise
