"""Short videos of episodes: animated WebP, small enough to live inside a report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skilltokens.files import write_bytes
from skilltokens.simulation.simulators import Reply, Reset, Simulators, Step
from skilltokens.types import Suite

LIMIT = 300_000
"""Bytes that a video stays below."""
HOLD = 1200
"""Milliseconds that the last frame is held."""
SUCCESS, FAILURE = (38, 160, 90), (200, 60, 50)

_LADDER = ((320, 70, 1), (320, 45, 1), (240, 45, 1), (240, 40, 2), (160, 30, 2), (120, 20, 4), (80, 10, 8))
"""Longest side in pixels, quality, and how many frames become one: taken in turn until the video is small enough."""


class Camera(Simulators):
    """The simulators of one episode, which records it."""

    def __init__(self, suite: Suite, every: int):
        super().__init__(suite)
        self.frames: list[NDArray[np.uint8]] = []
        self._every = every
        self._moment = self._recorded = 0

    def reset(self, request: Reset) -> Reply:
        reply = super().reset(request)
        self.frames.clear()
        self._moment, self._recorded = 0, -1
        self.shoot()
        return reply

    def step(self, request: Step) -> Reply:
        reply = super().step(request)
        self._moment += 1
        if self._moment % self._every == 0:
            self.shoot()
        return reply

    def shoot(self) -> None:
        """Records this moment, unless it has been."""
        if self._recorded != self._moment:
            self.frames.append(self.picture())
            self._recorded = self._moment


def write_video(path: Path, frames: Sequence[NDArray[np.uint8]], success: bool, fps: int, limit: int = LIMIT) -> None:
    """Writes frames (height, width, 3) atomically; the last one is held, framed in green after success, else in red.

    Args:
        limit: bytes that the video should stay below; it is made smaller and poorer until it does.

    Raises:
        SkilltokensError: the file cannot be written.
    """
    content = b""
    for side, quality, stride in _LADDER:
        content = _encoded(frames, success, fps, side, quality, stride)
        if len(content) < limit:
            break
    write_bytes(Path(path), content)


def _encoded(
    frames: Sequence[NDArray[np.uint8]], success: bool, fps: int, side: int, quality: int, stride: int
) -> bytes:
    from PIL import Image, ImageDraw

    height, width = frames[0].shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    kept = [*frames[:-1:stride], frames[-1]]
    images = [Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR) for frame in kept]
    last = images[-1].copy()
    border = max(2, max(size) // 48)
    ImageDraw.Draw(last).rectangle(
        (0, 0, size[0] - 1, size[1] - 1), outline=SUCCESS if success else FAILURE, width=border
    )
    images.append(last)
    durations = [round(1000 * stride / fps)] * (len(images) - 1) + [HOLD]
    file = io.BytesIO()
    images[0].save(
        file, "WEBP", save_all=True, append_images=images[1:], duration=durations, loop=0, quality=quality, method=4
    )
    return file.getvalue()
