"""The drawings of a comparison that have a line for each method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import UNSET

from skilltokens import metrics
from skilltokens.report import text
from skilltokens.report.comparison.labels import RATES, WIDTH, Drawing, height, named, names, places
from skilltokens.report.comparison.model import Comparisons, Contender, Table
from skilltokens.report.comparison.ranks import final_rates
from skilltokens.report.comparison.standing import ranked
from skilltokens.report.runs import Run
from skilltokens.report.svg import Plot, dash, element, marker, path, picture, tone

Line = tuple[Contender, Sequence[float], Sequence[float]]
"""Whose it is, and its points, x and y."""


def learning(table: Table) -> Drawing | None:
    """Mean success on the task being learned, against the iterations of its lesson done."""
    lines: list[Line] = []
    for one in ranked(table):
        steps = one.group.first.config.get("train.iterations")
        curves = [curve for task in range(len(table.tasks)) if (curve := one.group.curve(task)) is not None]
        shared = sorted(set.intersection(*(set(curve.progress.tolist()) for curve in curves))) if curves else []
        if len(shared) > 1 and isinstance(steps, int):
            means = [
                float(np.mean([metrics.rates(c.successes, c.episodes)[c.progress == point][0] for c in curves]))
                for point in shared
            ]
            lines.append((one, [point * steps for point in shared], means))
    if not lines:
        return None
    note = "The mean over tasks, each while it is learned; the area below is FWT."
    return _lines(table, lines, "Success while a task is learned", "iterations of the lesson", note)


def profiles(table: Table) -> Drawing:
    """The share of (task, seed) pairs whose final success is at least so high (Agarwal et al., arXiv 2108.13264)."""
    lines: list[Line] = []
    for one in ranked(table):
        xs, ys = profile(final_rates(one).ravel())
        lines.append((one, xs, ys))
    note = "A line that lies higher is better at every level that it lies higher at."
    return _lines(
        table,
        lines,
        "Performance profile",
        "final success of a task is at least",
        note,
        steps=True,
        side="share of tasks and seeds",
    )


def profile(values: np.ndarray) -> tuple[list[float], list[float]]:
    """The steps of the share of `values` (n,) that are at least x, for x from 0 to 1: the corners, x and y."""
    xs, ys, before = [0.0], [1.0], 0.0
    for level in np.unique([*values[values > 0], 1.0]).tolist():
        share = float((values >= level - 1e-9).mean())
        xs, ys, before = [*xs, before, level], [*ys, share, share], level
    return xs, ys


def demonstrations(comparisons: Comparisons) -> Drawing | None:
    """Final success against demonstrations of a task, over tables that differ in those; None where they do not."""
    first = comparisons.tables[0]
    alike = [table for table in comparisons.tables if (table.suite, table.tasks) == (first.suite, first.tasks)]
    points: dict[str, dict[float, float]] = {}
    for table in alike:
        for one in table.contenders:
            if one.finished and one.costs.demonstrations and one.final.value is not None:
                points.setdefault(one.label, {})[one.costs.demonstrations] = one.final.value
    points = {label: dict(sorted(known.items())) for label, known in points.items() if len(known) > 1}
    if not points:
        return None
    owners = {one.label: one for table in alike[::-1] for one in table.contenders}
    lines = [(owners[label], [math.log10(x) for x in known], list(known.values())) for label, known in points.items()]
    counts = sorted({count for known in points.values() for count in known})
    feet = [(math.log10(count), f"{count:g}") for count in counts]
    note = "Each number of demonstrations is a table of its own: with others, other runs."
    return _lines(first, lines, "Success against demonstrations", "demonstrations of a task", note, feet=feet)


LIFE = 20
"""Lessons from which on the cost of each is drawn."""


def growth(table: Table) -> Drawing | None:
    """Seconds of training each lesson, against its number; None for a short life."""
    lines: list[Line] = []
    seconds_of = _seconds([run for one in table.contenders for run in one.group.runs])
    for one in ranked(table):
        times = [seconds_of(run) for run in one.group.runs]
        lessons = min(len(seconds) for seconds in times)
        if lessons >= LIFE:
            means = np.mean([seconds[:lessons] for seconds in times], 0)
            medians = [float(np.median(means[max(0, k - 2) : k + 3])) for k in range(lessons)]
            lines.append((one, [float(k) for k in range(1, lessons + 1)], medians))
    most = max((max(ys) for _, _, ys in lines), default=0.0)
    if not most:
        return None
    step = 10.0 ** math.floor(math.log10(most))
    top = math.ceil(most / step) * step
    return _lines(
        table,
        lines,
        "Cost of a lesson",
        "lesson",
        "Seconds of training, the median of five lessons around each: the processor's where all runs say them, else by "
        "the clock, in which other work on the machine shows.",
        steps=True,
        side="seconds",
        ticks=[(0.0, "0"), (top / 2, f"{top / 2:.3g}"), (top, f"{top:.3g}")],
        words=lambda ys: ", ".join(f"{y:.0f}" for y in ys),
    )


def _seconds(runs: Sequence[Run]) -> Callable[[Run], list[float]]:
    """What gives a run's seconds of training by lesson: the processor's, or by the clock where a run lacks those."""

    def processor(run: Run) -> list[float]:
        times = run.record.timing.train_cpu_s
        return [] if times is UNSET else [seconds for seconds in times if seconds is not None]

    known = all(len(processor(run)) == len(run.record.timing.train_s) for run in runs)
    return processor if known else lambda run: run.record.timing.train_s


def _lines(
    table: Table,
    lines: Sequence[Line],
    title: str,
    axis: str,
    note: str,
    *,
    steps: bool = False,
    feet: Sequence[tuple[float, str]] = (),
    side: str = "success",
    ticks: Sequence[tuple[float, str]] = RATES,
    words: Callable[[Sequence[float]], str] = lambda ys: ", ".join(map(text.rate, ys)),
) -> Drawing:
    """One line a method, its name at its end.

    Args:
        steps: the points are no measurements, or so many that marks would hide the lines.
        feet, ticks: of both axes; no feet: three of them.
        words: what a line says to who does not see it.
    """
    every = [x for _, xs, _ in lines for x in xs]
    low, high = min(every), max(every)
    plot = Plot(30, 10, 222, height(table) - 34, low=(low, 0), high=(high, ticks[-1][0]))
    middle = (low + high) / 2
    shown = feet or [(x, f"{x:,.0f}" if high > 10 else f"{x:.3g}") for x in (low, middle, high)]
    parts = [plot.rules(ticks), plot.feet(shown, axis)]
    where = places(table)
    ends, phrases = [], []
    for (one, xs, ys), name in zip(lines, names([one for one, _, _ in lines]), strict=True):
        place = where.get(one.label, len(where))
        points = plot.points(xs, ys)
        line = element("path", class_="line", d=path(points), stroke_dasharray=dash(place))
        dots = [] if steps else [marker(place, x, y, 2.8) for x, y in points]
        parts.append(element("g", element("title", one.label), line, *dots, class_=tone(place)))
        ends.append((place, name, *points[-1]))
        phrases.append(f"{one.label} {words(ys[::2] if steps else ys)}")
    label = f"{title}, {side} against {axis}: {'; '.join(phrases)}."
    return Drawing(title, note, picture(WIDTH, height(table), label, *parts, named(plot, ends)))
