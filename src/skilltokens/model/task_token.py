"""Task tokens (arXiv 2503.22886, section 3): a small encoder makes them of observations, as further inputs of a policy.

They stand in front of the other tokens of every step; the policy itself does not change.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skilltokens.model.images import cell_positions
from skilltokens.model.tpst import make_linear
from skilltokens.model.trunked import TrunkEye
from skilltokens.model.trunks.naming import NONE

LIMIT = 10.0
"""Normalised inputs are clipped to this many deviations."""


class RunningNorm(nn.Module):
    """Normalises a vector by the mean and deviation of all vectors that `update` got so far."""

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
        """Adds a batch (N, width) to the statistics, by the parallel form of Welford's algorithm."""
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
    """A ReLU MLP from observed vectors (B, T, n) and sets (B, T, slots, n) to task tokens (B, T, tokens, width).

    Its inputs are normalised by running statistics. Pictures (B, T, height, width, 3) reach it through an `Eye` each,
    or a `TrunkEye`, which takes what the trunk made of them too.

    Args:
        features: the width of each feature that it reads, by name.
        width: the width of the policy's tokens.
        tokens: how many tokens it makes at a step.
        hidden: widths of the MLP's hidden layers.
        generator: for the initial weights.
        pictures: the names of pictures that it reads too.
        presence: initial logarithm of a task token's weight in attention, where other tokens have 0; it is learned. The
            norm before attention gives small tokens the same influence as large ones. A low presence makes a new task
            token nearly invisible, as zero-initialised attention does (arXiv 2303.16199).
        trunk: the frozen trunk that it sees pictures through, by name; "none": it learns to see.

    Raises:
        TrunkError: the trunk is not there, or cannot be loaded safely.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        width: int,
        tokens: int = 1,
        hidden: Sequence[int] = (128, 128),
        generator: torch.Generator | None = None,
        pictures: Sequence[str] = (),
        presence: float = 0.0,
        trunk: str = NONE,
    ) -> None:
        super().__init__()
        self.features, self.width, self.tokens, self.hidden = dict(features), width, tokens, tuple(hidden)
        self.pictures, self.trunk = tuple(pictures), trunk
        self.norm = RunningNorm(sum(features.values()))
        self.eyes = nn.ModuleList(Eye(generator) if trunk == NONE else TrunkEye(trunk, generator) for _ in pictures)
        seen = sum(features.values()) + len(self.pictures) * (Eye.OUT if trunk == NONE else TrunkEye.OUT)
        self.net = mlp((seen, *hidden, tokens * width), generator)
        self.presence = nn.Parameter(torch.full((tokens,), presence))

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds of its features."""
        return dict.fromkeys(self.features, "vector") | dict.fromkeys(self.pictures, "image")

    def inputs(self, observation: Mapping[str, Tensor]) -> Tensor:
        """The vectors and sets that it reads, joined to one vector (..., n)."""
        return joined(observation, self.features)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        seen = [self.norm(self.inputs(observation))]
        seen += [eye(observation[name]) for name, eye in zip(self.pictures, self.eyes, strict=True)]
        return self.net(torch.cat(seen, -1)).unflatten(-1, (self.tokens, self.width))


class Eye(nn.Module):
    """Pictures (B, T, height, width, 3) -> (B, T, OUT): for each channel of a small convolutional net the mean position
    of its activations under their softmax (spatial soft-argmax, arXiv 1504.00702)."""

    CHANNELS = 16
    OUT = 2 * CHANNELS

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        sizes = ((3, 16, 5, 2), (16, 32, 3, 2), (32, self.CHANNELS, 3, 1))
        self.layers = nn.ModuleList(nn.Conv2d(a, b, size, stride, size // 2) for a, b, size, stride in sizes)
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, nn.Conv2d) and layer.bias is not None
                layer.weight.normal_(0.0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
                layer.bias.zero_()

    def forward(self, picture: Tensor) -> Tensor:
        lead = picture.shape[:-3]
        x = picture.flatten(0, -4).movedim(-1, 1).float() / 127.5 - 1
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        x = self.layers[-1](x)
        positions = x.flatten(2).softmax(-1) @ cell_positions(x.shape[2], x.shape[3], x.device)  # (n, channels, 2)
        return positions.flatten(1).unflatten(0, lead)


def joined(observation: Mapping[str, Tensor], widths: Mapping[str, int]) -> Tensor:
    """Vectors (..., n), and sets (..., slots, n) with their slots side by side, as one vector (..., sum of widths)."""
    parts = [observation[name] for name in widths]
    return torch.cat(
        [x if x.shape[-1] == n else x.flatten(-2) for x, n in zip(parts, widths.values(), strict=True)], -1
    )


def mlp(widths: Sequence[int], generator: torch.Generator | None, gain: float = 1.0) -> nn.Sequential:
    """A ReLU MLP of these widths, input and output included; `gain` scales the initial weights of the last layer."""
    parts: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        parts.append(make_linear(a, b, generator, gain if last else 2**0.5))
        if not last:
            parts.append(nn.ReLU())
    return nn.Sequential(*parts)
