"""SVG in a few functions: elements, a plot with axes, and series that differ in colour, dash and marker at once.

Colours come from CSS classes (m0 to m7, one a method), so that a chart follows the page into the dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

from skilltokens.escaping import terminal

COLOURS = 8
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 3", "10 4", "4 2", "3 5")


def element(name: str, *children: object, **attributes: object) -> Markup:
    """One element; `class_` and `stroke_width` become class and stroke-width; None attributes are left out."""
    words = [Markup(' {}="{}"').format(_attribute(key), _shown(v)) for key, v in attributes.items() if v is not None]
    inside = Markup("").join(escape(_shown(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup("").join(words), inside)


def _attribute(key: str) -> Markup:
    return Markup(key.rstrip("_").replace("_", "-"))


def _shown(value: object) -> object:
    """A short number; of a text what XML does not allow spelled out. What is SVG already stays as it is."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return terminal(value) if type(value) is str else value


def tone(index: int) -> str:
    """The CSS class of the method at `index`."""
    return f"m{index % COLOURS}"


def dash(index: int) -> str | None:
    """A dash pattern that tells the method apart without colour; None is a solid line."""
    return _DASHES[(index + index // COLOURS) % len(_DASHES)] or None


def marker(index: int, x: float, y: float, size: float = 3.6) -> Markup:
    """A filled shape around (x, y) that tells the method apart without colour."""
    s = size
    shapes = (
        lambda: element("circle", class_="fill", cx=x, cy=y, r=s),
        lambda: element("rect", class_="fill", x=x - 0.9 * s, y=y - 0.9 * s, width=1.8 * s, height=1.8 * s),
        lambda: _polygon([(x, y - 1.2 * s), (x + 1.15 * s, y + 0.9 * s), (x - 1.15 * s, y + 0.9 * s)]),
        lambda: _polygon([(x, y - 1.3 * s), (x + 1.3 * s, y), (x, y + 1.3 * s), (x - 1.3 * s, y)]),
        lambda: _polygon([(x, y + 1.2 * s), (x + 1.15 * s, y - 0.9 * s), (x - 1.15 * s, y - 0.9 * s)]),
        lambda: element("path", class_="line", d=f"M{x - s:.1f} {y - s:.1f}l{2 * s:.1f} {2 * s:.1f}m0 {-2 * s:.1f}"
                        f"l{-2 * s:.1f} {2 * s:.1f}"),
        lambda: element("path", class_="line", d=f"M{x - s:.1f} {y:.1f}h{2 * s:.1f}m{-s:.1f} {-s:.1f}v{2 * s:.1f}"),
        lambda: element("circle", class_="hollow", cx=x, cy=y, r=s),
    )  # fmt: skip
    return shapes[(index + index // COLOURS) % len(shapes)]()  # a colour that comes again has another shape


def sample(index: int) -> Markup:
    """The piece of line with its mark that stands for a method in legends."""
    line = element("line", class_="line", x1=0, x2=26, y1=6, y2=6, stroke_dasharray=dash(index))
    return element(
        "svg", line, marker(index, 13, 6, 3.8), class_=f"sample {tone(index)}", viewBox="0 0 26 12", aria_hidden="true"
    )


def _polygon(points: Iterable[tuple[float, float]]) -> Markup:
    return element("polygon", class_="fill", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def path(points: Sequence[tuple[float, float]]) -> str:
    """The path data of a polyline."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def picture(width: float, height: float, label: str, *children: object, class_: str = "chart") -> Markup:
    """An SVG that scales with its place; `label` is what a screen reader says."""
    return element(
        "svg",
        *children,
        class_=class_,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        preserveAspectRatio="xMidYMid meet",
    )


@dataclass(frozen=True)
class Plot:
    """A rectangle of the drawing (left, top, right, bottom) that shows values from `low` to `high` (x, y)."""

    left: float
    top: float
    right: float
    bottom: float
    low: tuple[float, float] = (0.0, 0.0)
    high: tuple[float, float] = (1.0, 1.0)

    def x(self, value: float) -> float:
        """Where a value lies across."""
        return self.left + (value - self.low[0]) / (self.high[0] - self.low[0] or 1) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value lies down."""
        return self.bottom - (value - self.low[1]) / (self.high[1] - self.low[1] or 1) * (self.bottom - self.top)

    def points(self, xs: Iterable[float], ys: Iterable[float]) -> list[tuple[float, float]]:
        return [(self.x(float(a)), self.y(float(b))) for a, b in zip(xs, ys, strict=True)]

    def rules(self, ticks: Sequence[tuple[float, str]]) -> Markup:
        """Horizontal grid lines with their labels on the left."""
        parts = []
        for value, label in ticks:
            y = self.y(value)
            parts.append(element("line", class_="grid", x1=self.left, x2=self.right, y1=y, y2=y))
            if label:
                parts.append(element("text", label, class_="tick end", x=self.left - 5, y=y + 3.5))
        return Markup("").join(parts)

    def feet(self, ticks: Sequence[tuple[float, str]], title: str = "") -> Markup:
        """Labels under the plot, and the name of the axis below them."""
        parts = [element("text", label, class_="tick mid", x=self.x(v), y=self.bottom + 14) for v, label in ticks]
        if title:
            middle = (self.left + self.right) / 2
            parts.append(element("text", title, class_="tick mid", x=middle, y=self.bottom + 29))
        return Markup("").join(parts)

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Markup:
        """The area between two lines."""
        around = self.points(xs, high) + self.points(xs, low)[::-1]
        return element("path", class_="band", d=path(around) + "Z")

    def series(
        self,
        index: int,
        xs: Sequence[float],
        ys: Sequence[float],
        titles: Sequence[str],
        size: float = 3.6,
        line: Literal["line", "gap"] = "line",
    ) -> Markup:
        """A line with a marker at each point; each marker says its title when pointed at.

        Args:
            line: "gap" draws it thin and dotted: nothing was measured between its points.
        """
        points = self.points(xs, ys)
        dashes = "1 4" if line == "gap" else dash(index)
        drawn = element("path", class_=line, d=path(points), stroke_dasharray=dashes)
        # Later methods are drawn over earlier ones: with smaller marks, and dashes, equal curves all stay visible.
        size *= max(1.25 - 0.13 * index, 0.8)
        dots = [
            element("g", element("title", title), marker(index, x, y, size))
            for (x, y), title in zip(points, titles, strict=True)
        ]
        return element("g", drawn, *dots, class_=tone(index))
