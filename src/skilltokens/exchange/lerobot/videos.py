"""Videos that hold the pictures of many episodes, one behind another: read from front to back, and written so.

A video is lossy: what is read is close to what was written, and not equal.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.frame import PictureType

from skilltokens.exchange.lerobot.sound import sound
from skilltokens.files import reading
from skilltokens.types import Array, DemonstrationError

TOLERANCE = 0.25
"""How far a picture may lie from its step, in steps: never so far that another could be meant."""
AHEAD = 2.0
"""Seconds that are decoded rather than skipped: a skip begins again at a whole picture."""
FORMAT = "yuv420p"
CODECS: dict[str, dict[str, str]] = {
    "libx264": {"g": "2", "crf": "20"},
    "libsvtav1": {"g": "2", "crf": "30", "preset": "10"},
}
"""Encoder -> its options; the first that PyAV has here is used. LeRobot's own default is the last, which takes no small
pictures. Every second picture is a whole one, so that a reader may begin anywhere."""
SMALLEST_AV1 = 64


class VideoReader:
    """Reads the pictures of videos; one is open at a time, and stays where the last episode ended."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._stack = contextlib.ExitStack()
        self._frames: Iterator[Any] = iter(())
        self._stream: Any = None
        self._container: Any = None
        self._next: Any = None
        """The picture that was decoded and not yet taken."""

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, path: Path, times: Array, fps: float, shape: tuple[int, ...], where: str) -> Array:
        """The pictures (steps, height, width, 3) at times in seconds, which rise.

        Args:
            where: the episode and the column, for messages.

        Raises:
            DemonstrationError: the video is missing, damaged, of another size, or has no picture at one of the times.
        """
        pictures = np.empty(0, np.uint8)
        margin = TOLERANCE / fps
        with sound(path, "video"):
            if path != self._path:
                self._open(path)
            self._go_to(float(times[0]), margin)
            for step, time in enumerate(times):
                while self._next is not None and self._time() < time - margin:
                    self._advance()
                if self._next is None or self._time() > time + margin:
                    raise DemonstrationError(
                        f"{path} has no picture at {time:.3f} s, of {where}, step {step}: it is truncated or of "
                        "another speed: get it again"
                    )
                picture = self._picture(path, shape, where)
                if step == 0:  # only now is it known that the declared shape is no fancy, which might fit no memory
                    pictures = np.empty((len(times), *shape), np.uint8)
                pictures[step] = picture
        return pictures

    def _open(self, path: Path) -> None:
        self._close()
        with reading(path, DemonstrationError):
            pass  # a pipe would be waited for
        self._container = self._stack.enter_context(av.open(str(path)))
        if not self._container.streams.video:
            raise DemonstrationError(f"{path} holds no video: get it again")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.options = {"err_detect": "explode"}
        self._frames = self._container.decode(self._stream)
        self._path = path
        self._advance()

    def _go_to(self, time: float, margin: float) -> None:
        """Leaves the next picture where it is, or goes to the whole picture before a time that lies far from it."""
        if self._next is not None and time - AHEAD < self._time() <= time + margin:
            return
        self._container.seek(
            max(0, round(time / float(self._stream.time_base)) - 1), stream=self._stream, backward=True
        )
        self._frames = self._container.decode(self._stream)
        self._advance()

    def _advance(self) -> None:
        self._next = next((frame for frame in self._frames if frame.pts is not None), None)

    def _time(self) -> float:
        return float(self._next.pts * self._stream.time_base)

    def _picture(self, path: Path, shape: tuple[int, ...], where: str) -> Array:
        if self._next.is_corrupt:
            raise DemonstrationError(f"{path} is damaged at {self._time():.3f} s, of {where}: get it again")
        size = [self._next.height, self._next.width, 3]
        if size != list(shape):
            raise DemonstrationError(f"{path} holds pictures of {size} where {list(shape)} is declared: correct one")
        return self._next.to_ndarray(format="rgb24")

    def _close(self) -> None:
        self._stack.close()
        self._path = self._next = None


class VideoWriter:
    """Writes pictures into one video."""

    def __init__(self, path: Path, fps: float, height: int, width: int, where: str) -> None:
        """
        `frames` and `size` are the pictures and about the bytes that were written so far.

        Args:
            where: what is written, for messages.

        Raises:
            DemonstrationError: no encoder here takes pictures of that size.
        """
        self.path, self._where = path, where
        self.frames = self.size = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        codec = _codec(height, width, where)
        with _encoding(where):
            self._container = av.open(str(path), "w", options={"movflags": "faststart"})
            rate = Fraction(fps).limit_denominator(1001)
            self._stream: Any = self._container.add_stream(codec, rate=rate, options=CODECS[codec])
            self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, FORMAT
            self._stream.codec_context.time_base = self._step = 1 / rate
            self.codec: str = self._stream.codec.canonical_name

    def write(self, pictures: Array) -> None:
        """Adds pictures (steps, height, width, 3) of uint8."""
        with _encoding(self._where):
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = self.frames, self._step
                frame.pict_type = PictureType.NONE
                self._add(self._stream.encode(frame))
                self.frames += 1

    def close(self) -> None:
        with _encoding(self._where):
            self._add(self._stream.encode(None))
            self._container.close()

    def _add(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self.size += packet.size
            self._container.mux(packet)

    def about(self) -> dict[str, Any]:
        """What LeRobot's info.json says of a video."""
        return {
            "video.height": self._stream.height,
            "video.width": self._stream.width,
            "video.codec": self.codec,
            "video.pix_fmt": FORMAT,
            "video.fps": math.floor(1 / self._step),
            "video.channels": 3,
            "has_audio": False,
            "is_depth_map": False,
        }


def _codec(height: int, width: int, where: str) -> str:
    if height % 2 or width % 2:
        raise DemonstrationError(
            f"{where} has pictures of {height} x {width}, and a video needs even numbers: export them as PNG (without "
            "--videos)"
        )
    for codec in CODECS:
        if codec in av.codecs_available and (codec != "libsvtav1" or min(height, width) >= SMALLEST_AV1):
            return codec
    raise DemonstrationError(f"PyAV has no encoder here for {where}: export its pictures as PNG (without --videos)")


@contextlib.contextmanager
def _encoding(where: str) -> Iterator[None]:
    """What PyAV raises as our own errors; a full disk stays what it is, for `files.replacing`."""
    try:
        yield
    except av.error.FFmpegError as problem:
        if isinstance(problem, OSError) and problem.errno is not None and problem.errno < 1000:
            raise OSError(problem.errno, problem.strerror) from problem
        raise DemonstrationError(
            f"the video of {where} could not be written ({str(problem)[:160]}): export its pictures as PNG"
        ) from problem
