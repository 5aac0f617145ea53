"""The critical-difference diagram of a comparison."""

from __future__ import annotations

import math

from markupsafe import Markup

from skilltokens.report.comparison.labels import WIDTH, Drawing, height, names, places
from skilltokens.report.comparison.model import Table
from skilltokens.report.comparison.ranks import Ranks, ranks
from skilltokens.report.comparison.sentences import chance_in
from skilltokens.report.svg import Plot, element, marker, picture, tone


def diagram(table: Table) -> Drawing:
    """The critical-difference diagram: mean ranks, bars over those not told apart; or why there is none."""
    standing = ranks(table)
    title = "Ranks over tasks"
    if isinstance(standing, str):
        return Drawing(title, standing, Markup(""))
    chance = chance_in(standing.p)
    note = (
        f"Mean rank over {standing.tasks} tasks by final success, 1 the best. Friedman's test: p "
        f"{chance if chance.startswith('<') else f'= {chance}'}. Bars join what Nemenyi's test does not tell apart: "
        f"ranks less than {standing.distance:.2f} from each other."
    )
    if standing.distance >= len(standing.labels) - 1:
        note += " With so few tasks for so many methods, no ranks could lie that far apart."
    return Drawing(title, note, _diagram(table, standing))


def _diagram(table: Table, standing: Ranks) -> Markup:
    """Ranks along the top, a bar for each clique below the axis, and names down both sides."""
    where, known = (
        places(table),
        dict(zip([one.label for one in table.contenders], names(table.contenders), strict=True)),
    )
    count = len(standing.labels)
    plot = Plot(122, 40, 238, height(table) - 10, low=(1, 0), high=(count, 1))
    step = max(1, math.ceil(count / 6))
    parts = [element("line", class_="axis", x1=plot.left, x2=plot.right, y1=plot.top, y2=plot.top)]
    for rank in [*(rank for rank in range(1, count, step) if rank <= count - step), count]:
        x = plot.x(rank)
        parts.append(element("line", class_="axis", x1=x, x2=x, y1=plot.top - 4, y2=plot.top))
        parts.append(element("text", str(rank), class_="tick mid", x=x, y=plot.top - 8))
    width = min(standing.distance, count - 1) / (count - 1) * (plot.right - plot.left)
    parts.append(element("line", class_="bar", x1=plot.left, x2=plot.left + width, y1=12, y2=12))
    parts.append(element("text", f"critical difference {standing.distance:.2f}", x=plot.left + width + 6, y=15.8))
    for level, (start, end) in enumerate(standing.cliques):
        y, ends = plot.top + 8 + 6 * level, (plot.x(standing.means[start]) - 3, plot.x(standing.means[end]) + 3)
        parts.append(element("line", class_="bar", x1=ends[0], x2=ends[1], y1=y, y2=y))
    top = plot.top + 16 + 6 * len(standing.cliques)
    half = math.ceil(count / 2)
    row = min((plot.bottom - top) / half, 18.0)
    for place, (label, mean) in enumerate(zip(standing.labels, standing.means, strict=True)):
        left = place < half
        y = top + row * ((place if left else count - 1 - place) + 0.5)
        x, edge = plot.x(mean), plot.left - 4 if left else plot.right + 4
        line = element("path", class_="leader", d=f"M{x:.1f} {plot.top:.1f}V{y:.1f}H{edge:.1f}", fill="none")
        mark = marker(where[label], x, plot.top, 3)
        words = f"{known[label]} {mean:.1f}" if left else f"{mean:.1f} {known[label]}"
        name = element("text", words, class_="name end" if left else "name", x=edge + (-3 if left else 3), y=y + 3.8)
        parts.append(
            element(
                "g", element("title", f"{label}: mean rank {mean:.2f}"), line, mark, name, class_=tone(where[label])
            )
        )
    words = "; ".join(f"{label} {mean:.1f}" for label, mean in zip(standing.labels, standing.means, strict=True))
    return picture(WIDTH, height(table), f"Mean ranks: {words}. Critical difference {standing.distance:.2f}.", *parts)
