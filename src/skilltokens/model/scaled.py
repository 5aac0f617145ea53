"""Scaling: every encoder expresses its feature in units of the robot's workspace; actions are given in such too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skilltokens.types import LIMIT, Scale


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


class ActionUnits(Scaled):
    """The units of a robot's actions, where they are not in [-1, 1]: joints in degrees, a gripper from 0 to 100."""

    def restored(self, x: Tensor) -> Tensor:
        """Actions (..., A) in the robot's own units for numbers (..., A) in units of its constants, clipped to them."""
        return self.center + x.clamp(-LIMIT, LIMIT) * self.unit
