"""Scaling: every encoder first expresses its feature in units of the robot's workspace."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skilltokens.types import Scale

LIMIT = 8.0
"""Scaled observations are clipped to this many units, so that one wrong reading of a sensor cannot dominate."""


class Scaled(nn.Module):
    """A module with the constants of the workspace that its feature is scaled by."""

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
