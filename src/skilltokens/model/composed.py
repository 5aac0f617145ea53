"""Composition of low-rank adapters in parameter space (PSEC, arXiv 2502.05932): a layer whose matrices depend on the
state.

For a token x, the layer's own adapter (A_0, B_0) and frozen adapters (A_i, B_i) of earlier skills, each of the layer's
matrices W becomes

    W(x) = W + B_0 A_0 + sum_i alpha_i(x) B_i A_i

The weights alpha(x) of a layer are one vector for all of its matrices: a small network makes them of the layer's
normalised input, which in the first layer is the encoding of what is observed at that step. They are 0 at the start,
and so is B_0: a new layer computes what the base's does. A token's weights depend on that token alone, so acting with a
cache of keys and values stays exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.pattention import EPSILON, Pattention
from skilltokens.model.policy import LINEAR_MAPS, Policy
from skilltokens.model.tpst import TPSTLayer, make_linear, norm

STATE = "state"
"""The name of a layer's state network."""
STATE_TENSORS = ("hidden.weight", "hidden.bias", "out.weight", "out.bias")
"""The names of its tensors."""


class StateNetwork(nn.Module):
    """Tokens (..., width) -> weights (..., earlier) of earlier adapters, all 0 at the start.

    Args:
        width: of a token.
        hidden: units of its hidden layer.
        earlier: how many adapters it weighs.
        generator: for the initial weights of the hidden layer.
    """

    def __init__(self, width: int, hidden: int, earlier: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.hidden = make_linear(width, hidden, generator)
        self.out = make_linear(hidden, earlier, generator, gain=0.0)
        self.noted: list[Tensor] | None = None
        """What it gave while training, where somebody asks for it (`noting`)."""

    def forward(self, token: Tensor) -> Tensor:
        weights = self.out(torch.tanh(self.hidden(token)))
        if self.noted is not None and self.training and torch.is_grad_enabled():
            self.noted.append(weights)
        return weights

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The network of these tensors, by the names `STATE_TENSORS`."""
        hidden, width = tensors["hidden.weight"].shape
        network = cls(width, hidden, len(tensors["out.bias"]))
        network.load_state_dict(dict(tensors))
        return network

    @staticmethod
    def size(width: int, hidden: int, earlier: int) -> int:
        """How many parameters one has."""
        return (width + 1) * hidden + (hidden + 1) * earlier


class Composed(nn.Module):
    """A linear map with an adapter of its own, and frozen ones of earlier skills that are weighted token by token.

    Args:
        low: the frozen map with the skill's own adapter; its parts are shared.
        earlier: for each earlier adapter its factors up (a, r) and down (r, b) of each of the map's matrices.
    """

    def __init__(self, low: LowRank, earlier: Sequence[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]) -> None:
        super().__init__()
        self.map, self.up, self.down = low.map, low.up, low.down
        for name in matrices(low.map):
            ups, downs = ([factors[side][name].detach() for factors in earlier] for side in (0, 1))
            ranks = [down.shape[0] for down in downs]
            self.register_buffer(f"ups_{name}", torch.cat(ups, 1))
            self.register_buffer(f"downs_{name}", torch.cat(downs, 0))
            owner = torch.repeat_interleave(torch.arange(len(ranks)), torch.tensor(ranks))
            self.register_buffer(f"owner_{name}", owner.to(ups[0].device))

    def matrix(self, name: str) -> Tensor:
        """W + B_0 A_0."""
        return getattr(self.map, name).detach() + self.up[name] @ self.down[name]

    def _added(self, x: Tensor, name: str, weights: Tensor, *, transposed: bool) -> Tensor:
        """x (sum_i alpha_i B_i A_i)^T, or where not `transposed` x (sum_i alpha_i B_i A_i)."""
        ups, downs, owner = (cast("Tensor", getattr(self, f"{part}_{name}")) for part in ("ups", "downs", "owner"))
        first, second = (downs.T, ups.T) if transposed else (ups, downs)
        return ((x @ first) * weights[..., owner]) @ second

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Tokens (..., d_in) and the weights (..., earlier) of each -> (..., d_out)."""
        if isinstance(self.map, Pattention):
            scores = x @ self.matrix("key").T + self._added(x, "key", weights, transposed=True)
            theta = F.gelu(scores * (self.map.tau / (scores.norm(dim=-1, keepdim=True) + EPSILON)))
            return theta @ self.matrix("value") + self._added(theta, "value", weights, transposed=False)
        assert isinstance(self.map, nn.Linear)
        plain = F.linear(x, self.matrix("weight"), self.map.bias)
        return plain + self._added(x, "weight", weights, transposed=True)


class ComposedLayer(TPSTLayer):
    """A transformer layer whose linear maps are composed.

    Args:
        layer: the base's; what is not replaced is shared.
        maps: its linear maps, with `Composed` ones in them, by name ("q", ...).
        state: makes the weights of the layer's normalised tokens.
    """

    def __init__(self, layer: TPSTLayer, maps: Mapping[str, nn.Module], state: StateNetwork) -> None:
        nn.Module.__init__(self)
        self.heads = layer.heads
        self.q, self.k, self.v, self.o, self.ffn = (maps[name] for name in LINEAR_MAPS)
        self.distance, self.prefix = layer.distance, layer.prefix
        self.state = state

    def keys(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.state(normed)
        return self.split(_through(self.k, normed, weights)), self.split(_through(self.v, normed, weights))

    def attend(self, x: Tensor, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        weights = self.state(normed)
        query = self.split(_through(self.q, normed, weights))
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
        x = x + _through(self.o, mixed.transpose(1, 2).reshape(x.shape), weights)
        return x + _through(self.ffn, norm(x), weights)


def _through(linear_map: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
    """What a linear map makes of tokens; the parts of an MLP one after another."""
    parts: Iterable[nn.Module] = linear_map if isinstance(linear_map, nn.Sequential) else (linear_map,)
    for part in parts:
        x = part(x, weights) if isinstance(part, Composed) else part(x)
    return x


def composed(
    base: Policy,
    lows: Mapping[str, LowRank],
    earlier: Sequence[Mapping[str, Tensor]],
    states: Sequence[StateNetwork],
) -> dict[str, nn.Module]:
    """The layers of a policy with composed maps, by path, as `Policy.derive` takes them.

    Args:
        lows: the new skill's own adapters, by the path of their linear map (`lowrank.leaves`).
        earlier: the tensors of each earlier skill's adapter, by their names ("layers.0.q.up.key").
        states: a state network for each layer.
    """
    replaced: dict[str, nn.Module] = {}
    for path, leaf in leaves(base):
        factors = [
            tuple({name: skill[f"{path}.{side}.{name}"] for name in matrices(leaf)} for side in ("up", "down"))
            for skill in earlier
        ]
        replaced[path] = Composed(lows[path], cast("list[tuple[dict[str, Tensor], dict[str, Tensor]]]", factors))
    adapted = base.derive(replaced).stack
    return {
        f"layers.{i}": ComposedLayer(layer, {name: getattr(layer, name) for name in LINEAR_MAPS}, state)
        for i, (layer, state) in enumerate(zip(adapted, states, strict=True))
    }


def adapter_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of a skill's tensors that are its own low-rank adapter; empty where it has none."""
    return {name: t for name, t in tensors.items() if ".up." in name or ".down." in name}
