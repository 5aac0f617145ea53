"""Prompts: learned tokens that stand in front of a frozen policy's tokens, in every layer.

In a layer, the prompts' tokens are normalised and become attention keys and values by the layer's own frozen maps; all
tokens attend to them, at no distance, and what the layer makes of the prompts themselves is dropped, since the next
layer has prompts of its own (deep prompts, VPT, arXiv 2203.12119, eq. 5). They depend on nothing that is observed, so
acting with a cache of keys and values stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.policy import LINEAR_MAPS, Policy
from skilltokens.model.tpst import TPSTLayer, norm

PROMPTS = "prompts"
"""The name of a layer's prompts."""


class PromptedLayer(TPSTLayer):
    """A layer of the base with prompts in front; the base's maps are shared.

    Args:
        layer: the base's.
        prompts: (length, width) each; they may be shared with other skills' layers.
    """

    def __init__(self, layer: TPSTLayer, prompts: Sequence[nn.Parameter]) -> None:
        nn.Module.__init__(self)
        self.heads = layer.heads
        self.q, self.k, self.v, self.o, self.ffn = (getattr(layer, name) for name in LINEAR_MAPS)
        self.distance, self.prefix = layer.distance, layer.prefix
        self.prompts = nn.ParameterList(prompts)

    def attend(self, x: Tensor, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        tokens = norm(torch.cat(list(self.prompts)))[None]
        first_keys, first_values = (part.expand(len(x), -1, -1, -1) for part in self.keys(tokens))
        keys, values = torch.cat([first_keys, keys], 2), torch.cat([first_values, values], 2)
        return super().attend(x, normed, keys, values, F.pad(bias, (tokens.shape[1], 0)))


def prompted(base: Policy, prompts: Sequence[Sequence[nn.Parameter]]) -> dict[str, nn.Module]:
    """The layers with prompts, by path, as `Policy.derive` takes them; `prompts` has those of each layer."""
    return {
        f"layers.{i}": PromptedLayer(layer, own) for i, (layer, own) in enumerate(zip(base.stack, prompts, strict=True))
    }


def prompts_of(base: Policy, tensors: Mapping[str, Tensor]) -> list[list[nn.Parameter]]:
    """Each layer's prompts among a skill's tensors ("layers.0.prompts.0", ...), in their order."""
    layers: list[list[nn.Parameter]] = []
    for i in range(len(base.stack)):
        start = f"layers.{i}.{PROMPTS}."
        names = sorted((name for name in tensors if name.startswith(start)), key=lambda n: int(n.removeprefix(start)))
        layers.append([nn.Parameter(tensors[name].clone()) for name in names])
    return layers
