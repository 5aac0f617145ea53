"""How long a run still takes: counts the training steps and rollouts that are left, at the speed seen so far."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skilltokens.experiments.costs import Cost
from skilltokens.types import Progress, Report

# Seconds, until the run has shown its own: a small policy and a fast simulator on one core.
_STEP, _CELL, _VIDEO = 0.04, 6.0, 3.0


def guess(plan: Sequence[Cost]) -> float | None:
    """Seconds that a run takes, before anything is known of its pace; None for one whose costs are not known."""
    return sum(_STEP * lesson.steps + _CELL * (lesson.points + lesson.final) for lesson in plan) or None


@dataclass
class Pace:
    """Seconds for one unit of work, from what was seen; the guess counts like a tenth of one measured second."""

    guess: float
    seconds: float = 0.1
    units: float = field(init=False)

    def __post_init__(self) -> None:
        self.units = self.seconds / self.guess

    def saw(self, seconds: float, units: float) -> None:
        if seconds > 0 and units > 0:
            self.seconds += seconds
            self.units += units

    def of(self, units: float) -> float:
        return units * self.seconds / self.units


class Estimate:
    """A `Report` that adds the figures `overall` (share of the run that is done) and `left` (seconds) to the news."""

    def __init__(self, plan: Sequence[Cost], report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._report, self._clock = plan, report, clock
        self._step, self._cell = Pace(_STEP), Pace(_CELL)
        self._lesson, self._trained, self._tested, self._part = 0, 0, 0, 0.0
        self._last: tuple[str, float, float] | None = None

    def __call__(self, news: Progress) -> None:
        if news.stage == "video":  # behind the last lesson: little is left, and the share must not fall back
            ahead = max(news.total - news.done, 0)
            overall = 1 - 0.02 * ahead / max(news.total, 1)
            figures = {**news.figures, "overall": overall, "left": _VIDEO * ahead}
            self._report(dataclasses.replace(news, figures=figures))
            return
        number = self._number(news)
        if number is None:
            self._last = None
            self._report(news)
            return
        if number != self._lesson:
            self._lesson, self._trained, self._tested, self._part = number, 0, 0, 0.0
        self._measure(news)
        self._place(news)
        left = self.left()
        whole = sum(self._cost(lesson.steps, lesson.points + lesson.final) for lesson in self._plan)
        figures = {**news.figures, "overall": max(0.0, 1 - left / whole), "left": left}
        self._report(dataclasses.replace(news, figures=figures))

    def _number(self, news: Progress) -> int | None:
        """The lesson that is spoken of, if one is."""
        if news.stage == "variant":
            return len(self._plan) - 1
        known = news.lesson is not None and news.lesson < len(self._plan) and news.stage in ("train", "evaluate")
        return news.lesson if known else None

    def left(self) -> float:
        """Seconds from here to the end of the run."""
        now = self._plan[self._lesson]
        # A cell on the way is behind us when training has gone past its point.
        passed = round(self._trained / now.steps * now.points) if now.steps else now.points
        cells = max(0.0, now.points + now.final - passed - self._tested - self._part)
        seconds = self._cost(now.steps - self._trained, cells)
        return seconds + sum(
            self._cost(after.steps, after.points + after.final) for after in self._plan[self._lesson + 1 :]
        )

    def _cost(self, steps: float, cells: float) -> float:
        return self._step.of(steps) + self._cell.of(cells)

    def _measure(self, news: Progress) -> None:
        """Two pieces of news of the same stage tell its pace."""
        now, units = self._clock(), float(news.done) if news.stage == "train" else news.done / max(news.total, 1)
        if self._last is not None and self._last[0] == news.stage and units > self._last[2]:
            pace = self._step if news.stage == "train" else self._cell
            pace.saw(now - self._last[1], units - self._last[2])
        self._last = news.stage, now, units

    def _place(self, news: Progress) -> None:
        """Where in the lesson this is. Only cells at the end of a lesson are counted; those on the way are passed."""
        if news.stage == "train":
            self._trained, self._part = min(news.done, self._plan[self._lesson].steps), 0.0
            return
        share = news.done / max(news.total, 1)
        if self._trained >= self._plan[self._lesson].steps and share >= 1:
            self._tested, self._part = self._tested + 1, 0.0
        else:
            self._part = share if share < 1 else 0.0
