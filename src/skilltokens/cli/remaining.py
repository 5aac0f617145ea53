"""How long several runs still take, by what the runs so far took: told before they start, and while they run."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from skilltokens.types import Progress

ENOUGH = 0.02
"""The share of a run that must be done before its own pace tells its time."""


@dataclass
class Expected:
    """One run as it is expected."""

    name: str
    kind: str
    """Runs of a kind are alike: their times differ as their guesses do."""
    guess: float | None
    """Seconds for the whole of it, on no particular machine; only their proportions count once a run has shown its
    pace. None: unknown, as for all runs of the kind of experiment."""
    done: float = 0.0
    """The share that is done already."""


@dataclass
class _Running:
    began: float
    done_before: float
    share: float
    left: float | None = None


@dataclass
class Remaining:
    """Seconds until the last run ends.

    A run's time is its guess, times the factor by which runs of its kind took longer than theirs; those of all kinds
    where none of its own is known. Runs start in their order, `at_once` at a time.
    """

    waiting: list[Expected]
    at_once: int = 1
    before: int = 0
    """Runs that were done before."""
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    """Run -> its kind, its seconds from beginning to end as far as is known, and its guess."""
    _running: dict[str, _Running] = field(default_factory=dict)
    _known: dict[str, Expected] = field(init=False)
    _ended: dict[str, bool] = field(default_factory=dict)
    """Run -> whether it failed."""

    def __post_init__(self) -> None:
        self._known = {run.name: run for run in self.waiting}

    @property
    def share(self) -> float:
        """How much of all runs is done, by the time that they take."""
        seconds = {name: self._seconds(run) for name, run in self._known.items()}
        shares = {name: running.share for name, running in self._running.items()}
        shares |= {name: 1.0 for name, failed in self._ended.items() if not failed}
        whole = sum(seconds.values())
        return sum(seconds[name] * share for name, share in shares.items()) / whole if whole else 1.0

    @property
    def runs_on(self) -> bool:
        """Whether any run is not at its end."""
        return bool(self.waiting or self._running)

    @property
    def counts(self) -> str:
        """`3 done, 2 run, 24 wait, 1 failed`."""
        failed = sum(self._ended.values())
        numbers = {
            "done": self.before + len(self._ended) - failed,
            "run": len(self._running),
            "wait": len(self.waiting),
            "failed": failed,
        }
        return ", ".join(f"{number} {what}" for what, number in numbers.items() if number or what == "done")

    def took(self, run: Expected, seconds: float) -> None:
        """A run is done, now or earlier, and took so long."""
        if seconds > 0:
            self._seen[run.name] = run.kind, seconds, run.guess or 1.0

    def update(self, name: str, news: Progress) -> None:
        """News of a run, which has begun then."""
        run = self._known.get(name)
        if run is None:
            return
        if name not in self._running:
            self.waiting = [other for other in self.waiting if other.name != name]
            self._running[name] = _Running(self.clock(), run.done, run.done)
        running, share = self._running[name], news.figures.get("overall", 0.0)
        if not 0 < share < 1:
            return
        running.share, running.left = share, news.figures.get("left")
        if running.left is None and share - running.done_before > ENOUGH:
            running.left = (self.clock() - running.began) / (share - running.done_before) * (1 - share)
        if running.left is not None:
            self.took(run, running.left / (1 - share))

    def finish(self, name: str, failed: bool) -> None:
        """A run has ended."""
        self.waiting = [other for other in self.waiting if other.name != name]
        running = self._running.pop(name, None)
        self._ended[name] = failed
        if running is not None and not failed and running.done_before < 1:
            self.took(self._known[name], (self.clock() - running.began) / (1 - running.done_before))

    @property
    def guessed(self) -> bool:
        """Whether `left` rests on guesses alone, since no run has shown its pace."""
        return not self._seen and self.left() is not None

    def left(self) -> float | None:
        """Seconds until the last one ends; None where nothing is known to tell them from."""
        if not self._seen and any(run.guess is None for run in self._known.values()):
            return None
        free: list[float] = []
        for name, running in self._running.items():
            run = self._known[name]
            expected = self._seconds(run) * (1 - running.share)
            free.append(running.left if running.left is not None else expected)
        free = sorted(free)
        free = [0.0] * max(0, self.at_once - len(free)) + free
        for run in self.waiting:
            heapq.heapreplace(free, free[0] + self._seconds(run) * (1 - run.done))
        return max(free, default=0.0)

    def _seconds(self, run: Expected) -> float:
        """For the whole of a run."""
        alike = [entry for entry in self._seen.values() if entry[0] == run.kind] or list(self._seen.values())
        guessed = sum(guess for _, _, guess in alike)
        return (run.guess or 1.0) * (sum(seconds for _, seconds, _ in alike) / guessed if guessed else 1.0)


def in_words(seconds: float | None) -> str:
    """A time as people say it, no more exact than an estimate is: `about 40 s`, `about 3 h 20 min`."""
    if seconds is None:
        return "a time that is not known yet"
    if seconds < 60:
        return f"about {round(seconds)} s"
    whole = round(seconds / 60)
    hours, rest = divmod(whole, 60)
    return f"about {hours} h {rest} min" if hours else f"about {rest} min"
