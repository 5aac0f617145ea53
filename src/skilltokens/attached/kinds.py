"""What a skill puts beside a frozen linear map: rows, or a low-rank adapter of the same size.

    rows   y = W x + b + theta(x K^T) V      theta(s) = GeLU(tau s / sqrt(||s||^2 + n mean(x^2)))
    lora   y = W x + b + x A^T B             B = 0 at the start

theta is that of Pattention (`model.pattention`), tau = sqrt(n) for n rows fixed when they are made. Only the norm
differs: a frozen map has no rows of its own, and a norm over the new ones alone jumps at K = 0, where they start. It
counts n frozen random rows beside them, whose scores have the inputs' mean square: so K = 0 changes nothing and has a
slope.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["rows", "lora"]
EPSILON = 1e-6
VALUE = 0.2
"""Standard deviation of a new row's value."""


class RowsBeside(nn.Module):
    """Rows beside a map; they start without effect (K = 0, V random).

    Args:
        rows: how many; fixes tau.
        width_in, width_out: of the map.
        draw: where the first values come from.
    """

    def __init__(self, rows: int, width_in: int, width_out: int, draw: torch.Generator) -> None:
        super().__init__()
        self.tau = math.sqrt(rows)
        self.key = nn.Parameter(torch.zeros(rows, width_in))
        self.value = nn.Parameter(VALUE * torch.randn(rows, width_out, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the map's output: (..., width_in) -> (..., width_out)."""
        scores = x @ self.key.T
        size = scores.square().mean(-1, keepdim=True) + x.square().mean(-1, keepdim=True) + EPSILON
        ratio = self.tau * (len(self.key) * size).rsqrt()
        return F.gelu(ratio * scores) @ self.value


class LowRankBeside(nn.Module):
    """A low-rank adapter beside a map (LoRA, arXiv 2106.09685, without its factor alpha / rank); it starts as nothing.

    `rows` is its rank: so it has as many numbers as so many rows.
    """

    def __init__(self, rows: int, width_in: int, width_out: int, draw: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rows, width_in, generator=draw) / math.sqrt(width_in))
        self.up = nn.Parameter(torch.zeros(rows, width_out))

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the map's output: (..., width_in) -> (..., width_out)."""
        return x @ self.down.T @ self.up


Beside = RowsBeside | LowRankBeside
KINDS: dict[Kind, type[RowsBeside] | type[LowRankBeside]] = {"rows": RowsBeside, "lora": LowRankBeside}
NAMES: dict[Kind, tuple[str, str]] = {"rows": ("key", "value"), "lora": ("down", "up")}
"""The tensors of each kind: the side of the input, (rows, width_in), and that of the output, (rows, width_out)."""
