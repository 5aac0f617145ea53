"""Task tokens (arXiv 2503.22886, section 3): tokens that a small encoder makes of what it observes, as one more input.

A policy with a prompt has these tokens in front of every step's own ones; nothing of the policy itself changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skilltokens.model.tpst import make_linear

LIMIT = 10.0
"""Normalised inputs are clipped to this many deviations."""


class RunningNorm(nn.Module):
    """Scales a vector by the mean and deviation of all that it was shown by `update` so far."""

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Takes in a batch (N, width), by the parallel form of Welford's algorithm."""
        n = len(x)
        mean, var = x.mean(0), x.var(0, unbiased=False)
        total = self.count + n
        delta, share = mean - self.mean, float(n / total)
        between = delta.square() * float(self.count * n / total / total)
        self.var.copy_(self.var * (1 - share) + var * share + between)
        self.mean.add_(delta * share)
        self.count.copy_(total)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / (self.var + 1e-4).sqrt()).clamp(-LIMIT, LIMIT)


class TaskToken(nn.Module):
    """Observed vectors (B, T, n), or sets (B, T, slots, n), by feature -> tokens (B, T, tokens, width), by a ReLU MLP.

    Inputs are normalised by what was seen so far.

    Args:
        features: the width of each feature that it reads, by name.
        width: of the policy's tokens.
        tokens: how many it makes at a step.
        hidden: widths of the MLP's hidden layers.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        width: int,
        tokens: int = 1,
        hidden: Sequence[int] = (128, 128),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.features, self.width, self.tokens, self.hidden = dict(features), width, tokens, tuple(hidden)
        self.norm = RunningNorm(sum(features.values()))
        self.net = mlp((sum(features.values()), *hidden, tokens * width), generator)

    @property
    def kinds(self) -> dict[str, str]:
        """How its features are read."""
        return dict.fromkeys(self.features, "vector")

    def inputs(self, observation: Mapping[str, Tensor]) -> Tensor:
        """What it reads, as one vector (..., n)."""
        return joined(observation, self.features)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return self.net(self.norm(self.inputs(observation))).unflatten(-1, (self.tokens, self.width))


def joined(observation: Mapping[str, Tensor], widths: Mapping[str, int]) -> Tensor:
    """Vectors (..., n), and sets (..., slots, n) with their things side by side, as one vector (..., sum of widths)."""
    parts = [observation[name] for name in widths]
    return torch.cat(
        [x if x.shape[-1] == n else x.flatten(-2) for x, n in zip(parts, widths.values(), strict=True)], -1
    )


def mlp(widths: Sequence[int], generator: torch.Generator | None, gain: float = 1.0) -> nn.Sequential:
    """A ReLU MLP of these widths, input and output included; `gain` scales the last layer's first weights."""
    parts: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        parts.append(make_linear(a, b, generator, gain if last else 2**0.5))
        if not last:
            parts.append(nn.ReLU())
    return nn.Sequential(*parts)
