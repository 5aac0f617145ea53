"""What the drawings of a comparison share: their size, the names of methods, and names in a column beside a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from skilltokens.report import text
from skilltokens.report.comparison.model import Contender, Table
from skilltokens.report.comparison.standing import ranked
from skilltokens.report.finding import name_of
from skilltokens.report.svg import Plot, element, marker, tone

WIDTH, LETTERS = 360, 20
ROW = 12.5
"""Between two names in a column."""
RATES = ((0.0, "0"), (0.25, ""), (0.5, ".5"), (0.75, ""), (1.0, "1"))


@dataclass(frozen=True)
class Drawing:
    """One drawing with its title, and what a reader must know of it."""

    title: str
    note: str
    picture: Markup


def places(table: Table) -> dict[str, int]:
    """Each contender's place, which says its colour and mark."""
    return {one.label: place for place, one in enumerate(ranked(table))}


def height(table: Table) -> float:
    """Of every drawing of a table, so that they stand side by side."""
    return max(220.0, 54 + ROW * len(table.contenders))


def named(plot: Plot, ends: Sequence[tuple[int, str, float, float]]) -> Markup:
    """Names in a column right of a plot, each joined to its mark (place, name, x, y) by a thin line."""
    order = sorted(ends, key=lambda end: (end[3], end[0]))
    gap = min(ROW, (plot.bottom - plot.top + 10) / max(len(order), 1))
    rows: list[float] = []
    for _, _, _, y in order:
        rows.append(max(y, rows[-1] + gap if rows else plot.top))
    for place in range(len(rows) - 1, -1, -1):
        limit = plot.bottom + 4 if place == len(rows) - 1 else rows[place + 1] - gap
        rows[place] = min(rows[place], limit)
    column = plot.right + 22
    parts = []
    for (place, name, x, y), row in zip(order, rows, strict=True):
        leader = element("path", class_="leader", d=f"M{x + 5:.1f} {y:.1f}L{plot.right + 9:.1f} {row:.1f}", fill="none")
        mark = marker(place, plot.right + 14, row, 3)
        parts.append(
            element("g", leader, mark, element("text", name, class_="name", x=column, y=row + 3.8), class_=tone(place))
        )
    return Markup("").join(parts)


def names(contenders: Sequence[Contender]) -> list[str]:
    """How people call them, cut to the room there is."""
    return text.shortened([name_of(one.group) for one in contenders], LETTERS)
