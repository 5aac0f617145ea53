"""The encoder of pictures: a small convolutional trunk, and a head that the instruction tells what to look for.

The trunk does not see the instruction. A frozen trunk therefore gives a picture the same features for every skill:
`features.precomputed` runs it once for each picture of a store, and training uses those features. The head is so small
that every skill can have its own. Acting runs both. Policies whose setting `trunk` names one see through that instead
(`trunked`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.scaled import Scaled
from skilltokens.model.tpst import make_linear
from skilltokens.types import Scale

CHANNELS = 32
"""Channels of the features of a trunk that is trained."""
POINTS = 16
"""Heat maps of its head."""


class ImageEncoder(Scaled):
    """A picture (B, T, height, width, colours), as its scale has it, -> tokens (B, T, width); any size from 32 x 32.

    The trunk's features of the picture are taken too: (B, T, height / 8, width / 8, CHANNELS) in floats.
    """

    own = ("head",)
    """The parts of which a skill may have its own copy."""

    def __init__(self, scale: Scale, width: int, generator: torch.Generator | None) -> None:
        super().__init__(scale)
        self.trunk = Trunk(len(scale.center), generator)
        self.film = make_linear(width, 2 * CHANNELS, generator, 0.3)
        self.head = Points(width, generator)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None = None) -> Tensor:
        """`noise` is ignored: only vectors and sets get noise."""
        if x.dtype == torch.uint8 or x.shape[-1] != CHANNELS:  # a picture in floats has fewer colours (kinds.COLOURS)
            x = self.features(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.head(x, self.film(instruction)[:, :, None, None])

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures (n, height, width, colours) -> (n, height / 8, width / 8, CHANNELS)."""
        return self.trunk(self.scaled(pictures.float(), None))

    @property
    def frozen(self) -> bool:
        """Whether the trunk is not trained."""
        return not any(parameter.requires_grad for parameter in self.trunk.parameters())


class Trunk(nn.Module):
    """(n, height, width, colours) -> (n, height / 8, width / 8, CHANNELS). A cell sees 48 x 48 pixels around it."""

    def __init__(self, colours: int, generator: torch.Generator | None) -> None:
        super().__init__()
        sizes = ((colours, 32, 8, 4, 2), (32, 48, 3, 2, 1), (48, 48, 3, 1, 1), (48, CHANNELS, 3, 1, 1))
        self.maps = nn.ModuleList(_convolution(*numbers, generator) for numbers in sizes)
        self.norms = nn.ModuleList(nn.GroupNorm(4, numbers[1]) for numbers in sizes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)  # colours stay last in memory, which is the fast layout
        for convolution, norm in zip(self.maps, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return x.permute(0, 2, 3, 1)


class Points(nn.Module):
    """Where objects are: each of its heat maps, `points` many, is high where the picture looks like what it seeks.

    The instruction scales and shifts the features (B, T, h, w, channels) (FiLM, arXiv 1709.07871); an offset of the
    skill's own is added to both factors. One linear map makes the heat maps of them, another one four numbers for each
    cell. Under the softmax of each heat map, the mean position is read (spatial softmax, arXiv 1504.00702) and the mean
    of the four numbers. A linear map of all these means is the token (B, T, width).
    """

    def __init__(
        self, width: int, generator: torch.Generator | None, channels: int = CHANNELS, points: int = POINTS
    ) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(2 * channels))
        self.seek = make_linear(channels, points, generator, 3.0)  # heat maps with peaks, not almost flat ones
        self.say = make_linear(channels, 4, generator)
        self.map = make_linear(points * 6, width, generator)

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        gain, shift = (film + self.offset).chunk(2, -1)
        x = F.relu(x * (1 + gain) + shift)
        high, wide = x.shape[2:4]
        weight = self.seek(x).flatten(2, 3).softmax(2).transpose(2, 3)  # (B, T, points, cells)
        cells = cell_positions(high, wide, x.device).expand(*x.shape[:2], -1, -1)
        return self.map((weight @ torch.cat([cells, self.say(x).flatten(2, 3)], -1)).flatten(2))


def pixels(colours: int, dtype: str = "uint8") -> Scale:
    """The scale of pictures: it makes -1 to 1 of 0 to 255 in uint8, and of 0 to 1 in floats."""
    half = 127.5 if dtype == "uint8" else 0.5
    return Scale((half,) * colours, (half,) * colours)


def cell_positions(high: int, wide: int, device: torch.device) -> Tensor:
    """(high * wide, 2): row and column of each cell of a grid, from -1 to 1."""
    rows, columns = torch.linspace(-1, 1, high, device=device), torch.linspace(-1, 1, wide, device=device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)


def _convolution(
    inputs: int, outputs: int, size: int, stride: int, padding: int, generator: torch.Generator | None
) -> nn.Conv2d:
    """A convolution with weights from `generator`. It has no bias, since a norm with one follows."""
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    with torch.no_grad():
        layer.weight.normal_(0.0, math.sqrt(2 / (inputs * size * size)), generator=generator)
    return layer
