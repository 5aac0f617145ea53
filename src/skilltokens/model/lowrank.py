"""Low-rank adapters (LoRA, arXiv 2106.09685): a frozen linear map W becomes W + up @ down.

They fit linear layers and the keys and values of Pattention. A fresh adapter has up = 0 and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.pattention import Pattention, fused_pattention
from skilltokens.model.policy import Policy

MATRICES = ("key", "value", "weight")


def matrices(layer: nn.Module) -> list[str]:
    """The names of a linear map's own matrices."""
    return [name for name in MATRICES if hasattr(layer, name)]


def leaves(policy: Policy) -> list[tuple[str, nn.Module]]:
    """Every linear map of a policy's transformer with matrices of its own, by path."""
    return [
        (f"{path}.{name}" if name else path, module)
        for path, layer in policy.maps().items()
        for name, module in layer.named_modules()
        if isinstance(module, Pattention | nn.Linear)
    ]


class LowRank(nn.Module):
    """A frozen linear map whose matrices W (a, b) become W + up @ down.

    Args:
        layer: the map; it is shared, not copied.
        up, down: for each of its matrices (a, r) and (r, b).
    """

    def __init__(self, layer: nn.Module, up: Mapping[str, Tensor], down: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.map = layer
        self.up = nn.ParameterDict({name: nn.Parameter(up[name]) for name in matrices(layer)})
        self.down = nn.ParameterDict({name: nn.Parameter(down[name]) for name in matrices(layer)})

    @classmethod
    def fresh(cls, layer: nn.Module, ranks: Sequence[int], generator: torch.Generator) -> Self:
        """An adapter with up = 0 and down drawn at random, of these ranks, one a matrix."""
        up: dict[str, Tensor] = {}
        down: dict[str, Tensor] = {}
        for name, rank in zip(matrices(layer), ranks, strict=True):
            matrix: Tensor = getattr(layer, name)
            a, b = matrix.shape
            up[name] = matrix.new_zeros(a, rank)
            # drawn on the CPU, wherever the map is: the same seed gives the same numbers
            down[name] = (torch.randn(rank, b, generator=generator) / math.sqrt(b)).to(matrix.device)
        return cls(layer, up, down)

    def matrix(self, name: str) -> Tensor:
        """W + up @ down."""
        return getattr(self.map, name).detach() + self.up[name] @ self.down[name]

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.map, Pattention):
            return fused_pattention(x, self.matrix("key"), self.matrix("value"), self.map.tau)
        assert isinstance(self.map, nn.Linear)
        return F.linear(x, self.matrix("weight"), self.map.bias)

    def plain(self) -> Pattention | nn.Linear:
        """The same function as a plain map without gradients, for acting."""
        if isinstance(self.map, Pattention):
            rows = Pattention(1, 1, 1)
            rows.tau = self.map.tau
            rows.key, rows.value = (
                nn.Parameter(self.matrix(name).detach(), requires_grad=False) for name in ("key", "value")
            )
            return rows
        assert isinstance(self.map, nn.Linear)
        linear = nn.Linear(1, 1)
        linear.weight = nn.Parameter(self.matrix("weight").detach(), requires_grad=False)
        linear.bias = self.map.bias
        return linear

    def own(self) -> list[nn.Parameter]:
        """What is trained."""
        return [*self.up.values(), *self.down.values()]


def merged(policy: Policy) -> Policy:
    """The same policy, bit for bit, with plain maps in the place of adapted ones."""
    adapted = {path: module for path, module in policy.named_modules() if isinstance(module, LowRank)}
    return policy.derive({path: module.plain() for path, module in adapted.items()}) if adapted else policy
