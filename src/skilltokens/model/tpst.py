"""The transformer layer whose linear maps are all Pattention (TPST), or all ordinary linear layers for comparison.

It has pre-norm without parameters and residual connections. Attention is causal and banded: a token sees the tokens of
its own time step, of the `history - 1` steps before it, and the instruction's token. Positions are relative (one
learned bias for each head and distance in steps), so a cache of the last steps gives exactly what a whole window gives.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.pattention import Pattention


def make_linear_map(
    kind: str, rows: int, width: int, generator: torch.Generator | None, gain: float = 1.0
) -> nn.Module:
    """A linear map width -> width: Pattention with `rows` rows, or an ordinary linear layer for the kind "linear".

    If rows > width, as in the feed-forward, "linear" makes an MLP with `rows` hidden units.
    """
    if kind == "pattention":
        return Pattention(rows, width, width, generator, gain)
    if rows == width:
        return make_linear(width, width, generator, gain, bias=False)
    up, down = make_linear(width, rows, generator), make_linear(rows, width, generator, gain)
    return nn.Sequential(up, nn.GELU(), down)


def make_linear(
    width_in: int, width_out: int, generator: torch.Generator | None, gain: float = 1.0, bias: bool = True
) -> nn.Linear:
    """A linear layer with normal weights from `generator`, of deviation gain / sqrt(width_in), and zero bias."""
    layer = nn.Linear(width_in, width_out, bias=bias)
    with torch.no_grad():
        layer.weight.normal_(0.0, gain / math.sqrt(width_in), generator=generator)
        if bias:
            layer.bias.zero_()
    return layer


class TPSTLayer(nn.Module):
    """One transformer layer of five linear maps: q, k, v and o with `width` rows, and the feed-forward with 4 * width.

    Args:
        width, heads: the token's width and the number of attention heads.
        history: time steps that a token sees, its own included.
        maps: the kind of the linear maps, "pattention" or "linear".
        gain: scale of the two linear maps that end a residual branch.
    """

    def __init__(
        self, width: int, heads: int, history: int, maps: str, gain: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (make_linear_map(maps, width, width, generator) for _ in range(3))
        self.o = make_linear_map(maps, width, width, generator, gain)
        self.ffn = make_linear_map(maps, 4 * width, width, generator, gain)
        self.distance = nn.Parameter(torch.zeros(heads, history))
        self.prefix = nn.Parameter(torch.zeros(heads, 1))

    def split(self, x: Tensor) -> Tensor:
        """(B, S, width) -> (B, heads, S, width / heads)"""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def keys(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, width / heads) of normalised tokens (B, S, width)."""
        return self.split(self.k(normed)), self.split(self.v(normed))

    def attend(self, x: Tensor, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """The layer's output for the tokens x (B, Q, width), whose norm is `normed`, given keys and values of S tokens.

        bias: broadcasts to (B, heads, Q, S); minus infinity where a token must not attend.
        """
        mixed = F.scaled_dot_product_attention(self.split(self.q(normed)), keys, values, attn_mask=bias)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.ffn(norm(x))


def norm(x: Tensor) -> Tensor:
    """Layer norm without parameters."""
    return F.layer_norm(x, x.shape[-1:])
