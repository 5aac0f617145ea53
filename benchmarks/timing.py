"""The one way that everything here is timed: the sides of a comparison take turns, and the median ratio counts.

Times are processor times of this process (of its ended children for start-up): unlike wall-clock time they do not
grow when other programs take the processor away, though caches and clock rates are still shared with them.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 9
    """Turns that every side gets."""
    seconds: float = 0.1
    """The least processor time of one turn; calls are repeated until then."""


QUICK = Effort(rounds=2, seconds=0.002)
"""Enough to see that a benchmark runs, not to believe its figures."""


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times as long `ours` takes as `reference`."""

    benchmark: str
    ours: str
    reference: str
    ratio: float
    """The median over the rounds."""
    low: float
    high: float
    """The quartiles over the rounds."""
    least: float
    """The ratio of the shortest times."""
    ours_s: float
    reference_s: float
    """Medians, in seconds of processor time for one unit of work."""
    rounds: int
    good: str
    """What a good ratio is."""
    sizes: str = ""
    """How many parameters each side has, where that is not the same by itself."""


def spent() -> float:
    """Processor seconds of this process, all its threads together."""
    return time.process_time()


def spent_by_children() -> float:
    """Processor seconds of the child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def take_turns(
    sides: Mapping[str, Callable[[], object]], effort: Effort, clock: Clock = spent
) -> dict[str, list[float]]:
    """Seconds of one call of each side, once a round. The order of the sides is reversed in every other round."""
    calls = {name: _calls(side, effort.seconds, clock) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    collects = gc.isenabled()
    gc.disable()
    try:
        for _ in range(effort.rounds):
            for name in order:
                seconds[name].append(_timed(sides[name], calls[name], clock) / calls[name])
            order.reverse()
            gc.collect()
    finally:
        if collects:
            gc.enable()
    return seconds


def row(
    benchmark: str,
    times: Mapping[str, list[float]],
    ours: str,
    reference: str,
    good: str,
    *,
    units: tuple[float, float] = (1.0, 1.0),
    sizes: str = "",
) -> Row:
    """Compares two sides of `take_turns`; `units` says how many units of work one call of each side does."""
    mine = [value / units[0] for value in times[ours]]
    other = [value / units[1] for value in times[reference]]
    ratios = [a / b for a, b in zip(mine, other, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Row(
        benchmark,
        ours,
        reference,
        statistics.median(ratios),
        low,
        high,
        min(mine) / min(other),
        statistics.median(mine),
        statistics.median(other),
        len(ratios),
        good,
        sizes,
    )


def _calls(side: Callable[[], object], seconds: float, clock: Clock) -> int:
    """How many calls fill one turn; the first call, which may load or compile something, is not counted."""
    side()
    calls = 1
    while (taken := _timed(side, calls, clock)) < seconds:
        calls = max(calls + 1, min(10 * calls, round(1.2 * calls * seconds / max(taken, 1e-9))))
    return calls


def _timed(side: Callable[[], object], calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        side()
    return clock() - start
