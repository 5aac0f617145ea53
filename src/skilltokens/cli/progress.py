"""The progress of runs: a live row for each on a terminal that can move its cursor, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from skilltokens.cli.remaining import Remaining, in_words
from skilltokens.escaping import terminal
from skilltokens.experiments.namesakes import STAGE as NAMESAKES
from skilltokens.language import LOADING
from skilltokens.simulation.memory import STAGE as MEMORY
from skilltokens.types import NOTE, Progress

QUIET, BRIEF = 20.0, 3.0
"""Seconds between two plain lines about the same stage of a run, and about a new one."""

NOTES = (MEMORY, NAMESAKES, NOTE)
"""Stages whose news are a sentence that is sent once, and stays on the screen."""

BAR, LEFT = 90, 60
"""Columns that a terminal must have for a row to hold a bar, and the time left."""

ALL = "in all"
"""The name of the row about all runs together."""


@dataclass
class Clock:
    """When something began, and when it will end: by its own estimate, or at the speed of this stage so far."""

    began: float = field(default_factory=time.monotonic)
    first: tuple[float, float] | None = None
    """(time, share done) of the first news of a stage: a resumed run begins with some of it done."""
    done: float = 0.0
    estimate: float | None = None
    """Seconds left by the news' own figure "left", if they have one."""

    def note(self, news: Progress) -> None:
        before, self.done = self.done, share(news)
        if self.first is None or self.done < before:  # a new stage, whose pace is another
            self.first = time.monotonic(), self.done
        self.estimate = news.figures.get("left")

    @property
    def gone(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> float | None:
        """Seconds left, or None while nothing is known to estimate them from."""
        if self.estimate is not None:
            return self.estimate
        if self.first is None or self.done - self.first[1] < 0.005:
            return None
        return (time.monotonic() - self.first[0]) * (1 - self.done) / (self.done - self.first[1])


def share(progress: Progress) -> float:
    """How much of the whole is done, 0 to 1: the figure "overall" where a loop inside another knows it."""
    part = progress.done / progress.total if progress.total else 0.0
    return min(max(progress.figures.get("overall", part), 0.0), 1.0)


def words(progress: Progress) -> str:
    """A line of news as people read it: `train push (2/4) 240/600, loss 0.012`."""
    known = {name: value for name, value in progress.figures.items() if name not in ("overall", "left")}
    figures = "".join(f", {name} {value:.3g}" for name, value in known.items())
    name = f" {progress.note}" if progress.note else ""
    count = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
    return terminal(f"{progress.stage}{name}{count}{figures}")


class Notes:
    """The sentences that stay; what every run says of the tasks that all of them have is said for the first alone."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def line(self, news: Progress) -> str | None:
        """The sentence to show; None where it has been said."""
        if news.stage == NAMESAKES and news.note in self._said:
            return None
        self._said.add(news.note)
        return terminal(news.note)


def minutes(seconds: float | None) -> str:
    """`1:05` or `2:01:05`."""
    if seconds is None:
        return "-:--"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Plain:
    """Lines on standard error, for logs and pipes: at every new stage, and every QUIET seconds in a long one."""

    def __init__(self, names: Sequence[str], remaining: Remaining | None = None) -> None:
        self._clocks: dict[str, Clock] = {}
        self._last: dict[str, tuple[tuple[str, str], float]] = {}
        self._width = max((len(name) for name in names), default=0)
        self._notes = Notes()
        self._remaining = remaining

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, name: str, progress: Progress) -> None:
        if progress.stage in NOTES:
            line = self._notes.line(progress)
            if line is not None:
                self._say(name, line)
            return
        if progress.stage == LOADING:  # sent once, before seconds of silence: never left out
            self._say(name, words(progress))
            return
        clock = self._clocks.setdefault(name, Clock())
        clock.note(progress)
        if self._remaining is not None:
            self._remaining.update(name, progress)
        stage, now = (progress.stage, progress.note), time.monotonic()
        before = self._last.get(name)
        if before is not None and now - before[1] < (QUIET if before[0] == stage else BRIEF):
            return
        self._last[name] = stage, now
        left = "" if clock.left is None else f", about {minutes(clock.left)} left"
        self._say(name, f"{clock.done:4.0%}  {words(progress)}{left}")

    def finish(self, name: str, failure: str | None) -> None:
        clock = self._clocks.get(name) or Clock()
        self._say(name, f"failed: {terminal(failure)}" if failure else f"done in {minutes(clock.gone)}")
        if self._remaining is not None:
            self._remaining.finish(name, failure is not None)
            left = f"; {in_words(self._remaining.left())} left" if self._remaining.runs_on else ""
            self._say(ALL, f"{self._remaining.counts}{left}")

    def announce(self, text: str) -> None:
        """A line about all runs."""
        print(terminal(text), file=sys.stderr, flush=True)

    def _say(self, name: str, text: str) -> None:
        print(f"{name:<{self._width}}  {text}", file=sys.stderr, flush=True)


class Rows:
    """One live row for each run: a bar, the share done, the time left, and what it is doing.

    With `remaining` there is a row about all of them. Where they are more than the terminal has lines, those that run
    are shown, and of the others those that failed; the row about all counts the rest.
    """

    def __init__(self, names: Sequence[str], console: Console, remaining: Remaining | None = None) -> None:
        self._bars = Bars(*_columns(console.width), console=console, refresh_per_second=4)
        self._clocks: dict[str, Clock] = {}
        self._notes = Notes()
        self._remaining = remaining
        self._ended: dict[str, bool] = {}
        """Run -> whether it failed."""
        self._rows: dict[str, TaskID] = {
            name: self._bars.add_task(name, total=1.0, left="", now="waiting", start=False) for name in names
        }
        self._all = self._bars.add_task(ALL, total=1.0, left="", now="", visible=remaining is not None)
        self._fold()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, name: str, progress: Progress) -> None:
        if progress.stage in NOTES:  # above the rows
            line = self._notes.line(progress)
            if line is not None:
                self._bars.console.print(Text(f"{name}: {line}"))
            return
        row = self._rows[name]
        self._bars.start_task(row)  # until then its bar only swings
        if progress.stage == LOADING:  # within any other stage, whose share stays
            self._bars.update(row, now=words(progress))
            return
        new = name not in self._clocks
        clock = self._clocks.setdefault(name, Clock())
        clock.note(progress)
        left = minutes(clock.left) + " left" if clock.left is not None else ""
        self._bars.update(row, completed=clock.done, left=left, now=words(progress))
        if self._remaining is not None:
            self._remaining.update(name, progress)
            self._show_all()
        if new:
            self._fold()

    def finish(self, name: str, failure: str | None) -> None:
        clock = self._clocks.get(name) or Clock()
        if failure:  # above the rows at once: other runs may take hours more
            self._bars.console.print(Text(f"{name}: {terminal(failure)}"))
        now, done = ("failed", clock.done) if failure else (f"done in {minutes(clock.gone)}", 1.0)
        self._bars.start_task(self._rows[name])
        self._bars.update(self._rows[name], completed=done, left="", now=now)
        self._ended[name] = failure is not None
        if self._remaining is not None:
            self._remaining.finish(name, failure is not None)
            self._show_all()
        self._fold()

    def announce(self, text: str) -> None:
        """A line about all runs, above the rows."""
        self._bars.console.print(Text(terminal(text)))

    def _show_all(self) -> None:
        assert self._remaining is not None
        left = minutes(self._remaining.left()) + " left"
        self._bars.update(self._all, completed=self._remaining.share, left=left, now=self._remaining.counts)

    def _fold(self) -> None:
        """Hides rows where there are more than lines: first those that are done or wait, then failed ones."""
        lines = max(1, self._bars.console.height - 2)
        if len(self._rows) <= lines:
            return
        running = [name for name in self._clocks if name not in self._ended]
        failed = [name for name, has_failed in self._ended.items() if has_failed]
        shown = set([*running, *reversed(failed)][:lines])
        for name, row in self._rows.items():
            self._bars.update(row, visible=name in shown)


class _Now(TextColumn):
    """What a run is doing, on one line: the column that is cut where a terminal is too narrow for all."""

    def __init__(self) -> None:
        super().__init__("{task.fields[now]}", style="dim", markup=False, table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _columns(width: int) -> list[ProgressColumn]:
    """What a row shows on a terminal of so many columns: its name, the share done and what it does on any."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    if width >= BAR:
        columns.append(BarColumn(bar_width=24, table_column=Column(no_wrap=True)))
    columns.append(TextColumn("{task.percentage:>3.0f} %"))
    if width >= LEFT:
        columns.append(TextColumn("{task.fields[left]:>8}", style="cyan"))
    return [*columns, _Now()]


def watching(names: Sequence[str], remaining: Remaining | None = None) -> Rows | Plain:
    """Rows where standard error is a terminal that can move its cursor, else plain lines. A context manager.

    Args:
        remaining: estimates how long all of them take, where there are several.
    """
    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal
    return Rows(names, console, remaining) if live else Plain(names, remaining)


class Single(AbstractContextManager["Single"]):
    """The progress of one thing: call it with each Progress, as a `Report`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._view = watching([name])
        self._started = False

    def __call__(self, progress: Progress) -> None:
        self._started = True
        self._view.update(self._name, progress)

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started and kind is None:
            self._view.finish(self._name, None)
        self._view.__exit__(kind, error, trace)
