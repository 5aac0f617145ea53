"""From pictures to tokens: a small convolutional trunk, and a head that the instruction tells what to look for.

The trunk sees no instruction, so where it is frozen it makes the same of a picture for every skill: `precomputed` asks
it once for each picture of a store, and training goes on with its answers. The head is small enough for every skill to
have its own. Acting runs both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.demos.store import DemonstrationStore
from skilltokens.model.scaled import Scaled
from skilltokens.model.tpst import make_linear
from skilltokens.types import Array, Scale

CHANNELS = 32
"""Numbers that the trunk says about each place of a picture."""
MEMORY = 4_000_000_000
"""Bytes of precomputed features at most; where a lesson needs more, the trunk runs in every training step."""
_PIECE = 128


class ImageEncoder(Scaled):
    """A picture (B, T, height, width, colours) in uint8 -> tokens (B, T, width); any size from 32 x 32.

    What `trunk` has made of it (B, T, height / 8, width / 8, CHANNELS) is taken as well, in floats.
    """

    own = ("head",)
    """The parts that a skill may have of its own."""

    def __init__(self, scale: Scale, width: int, generator: torch.Generator | None) -> None:
        super().__init__(scale)
        self.trunk = Trunk(len(scale.center), generator)
        self.film = make_linear(width, 2 * CHANNELS, generator, 0.3)
        self.head = Points(width, generator)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None = None) -> Tensor:
        """`noise` is for features that are vectors: pictures get none."""
        if x.dtype == torch.uint8:
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
    """(n, height, width, colours) -> (n, height / 8, width / 8, CHANNELS). A place sees 48 x 48 pixels around it."""

    def __init__(self, colours: int, generator: torch.Generator | None) -> None:
        super().__init__()
        plan = ((colours, 32, 8, 4, 2), (32, 48, 3, 2, 1), (48, 48, 3, 1, 1), (48, CHANNELS, 3, 1, 1))
        self.maps = nn.ModuleList(_convolution(*numbers, generator) for numbers in plan)
        self.norms = nn.ModuleList(nn.GroupNorm(4, numbers[1]) for numbers in plan)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)  # colours stay last in memory, which is the fast layout
        for map, norm in zip(self.maps, self.norms, strict=True):
            x = F.relu(norm(map(x)))
        return x.permute(0, 2, 3, 1)


class Points(nn.Module):
    """Where things are: each of POINTS maps says how much every place looks like what it seeks.

    Features (B, T, h, w, CHANNELS), turned by the instruction's film (FiLM, arXiv 1709.07871) and by an offset of the
    skill's own, give the maps; of each the softmax's mean place is read (spatial softmax, arXiv 1504.00702), and what
    the features say there. Their linear map is the token (B, T, width).
    """

    POINTS = 16

    def __init__(self, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(2 * CHANNELS))
        self.seek = make_linear(CHANNELS, self.POINTS, generator, 3.0)  # maps with peaks, not all of one grey
        self.say = make_linear(CHANNELS, 4, generator)
        self.map = make_linear(self.POINTS * 6, width, generator)

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        gain, shift = (film + self.offset).chunk(2, -1)
        x = F.relu(x * (1 + gain) + shift)
        high, wide = x.shape[2:4]
        weight = self.seek(x).flatten(2, 3).softmax(2).transpose(2, 3)  # (B, T, points, places)
        told = torch.cat([places(high, wide, x.device).expand(*x.shape[:2], -1, -1), self.say(x).flatten(2, 3)], -1)
        return self.map((weight @ told).flatten(2))


def pixels(colours: int) -> Scale:
    """The scale of pictures: 0 to 255 becomes -1 to 1."""
    return Scale((127.5,) * colours, (127.5,) * colours)


@torch.no_grad()
def precomputed(
    encoders: Mapping[str, nn.Module], stores: Sequence[DemonstrationStore], device: str
) -> dict[str, list[Array]]:
    """What frozen trunks make of every picture: feature -> for each store (steps, h, w, CHANNELS) in float16.

    Features whose encoder is no ImageEncoder or is trained are left out, and all of them where MEMORY is too small.
    """
    frozen = {name: each for name, each in encoders.items() if isinstance(each, ImageEncoder) and each.frozen}
    steps = sum(store.steps for store in stores)
    needed = sum(math.prod(store[name].shape[1:3]) // 64 * CHANNELS * 2 for name in frozen for store in stores[:1])
    if needed * steps > MEMORY:
        return {}
    return {name: [_through(encoder, store[name], device) for store in stores] for name, encoder in frozen.items()}


def _through(encoder: ImageEncoder, pictures: Array, device: str) -> Array:
    """Pieces of one size, so that what a picture becomes does not depend on how many there are in all."""
    made = []
    for start in range(0, len(pictures), _PIECE):
        piece = np.asarray(pictures[start : start + _PIECE])
        whole = np.concatenate([piece, np.zeros((_PIECE - len(piece), *piece.shape[1:]), np.uint8)])
        found = encoder.features(torch.from_numpy(whole).to(device))[: len(piece)]
        made.append(found.half().cpu().numpy())
    return np.concatenate(made)


def places(high: int, wide: int, device: torch.device) -> Tensor:
    """(high * wide, 2): row and column of each place, from -1 to 1."""
    rows, columns = torch.linspace(-1, 1, high, device=device), torch.linspace(-1, 1, wide, device=device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)


def _convolution(
    inputs: int, outputs: int, size: int, stride: int, padding: int, generator: torch.Generator | None
) -> nn.Conv2d:
    """A convolution drawn from `generator`, without a bias: a norm follows, which has one."""
    made = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    with torch.no_grad():
        made.weight.normal_(0.0, math.sqrt(2 / (inputs * size * size)), generator=generator)
    return made
