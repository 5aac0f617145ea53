"""The page's drawings of success: each takes groups of runs and returns one SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from skilltokens import metrics
from skilltokens.report.summary import Group
from skilltokens.report.svg import Plot, element, marker, picture, tone
from skilltokens.report.text import MINUS, rate, shortened

RATE_TICKS = ((0.0, "0"), (0.5, ".5"), (1.0, "1"))


def whisker(value: float, interval: metrics.Interval | None, index: int) -> Markup:
    """A rate from 0 to 1 as a bar, with its interval as a line through the end. Decorative: the number is beside it."""
    width, height = 120.0, 12.0
    parts = [
        element("rect", class_="track", x=0, y=3, width=width, height=6, rx=3),
        element("rect", class_="fill", x=0, y=3, width=max(value, 0.0) * width, height=6, rx=3),
    ]
    if interval is not None:
        low, high = interval.low * width, interval.high * width
        parts.append(element("path", class_="whisker", d=f"M{low:.1f} 6H{high:.1f}M{low:.1f} 2v8M{high:.1f} 2v8"))
    return element(
        "svg",
        *parts,
        class_=f"whisker-bar {tone(index)}",
        viewBox=f"-1 0 {width + 2:g} {height:g}",
        aria_hidden="true",
        preserveAspectRatio="none",
    )


def seen(group: Group) -> dict[int, np.ndarray]:
    """By the number of tasks learned so far, the mean success over them in each seed: (seeds,) arrays.

    Without those after which not all of them were tested.
    """
    if group.joint:
        return {}
    lessons = {}
    for t in range(group.first.together - 1, max(run.learned for run in group.runs)):
        whole = [run for run in group.runs if run.learned > t and (run.episodes[t, : t + 1] > 0).all()]
        if whole:
            means = [metrics.rates(r.successes[t, : t + 1], r.episodes[t, : t + 1]).mean() for r in whole]
            lessons[t + 1] = np.array(means)
    return lessons


def retention(groups: Sequence[Group], tasks: int, places: Mapping[str, int] | None = None) -> Markup:
    """Mean success over all skills seen so far, after each lesson: one line a method, its seeds' range as a band.

    Args:
        places: of each group's label, which says its colour; None: as the groups come.
    """
    places = places or {group.label: index for index, group in enumerate(groups)}
    plot = Plot(30, 10, 352, 186, low=(0.7, 0), high=(max(tasks, 2) + 0.3, 1))
    parts = [plot.rules(((0.0, "0"), (0.25, ""), (0.5, ".5"), (0.75, ""), (1.0, "1")))]
    step = 1 if tasks <= 12 else math.ceil(tasks / 10)
    parts.append(plot.feet([(t, str(t)) for t in range(1, tasks + 1, step)], "skills learned so far"))
    phrases = []
    for group in groups:
        index, lessons = places[group.label], seen(group)
        if not lessons:
            parts.append(_reference(plot, group, index))
            continue
        xs = list(lessons)
        means = [float(values.mean()) for values in lessons.values()]
        gaps = xs[-1] - xs[0] >= len(xs)
        if len(group.runs) > 1 and not gaps:
            low, high = ([float(pick(v)) for v in lessons.values()] for pick in (np.min, np.max))
            parts.append(element("g", plot.band(xs, low, high), class_=tone(index)))
        titles = [
            f"{group.label}, after skill {x}: {rate(mean)} over those seen" for x, mean in zip(xs, means, strict=True)
        ]
        parts.append(plot.series(index, xs, means, titles, line="gap" if gaps else "line"))
        phrases.append(f"{group.label} from {rate(means[0])} to {rate(means[-1])}")
    label = f"Mean success over all skills seen so far after each lesson: {'; '.join(phrases)}."
    return picture(360, 220, label, *parts)


def _reference(plot: Plot, group: Group, index: int) -> Markup:
    """A method without lessons has one figure only: a mark at the right edge."""
    figures = [run.figures.final for run in group.runs if run.figures is not None]
    if not figures:
        return Markup("")
    y = plot.y(float(np.mean(figures)))
    title = element("title", f"{group.label}, all skills in one lesson: {rate(float(np.mean(figures)))}")
    line = element("line", class_="line", x1=plot.right - 34, x2=plot.right, y1=y, y2=y, stroke_dasharray="1 3")
    return element("g", title, line, marker(index, plot.right, y), class_=tone(index))


def dumbbells(group: Group, index: int, tasks: Sequence[str]) -> Markup:
    """What became of each skill: success when it was learned (ring) and after the last lesson (filled mark)."""
    n = group.learned
    good, tried, _ = group.cells
    c = metrics.rates(good, tried)
    row = 20
    plot = Plot(146, 8, 304, 8 + row * n)
    names = shortened(tasks, 18)
    parts = [
        element("line", class_="grid", x1=plot.x(v), x2=plot.x(v), y1=plot.top, y2=plot.bottom) for v in (0, 0.5, 1)
    ]
    for k in range(n):
        y, start, end = plot.top + row * (k + 0.5), float(c[group.first.row(k), k]), float(c[n - 1, k])
        lost = start - end
        name = element("text", f"{k + 1} {names[k]}", class_="name", x=0, y=y + 3.8)
        ring = element("circle", class_="ring", cx=plot.x(start), cy=y, r=5.4)
        mark = marker(index, plot.x(end), y, 3.4)
        title = element("title", f"{tasks[k]}: {rate(start)} when learned, {rate(end)} after the last lesson")
        bar = element("line", class_="loss" if lost > 0 else "gain", x1=plot.x(start), x2=plot.x(end), y1=y, y2=y)
        figure = element("text", _change(lost), class_="delta end lost" if lost > 0 else "delta end", x=352, y=y + 3.8)
        parts.append(element("g", title, name, bar, ring, mark, figure))
    parts.append(plot.feet(RATE_TICKS))
    lost = float(np.mean([c[group.first.row(k), k] - c[n - 1, k] for k in range(n)])) if n else 0.0
    label = f"{group.label}: success of each skill when learned and after the last lesson; mean loss {rate(lost)}."
    return picture(352, plot.bottom + 20, label, *parts, class_=f"chart {tone(index)}")


def learning(groups: Sequence[Group], task: int, name: str) -> Markup | None:
    """One task's learning curves, success against the share of its training done; None where nobody has one."""
    plot = Plot(22, 8, 162, 84)
    parts = [plot.rules(RATE_TICKS), plot.feet(RATE_TICKS)]
    phrases = []
    for index, group in enumerate(groups):
        curve = group.curve(task)
        if curve is None or len(curve.progress) == 0:
            continue
        ys = metrics.rates(curve.successes, curve.episodes)
        titles = [
            f"{group.label}: {good} of {tried} at {p:.0%} of training"
            for p, good, tried in zip(curve.progress, curve.successes, curve.episodes, strict=True)
        ]
        parts.append(plot.series(index, curve.progress.tolist(), ys.tolist(), titles, size=2.6))
        phrases.append(f"{group.label} {', '.join(rate(float(y)) for y in ys)}")
    if not phrases:
        return None
    return picture(170, 104, f"Learning curves of {name}: {'; '.join(phrases)}.", *parts)


def losses(group: Group, index: int) -> Markup | None:
    """Training loss of each lesson, one after another along the axis, on a logarithmic scale."""
    run = next((run for run in group.runs if run.record.learning), None)
    lessons = [
        (np.array(lesson.iterations, dtype=float), np.array(lesson.loss, dtype=float))
        for lesson in (run.record.learning if run else [])
    ]
    lessons = [(x[y > 0], y[y > 0]) for x, y in lessons]
    lessons = [(x, y) for x, y in lessons if len(x)]
    if not lessons:
        return None
    low, high = (np.log10([pick(y) for _, y in lessons]) for pick in (np.min, np.max))
    bottom, top = float(np.floor(low.min())), float(np.ceil(high.max()))
    total = sum(float(x.max()) for x, _ in lessons) or 1.0
    plot = Plot(34, 8, 350, 110, low=(0, bottom), high=(total, max(top, bottom + 1)))
    parts = [plot.rules([(v, f"{10.0**v:g}") for v in range(int(bottom), int(max(top, bottom + 1)) + 1)])]
    start = 0.0
    for k, (x, y) in enumerate(lessons):
        points = plot.points(start + x, np.log10(y))
        line = element("path", class_="line", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points))
        width = plot.x(float(x.max())) - plot.left
        label = element("text", str(k + 1), class_="tick mid", x=plot.x(start) + width / 2, y=plot.bottom + 14)
        wall = element("line", class_="grid", x1=plot.x(start), x2=plot.x(start), y1=plot.top, y2=plot.bottom)
        parts.append(element("g", element("title", f"lesson {k + 1}"), wall, line, label))
        start += float(x.max())
    label = f"Training loss of {group.label}, lesson by lesson, seed {run.seed if run else 0}."
    return picture(360, 130, label, *parts, class_=f"chart {tone(index)}")


def _change(lost: float) -> str:
    return "kept" if lost == 0 else f"{MINUS if lost > 0 else '+'}{abs(lost):.2f}"
