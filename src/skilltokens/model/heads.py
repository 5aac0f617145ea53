"""Action heads: they make actions of the last layer's tokens, and have the loss to learn demonstrated actions with.

A policy that predicts several steps' actions (`policy.chunk`) has one head for all of them, side by side: A below is
then chunk * actions, and a mode of the mixture is a whole chunk.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skilltokens.model.tpst import make_linear


class RegressionHead(nn.Module):
    """Predicts the action; trained with the squared error."""

    def __init__(self, width: int, actions: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.map = make_linear(width, actions, generator, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """The action (..., A) to take for tokens (..., width), not yet clipped."""
        return self.map(x)

    def loss(self, x: Tensor, action: Tensor) -> Tensor:
        """Mean squared error of each step, (...), for tokens (..., width) and demonstrated actions (..., A)."""
        return (self.map(x) - action).square().mean(-1)


class MixtureHead(nn.Module):
    """A mixture of diagonal Gaussians, as in LIBERO's policies; the action is the mean of the most likely mode."""

    def __init__(self, width: int, actions: int, modes: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.actions, self.modes = actions, modes
        self.map = make_linear(width, modes * (1 + 2 * actions), generator, gain=0.1)
        with torch.no_grad():  # distinct means, or all modes would learn the same
            means = torch.randn(modes * actions, generator=generator) * 0.3
            self.map.bias[modes : modes + modes * actions].copy_(means)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (..., M), means (..., M, A) and log deviations (..., M, A)."""
        weights, means, deviations = self.map(x).split(
            [self.modes, self.modes * self.actions, self.modes * self.actions], dim=-1
        )
        shape = (*x.shape[:-1], self.modes, self.actions)
        return weights.log_softmax(-1), means.view(shape), deviations.view(shape).clamp(-5.0, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        weights, means, _ = self.parts(x)
        best = weights.argmax(-1)[..., None, None].expand(*means.shape[:-2], 1, self.actions)
        return means.gather(-2, best).squeeze(-2)

    def loss(self, x: Tensor, action: Tensor) -> Tensor:
        """Negative log likelihood of each step, (...)."""
        weights, means, deviations = self.parts(x)
        error = (action[..., None, :] - means) * torch.exp(-deviations)
        density = (-0.5 * error.square() - deviations - 0.5 * math.log(2 * math.pi)).sum(-1)
        return -torch.logsumexp(weights + density, -1)


def make_head(
    kind: str, width: int, actions: int, modes: int, generator: torch.Generator | None
) -> RegressionHead | MixtureHead:
    """The head that the setting `policy.head` names; `modes` is for "mixture" alone."""
    if kind == "mixture":
        return MixtureHead(width, actions, modes, generator)
    return RegressionHead(width, actions, generator)


__all__ = ["MixtureHead", "RegressionHead", "make_head"]
