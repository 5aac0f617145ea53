"""From observations and an instruction to tokens, one for each observation feature and time step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skilltokens.model.tpst import make_linear
from skilltokens.types import Scale

LIMIT = 8.0
"""Scaled observations are clipped to this many units, so that one stray reading cannot swamp a policy."""


class VectorEncoder(nn.Module):
    """A vector feature (B, T, n) -> tokens (B, T, width): scaled by constants of the workspace, then one linear map."""

    center: Tensor
    unit: Tensor

    def __init__(self, scale: Scale, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.register_buffer("center", torch.tensor(scale.center, dtype=torch.float32))
        self.register_buffer("unit", torch.tensor(scale.unit, dtype=torch.float32))
        self.map = make_linear(len(scale.center), width, generator)

    def scaled(self, x: Tensor) -> Tensor:
        """(x - center) / unit, clipped."""
        return ((x - self.center) / self.unit).clamp(-LIMIT, LIMIT)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        x = self.scaled(x)
        return self.map(x if noise is None else x + noise)


class InstructionEncoder(nn.Module):
    """Unit sentence vectors (B, n) -> one token each (B, 1, width)."""

    def __init__(self, language: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.gain = math.sqrt(language)  # entries of a unit vector are of size 1 / sqrt(n)
        self.map = make_linear(language, width, generator)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.map(embedding * self.gain)[:, None]
