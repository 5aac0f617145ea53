"""Samples of what this process' main thread does: a timer's signal looks at its stack some hundred times a second.

Python handles a signal between two of its instructions. So a call into C (a product of matrices, a simulator's step) is
never interrupted: it is seen as soon as it returns, by the function that called it, and the whole time since the sample
before counts as that function's. Other threads and other processes, such as a simulator's worker, are seen as waiting.
"""

from __future__ import annotations

import signal
import sys
import time
from array import array
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Self

from skilltokens.types import SettingError

EVERY = 0.005
"""Seconds between two samples, at first."""
LIMIT = 50_000
"""Samples that are kept: where they are more, every other one goes, and from then on they are half as many a second."""

Stack = tuple[CodeType, ...]
"""Functions, the innermost first, which calls none of the others."""


class Sampler:
    """Samples while it is entered, which only the main thread can do.

    Attributes:
        stacks: all that were ever seen, by number.
        seconds: how long each of them was seen.

    Raises:
        SettingError: this is not the main thread, or something else uses the timer.
    """

    def __init__(self, every: float = EVERY, limit: int = LIMIT) -> None:
        self._every, self._limit = every, limit
        self._numbers: dict[tuple[int, ...], int] = {}
        """By the functions' addresses, since a function itself is slow to hash."""
        self._ends, self._seen = array("d"), array("L")
        self._began = self._last = 0.0
        self._taking = False
        self.stacks: list[Stack] = []
        self.seconds: list[float] = []

    def __enter__(self) -> Self:
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            raise SettingError("a profile needs the timer SIGALRM, which something else uses: leave out --profile")
        try:
            self._handler = signal.signal(signal.SIGALRM, self._take)
        except ValueError as problem:
            raise SettingError("only the main thread of a program can be profiled: leave out --profile") from problem
        signal.siginterrupt(signal.SIGALRM, False)  # a library's read or write goes on by itself
        self._began = self._last = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, self._every, self._every)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._handler)
        self._take(0, sys._getframe(1))  # what was done since the last sample

    def samples(self) -> Iterator[tuple[float, int]]:
        """Those that are kept: an end, in seconds since the beginning, and the number of the stack that was seen until
        then, from the end before on."""
        return zip(self._ends, self._seen, strict=True)

    def _take(self, _: int, frame: FrameType | None) -> None:
        if not self._taking:  # another signal, on a slow machine: the next sample counts its time
            self._taking = True
            self._add(frame)
            self._taking = False

    def _add(self, frame: FrameType | None) -> None:
        now, codes = time.perf_counter(), []
        while frame is not None and frame.f_code.co_filename == __file__:  # as the sampler begins or ends
            frame = frame.f_back
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        number = self._numbers.setdefault(tuple(map(id, codes)), len(self.stacks))
        if number == len(self.stacks):
            self.stacks.append(tuple(codes))
            self.seconds.append(0.0)
        self.seconds[number] += now - self._last
        self._last = now
        self._ends.append(now - self._began)
        self._seen.append(number)
        if len(self._ends) >= self._limit:
            self._thin()

    def _thin(self) -> None:
        """Drops every other sample, whose time then counts as the next one's in the trace, though not in `seconds`."""
        self._ends, self._seen = self._ends[1::2], self._seen[1::2]
        self._every *= 2
        if signal.getitimer(signal.ITIMER_REAL)[1]:  # not at the end
            signal.setitimer(signal.ITIMER_REAL, self._every, self._every)
