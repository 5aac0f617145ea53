"""The transformer layer whose every linear map is Pattention (TPST), and its twin of ordinary linear layers.

Pre-norm without parameters, residual connections, attention that is causal and banded: a token sees the tokens of
its own time step, of the `history - 1` steps before it, and the instruction's token. Positions are relative (one
learned bias for each head and distance), so that a window can slide over a cache and stay exact.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.pattention import Pattention


def make_map(kind: str, rows: int, width: int, generator: torch.Generator | None, gain: float = 1.0) -> nn.Module:
    """A width -> width map: `rows` parameter tokens, or a linear layer (with `rows` hidden units if rows > width)."""
    if kind == "pattention":
        return Pattention(rows, width, width, generator, gain)
    if rows == width:
        return make_linear(width, width, generator, gain, bias=False)
    up, down = make_linear(width, rows, generator), make_linear(rows, width, generator, gain)
    return nn.Sequential(up, nn.GELU(), down)


def make_linear(
    width_in: int, width_out: int, generator: torch.Generator | None, gain: float = 1.0, bias: bool = True
) -> nn.Linear:
    """A linear layer with normal weights of deviation gain / sqrt(width_in), drawn from `generator`, and zero bias."""
    layer = nn.Linear(width_in, width_out, bias=bias)
    with torch.no_grad():
        layer.weight.normal_(0.0, gain / math.sqrt(width_in), generator=generator)
        if bias:
            layer.bias.zero_()
    return layer


class TPSTLayer(nn.Module):
    """One transformer layer: q, k, v and o with `width` rows each, the feed-forward one map with 4 * width rows.

    Args:
        width, heads: the token's width and the number of attention heads.
        history: time steps in the band, the current one included.
        maps: "pattention" or "linear".
        gain: scale of the two maps that end a residual branch.
    """

    def __init__(
        self, width: int, heads: int, history: int, maps: str, gain: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (make_map(maps, width, width, generator) for _ in range(3))
        self.o = make_map(maps, width, width, generator, gain)
        self.ffn = make_map(maps, 4 * width, width, generator, gain)
        self.distance = nn.Parameter(torch.zeros(heads, history))
        self.prefix = nn.Parameter(torch.zeros(heads, 1))

    def split(self, x: Tensor) -> Tensor:
        """(B, S, width) -> (B, heads, S, width / heads)"""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def keys(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, width / heads) of normalised tokens (B, S, width)."""
        return self.split(self.k(normed)), self.split(self.v(normed))

    def attend(self, x: Tensor, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """New values of the tokens x (B, Q, width), whose norm is `normed`, from keys and values of S tokens.

        bias: broadcasts to (B, heads, Q, S); minus infinity where a token may not look.
        """
        mixed = F.scaled_dot_product_attention(self.split(self.q(normed)), keys, values, attn_mask=bias)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.ffn(norm(x))


def norm(x: Tensor) -> Tensor:
    """Layer norm without parameters."""
    return F.layer_norm(x, x.shape[-1:])
