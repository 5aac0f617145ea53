"""A frozen trunk: a network that nobody trains, opened once in a process and shared by all policies.

It is no part of a policy's parameters or tensors. A policy holds its name and the digest of its numbers, and so do the
files of a library: the trunk itself is opened again where it is needed (`opening.open_trunk`).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.trunks.leaves import dead_leaves
from skilltokens.model.trunks.reference import Reference

FORM = 1
"""Of the features; part of every digest. To be raised with any change of what follows."""
CELL = 16
"""Pixels of a side of a cell: a picture's size is rounded to a multiple of it."""
PIXELS = 48
"""Channels that the picture itself has: 4 x 4 of its pixels, three colours each, at half of its size."""
RECENT = 64
"""Pictures whose features are kept, so that one that has not changed (an episode that has ended) costs nothing."""
Maps = tuple[Tensor, Tensor]


class FrozenTrunk:
    """A network, and how its features are put together.

    A cell of 16 x 16 pixels has 4 * (fine + PIXELS) + coarse channels: of its four quarters, row by row, the fine map's
    channels and the picture's own, and those of the coarse map. All are standardised by constants.

    Args:
        network: makes of one picture (1, 3, height, width), from 0 to 255, the fine map (1, channels, height / 8,
            width / 8) and the coarse one (1, channels, height / 16, width / 16).
        constants: of the fine and of the coarse map the mean and the deviation of each channel; None: as measured on
            pictures of dead leaves.
    """

    def __init__(
        self, reference: Reference, network: nn.Module, constants: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> None:
        self.reference = reference
        self._networks = {torch.device("cpu"): network.eval().requires_grad_(False)}
        if constants is None:
            constants = _measured(network)
        self._constants = [tuple(part[None, :, None, None] for part in pair) for pair in constants]
        self.fine, self.coarse = (len(mean) for mean, _ in constants)
        self._recent: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()

    @property
    def name(self) -> str:
        """As the setting `policy.trunk` has it."""
        return self.reference.name

    @property
    def digest(self) -> str:
        """SHA-256 of all that its features depend on but the picture, in hex."""
        return self.reference.digest

    @property
    def channels(self) -> int:
        """Of a cell's features."""
        return 4 * (self.fine + PIXELS) + self.coarse

    def grid(self, high: int, wide: int) -> tuple[int, int]:
        """Rows and columns of cells of a picture of this size."""
        return tuple(max(round(size / CELL), 2) for size in (high, wide))  # pyright: ignore[reportReturnType]

    def look(self, pictures: Tensor) -> Tensor:
        """Pictures (n, height, width, 3), uint8 or floats from 0 to 1 -> features (n, rows, columns, channels) float16.

        Each picture by itself, so that its bits depend on no other; one that was seen lately is not computed again.
        """
        if torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None:
            return torch.cat([self.compute(picture) for picture in pictures.split(1)])
        return torch.cat([self._remembered(picture) for picture in pictures.split(1)])

    def _remembered(self, picture: Tensor) -> Tensor:
        content = picture.detach().cpu().contiguous().numpy().tobytes()
        key = (hashlib.sha256(content).digest(), picture.shape, picture.dtype, picture.device)
        features = self._recent.pop(key, None)
        if features is None:
            features = self.compute(picture)
        self._recent[key] = features  # the newest stands last
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return features

    def compute(self, picture: Tensor) -> Tensor:
        """The features of one picture (1, height, width, 3) -> (1, rows, columns, channels) float16.

        On a CPU one thread computes them, whatever `torch.set_num_threads` says: their bits depend on its number.
        """
        exact = torch.autocast(picture.device.type, enabled=False)  # whatever a training step computes in
        with torch.no_grad(), exact, _one_thread(picture.device):
            x = picture.permute(0, 3, 1, 2)
            x = x.float() if x.dtype == torch.uint8 else x.float() * 255
            rows, columns = self.grid(*x.shape[2:])
            size = (CELL * rows, CELL * columns)
            if x.shape[2:] != size:
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
            fine, coarse = (
                (level - mean.to(x.device)) / deviation.to(x.device)
                for level, (mean, deviation) in zip(self._network(x.device)(x), self._constants, strict=True)
            )
            halved = F.avg_pool2d(x, CELL // 8)
            pixels = F.pixel_unshuffle((halved - 127.5) / 63.75, 4)
            quarters = torch.cat([fine, pixels], 1).unflatten(3, (columns, 2)).unflatten(2, (rows, 2))
            quarters = quarters.permute(0, 2, 4, 3, 5, 1).flatten(3)  # (1, rows, columns, 4 * (fine + PIXELS))
            return torch.cat([quarters, coarse.permute(0, 2, 3, 1)], -1).half()

    def _network(self, device: torch.device) -> nn.Module:
        if device not in self._networks:
            self._networks[device] = copy.deepcopy(self._networks[torch.device("cpu")]).to(device)
        return self._networks[device]

    def __copy__(self) -> FrozenTrunk:
        return self

    def __deepcopy__(self, _: Any) -> FrozenTrunk:
        return self


@contextlib.contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Within it torch computes with one thread; threads that call at the same time take turns."""
    if device.type != "cpu" or torch.compiler.is_exporting():
        yield
        return
    with _turn:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


_turn = threading.Lock()


@torch.no_grad()
def _measured(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation of each channel of both maps on dead leaves, to four digits: no rounding of a machine's own
    shows in them."""
    pictures = torch.from_numpy(dead_leaves()).permute(0, 3, 1, 2).float()
    maps = [network(picture) for picture in pictures.split(1)]
    constants = []
    for level in zip(*maps, strict=True):
        values = torch.cat(level).transpose(0, 1).flatten(1)
        constants.append(tuple(_rounded(part) for part in (values.mean(1), values.std(1).clamp(min=1e-6))))
    return constants


def _rounded(values: Tensor) -> Tensor:
    return torch.tensor([float(f"{value:.4g}") for value in values.tolist()])
