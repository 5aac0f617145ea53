"""Drawings of the report as files of their own: SVG with its colours inside, side by side under a key of their lines.

A page that shows them as images cannot lend them its colours. Those of README.md follow the reader's browser into the
dark; those for a paper are light.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from skilltokens.report.svg import COLOURS, dash, element, marker, tone

WIDTH, ALONE = 820, 520
"""How wide a drawing is, and one for a paper with one panel."""
_STYLES = Path(__file__).parent / "assets" / "style.css"
_RULES = """
svg{{overflow:visible}}
text{{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;fill:{soft}}}
.head{{font-size:15px;font-weight:600;fill:{ink}}}.key{{font-size:14px;fill:{ink}}}.name{{fill:{ink}}}
.mid{{text-anchor:middle}}.end{{text-anchor:end}}
.paper{{fill:{card};stroke:{line}}}
.grid{{stroke:{grid}}}.axis{{stroke:{soft}}}.bar{{stroke:{ink};stroke-width:3}}.leader{{stroke:{soft};stroke-width:.7}}
.line{{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}
.gap,.whisker{{fill:none;stroke-width:1}}
.band{{opacity:.14}}
"""
_NARROW = "@media (max-width:560px){text{font-size:14px}.head{font-size:21px}.key{font-size:17px}}"
"""On a narrow screen the picture shrinks; its words do so less."""


def sheet(
    title: str,
    names: Mapping[int, str],
    panels: Sequence[tuple[str, Markup]],
    size: tuple[int, int],
    *,
    columns: int = 0,
    dark: bool = True,
) -> Markup:
    """A title, the key of the lines and the panels below it.

    Args:
        names: what stands beside each colour.
        panels: the drawings with their titles.
        size: of each drawing, in its own units.
        columns: panels in a row; 0: all of them.
        dark: whether it follows the reader's browser into the dark; if not, it is white.
    """
    gap = 24
    columns = min(columns or len(panels), len(panels))
    across = WIDTH if dark or columns > 1 else ALONE
    key, rows = _key(names, gap, 54, across - gap)
    top = 60 + 24 * rows if names else 58
    width = (across - gap * (columns + 1)) / columns
    height = width * size[1] / size[0]
    bottom = top + math.ceil(len(panels) / columns) * (height + 30) - 6
    parts = [
        element("style", Markup(style(dark))),
        element("rect", class_="paper", x=0.5, y=0.5, width=across - 1, height=bottom - 1, rx=10)
        if dark
        else element("rect", fill="#ffffff", x=0, y=0, width=across, height=bottom),
        element("text", title, class_="head", x=gap, y=30),
        key,
    ]
    for number, (name, drawing) in enumerate(panels):
        left = gap + number % columns * (width + gap)
        y = top + number // columns * (height + 30)
        parts.append(element("text", name, class_="head", x=left, y=y + 4))
        parts.append(element("svg", drawing, x=left, y=y + 12.0, width=width, height=height))
    label = f"{title}: {', '.join(names.values())}, on {', '.join(name for name, _ in panels)}."
    return element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {across} {bottom:.0f}",
        width=across,
        role="img",
        aria_label=label,
    )


def _key(names: Mapping[int, str], left: float, y: float, right: float) -> tuple[Markup, int]:
    """What stands for whom, and in how many rows: a piece of line with its mark and a name, one after another."""
    parts, x, rows = [], left, 1
    for index, name in names.items():
        width = 60 + 8.6 * len(name)
        if x + width > right and x > left:
            x, y, rows = left, y + 24, rows + 1
        line = element("line", class_="line", x1=x, x2=x + 30, y1=y, y2=y, stroke_dasharray=dash(index))
        parts.append(element("g", line, marker(index, x + 15, y, 4), class_=tone(index)))
        parts.append(element("text", name, class_="key", x=x + 37, y=y + 4.8))
        x += width
    return Markup("").join(parts), rows


def style(dark: bool) -> str:
    """The rules with the report's colours written out; with `dark` those of dark pages in a query of their own."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", _STYLES.read_text(encoding="utf-8"))
    day, night = ({name: pair[index] for name, *pair in pairs} for index in (0, 1))
    if not dark:
        return _filled(day | {"card": "#ffffff"})
    return f"{_filled(day)}@media (prefers-color-scheme:dark){{{_filled(night)}}}\n{_NARROW}\n"


def _filled(colours: Mapping[str, str]) -> str:
    card = colours["card"]
    tones = "".join(
        f".m{i} .line,.m{i} .gap,.m{i} .whisker{{stroke:{c}}}.m{i} .fill,.m{i} .band{{fill:{c}}}"
        f".m{i} .hollow{{fill:{card};stroke:{c};stroke-width:1.8}}\n"
        for i in range(COLOURS)
        for c in [colours[f"c{i}"]]
    )
    return _RULES.format(**{name: colours[name] for name in ("soft", "ink", "card", "line", "grid")}) + tones
