"""Drawings of a comparison: each names its methods beside its marks, in a column where no two names meet."""

from __future__ import annotations

import math
from collections.abc import Callable

from skilltokens.report import text
from skilltokens.report.comparison.curves import demonstrations, growth, learning, profiles
from skilltokens.report.comparison.diagram import diagram
from skilltokens.report.comparison.labels import RATES, WIDTH, Drawing, height, named, names, places
from skilltokens.report.comparison.model import Comparisons, Costs, Table
from skilltokens.report.comparison.standing import leaders, ranked
from skilltokens.report.finding import name_of
from skilltokens.report.svg import Plot, element, marker, picture, tone


def drawings(comparisons: Comparisons) -> list[Drawing]:
    """Those that the comparison has something for: one over all tables, and those of its first table."""
    table = comparisons.tables[0]
    every = [
        demonstrations(comparisons),
        intervals(table),
        against(table, "trained", lambda costs: costs.trained, "parameters trained a skill"),
        against(table, "stored", _stored, "bytes stored in the end"),
        learning(table),
        growth(table),
        profiles(table),
        diagram(table),
    ]
    return [one for one in every if one is not None]


def intervals(table: Table) -> Drawing:
    """Final success of each method with its interval, the best first; filled are those not told from the best."""
    order, top = ranked(table), leaders(table)
    bottom = height(table) - 34
    plot = Plot(138, 10, 322, bottom)
    parts = [element("line", class_="grid", x1=plot.x(v), x2=plot.x(v), y1=plot.top, y2=plot.bottom) for v, _ in RATES]
    labels = names(order)
    row = min((plot.bottom - plot.top) / len(order), 20.0)
    for place, (one, name) in enumerate(zip(order, labels, strict=True)):
        value, ends, y = one.final.value or 0.0, one.final.interval, plot.top + row * (place + 0.5)
        title = element("title", f"{one.label}: {text.rate(value)} [{text.span(ends)}]")
        whisker = f"M{plot.x(ends.low):.1f} {y:.1f}H{plot.x(ends.high):.1f}" if ends is not None else ""
        mark = "fill" if one.label in top else "hollow"
        parts.append(
            element(
                "g",
                title,
                element("text", name, class_="name end", x=plot.left - 8, y=y + 3.8),
                element("path", class_="line", d=whisker) if whisker else "",
                element("circle", class_=mark, cx=plot.x(value), cy=y, r=4.0),
                element("text", text.rate(value), class_="end", x=float(WIDTH), y=y + 3.8),
                class_=tone(place),
            )
        )
    parts.append(plot.feet([(v, label) for v, label in RATES if label], "final success"))
    words = "; ".join(f"{one.label} {text.rate(one.final.value)}" for one in order)
    note = "Lines are 95 % intervals. Filled: what cannot be told from the best."
    return Drawing("Final success", note, picture(WIDTH, height(table), f"Final success: {words}.", *parts))


def against(table: Table, key: str, of: Callable[[Costs], float | None], axis: str) -> Drawing | None:
    """Final success against a cost, on a logarithmic axis; None where nobody's is known, or all are the same."""
    known = [(one, cost) for one in ranked(table) if (cost := of(one.costs)) and one.final.value is not None]
    if len({cost for _, cost in known}) < 2:
        return None
    logs = [math.log10(cost) for _, cost in known]
    low, high = min(logs) - 0.1, max(logs) + 0.1
    plot = Plot(30, 10, 206, height(table) - 34, low=(low, 0), high=(high, 1))
    parts = [plot.rules(RATES), plot.feet(_decades(low, high), axis)]
    where = places(table)
    ends = []
    for (one, cost), name in zip(known, names([one for one, _ in known]), strict=True):
        x, y = plot.x(math.log10(cost)), plot.y(one.final.value or 0.0)
        place = where[one.label]
        title = element("title", f"{one.label}: {text.rate(one.final.value)} at {_short(cost)}")
        parts.append(element("g", title, marker(place, x, y, 4), class_=tone(place)))
        ends.append((place, name, x, y))
    words = "; ".join(f"{one.label} {text.rate(one.final.value)} at {_short(cost)}" for one, cost in known)
    drawn = picture(WIDTH, height(table), f"Final success against {axis}: {words}.", *parts, named(plot, ends))
    shown = {one.label for one, _ in known}
    absent = text.listed([name_of(one.group) for one in ranked(table) if one.label not in shown])
    note = f"Not shown, since this is 0 or not known of it: {absent}." if absent else ""
    return Drawing(f"Success against what is {key}", note, drawn)


def _stored(costs: Costs) -> float | None:
    return None if costs.stored_bytes is None else costs.stored_bytes + (costs.remembered_bytes or 0.0)


_STEPS = ((1, 2, 5), range(1, 10), [tenths / 10 for tenths in range(10, 100)])
"""Ticks within a power of ten, coarse to fine."""


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis, at most five: 1, 2 and 5 of each power of ten, finer ones where few of them fit."""
    powers, ticks = range(math.floor(low), math.ceil(high) + 1), list[float]()
    for steps in _STEPS:
        candidates = (math.log10(step * 10.0**power) for power in powers for step in steps)
        ticks = [tick for tick in candidates if low <= tick <= high]
        if len(ticks) > 1:
            break
    every = max(math.ceil(len(ticks) / 4), 1)
    return [(tick, _short(10.0**tick)) for tick in ticks[::every]]


def _short(number: float) -> str:
    """A large number in thousands, millions or billions."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
