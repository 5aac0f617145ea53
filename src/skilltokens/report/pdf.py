"""An SVG drawing of ours -> PDF, for papers: the same lines and words, its fonts embedded. matplotlib writes it.

It knows the elements that `svg.py` makes (svg, g, rect, line, circle, polygon, path, text) and the rules that
`drawing.py` gives them, no more of SVG or CSS than that.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from skilltokens.types import RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STROKE = {"stroke-width": "1"}
_ALIGNED = {"middle": "center", "end": "right"}
Style = Mapping[str, str]


def to_pdf(drawing: str) -> bytes:
    """The drawing as a PDF of one page, a unit of it being a point; the same bytes each time.

    Args:
        drawing: made by `drawing.sheet` without the dark.

    Raises:
        RunError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise RunError(
            f'a PDF needs {problem.name}: run `pip install "skilltokens[plots]"`, or write .svg, which needs nothing'
        ) from problem
    # The drawing is ours: no entity, no other document is in it.
    root = ElementTree.fromstring(drawing)
    *_, width, height = map(float, root.attrib["viewBox"].split())
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    content = io.BytesIO()
    with matplotlib.rc_context(
        {"pdf.fonttype": 42, "font.family": "DejaVu Sans", "text.parse_math": False, "lines.scale_dashes": False}
    ):
        _Page(figure, height, _rules(root)).draw(root, _Place(), {}, ())
        figure.savefig(content, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return content.getvalue()


@dataclass(frozen=True)
class _Place:
    """Where a part of the drawing lies: moved by (x, y) and scaled."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0

    def inside(self, part: ElementTree.Element) -> _Place:
        """The place of what is in a nested svg: its viewBox is fitted into its width and height, in the middle."""
        get = part.attrib.get
        x, y = self.x + self.scale * float(get("x", 0)), self.y + self.scale * float(get("y", 0))
        if "viewBox" not in part.attrib or "width" not in part.attrib:
            return _Place(x, y, self.scale)
        *_, width, height = map(float, part.attrib["viewBox"].split())
        return _Place(x, y, self.scale * min(float(get("width", width)) / width, float(get("height", height)) / height))


@dataclass
class _Page:
    """The page that the drawing is put on."""

    figure: Figure
    height: float
    rules: list[tuple[tuple[str, ...], dict[str, str]]]

    def draw(self, part: ElementTree.Element, place: _Place, style: Style, around: tuple[frozenset[str], ...]) -> None:
        """Draws an element and what is in it.

        Args:
            style: what it inherits.
            around: the classes of the elements that it lies in.
        """
        kind = part.tag.rpartition("}")[2]
        if kind in ("style", "title"):
            return
        classes = (*around, frozenset({kind} | {f".{name}" for name in part.attrib.get("class", "").split()}))
        own = {name: value for name, value in part.attrib.items() if name in ("fill", "stroke", "stroke-dasharray")}
        style = {**style, **own, **self._declared(classes)}
        if kind == "svg":
            place = place.inside(part)
        for child in part:
            if child.tag.rpartition("}")[2] == "svg" and "width" not in child.attrib and kind == "svg":
                child.attrib |= {name: part.attrib[name] for name in ("width", "height") if name in part.attrib}
            self.draw(child, place, style, classes)
        if kind == "text":
            self._write(part, place, style)
        elif kind in ("rect", "line", "circle", "polygon", "path"):
            self._trace(list(_outline(kind, part.attrib)), place, style)

    def _declared(self, classes: tuple[frozenset[str], ...]) -> dict[str, str]:
        declared: dict[str, str] = {}
        for selector, declarations in self.rules:
            *before, last = selector
            if last in classes[-1] and all(any(name in one for one in classes[:-1]) for name in before):
                declared |= declarations
        return declared

    def _trace(self, steps: list[tuple[str, list[float]]], place: _Place, style: Style) -> None:
        """Draws an outline: steps M, L, C (one curve) or Z, each with the points that it goes over."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path
        from matplotlib.transforms import IdentityTransform

        codes = {"M": [Path.MOVETO], "L": [Path.LINETO], "C": [Path.CURVE4] * 3, "Z": [Path.CLOSEPOLY]}
        points, kinds = [], []
        for letter, numbers in steps:
            kinds += codes[letter]
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True)) or [(0.0, 0.0)]
            points += [(place.x + place.scale * x, self.height - place.y - place.scale * y) for x, y in pairs]
        fill, stroke = (None if style.get(name, usual) == "none" else style.get(name, usual)
                        for name, usual in (("fill", "#000000"), ("stroke", "none")))  # fmt: skip
        dashes = [place.scale * float(number) for number in re.findall(r"[\d.]+", style.get("stroke-dasharray", ""))]
        patch = PathPatch(
            Path(points, kinds),
            facecolor=fill or "none",
            edgecolor=stroke or "none",
            linewidth=place.scale * float(style.get("stroke-width", 1)) if stroke else 0,
            linestyle=(0, tuple(dashes)) if dashes else "-",
            alpha=float(style["opacity"]) if "opacity" in style else None,
            capstyle="round" if style.get("stroke-linecap") == "round" else "butt",
            joinstyle="round",
            transform=IdentityTransform(),
        )
        self.figure.add_artist(patch)

    def _write(self, part: ElementTree.Element, place: _Place, style: Style) -> None:
        from matplotlib.transforms import IdentityTransform

        size = style.get("font-size") or re.findall(r"[\d.]+px", style.get("font", "11px"))[0]
        rest: Any = {"ha": _ALIGNED.get(style.get("text-anchor", ""), "left"), "va": "baseline"}
        self.figure.text(
            place.x + place.scale * float(part.attrib["x"]),
            self.height - place.y - place.scale * float(part.attrib["y"]),
            part.text or "",
            fontsize=place.scale * float(size.removesuffix("px")),
            fontweight="bold" if style.get("font-weight") == "600" else "normal",
            color=style.get("fill", "#000000"),
            transform=IdentityTransform(),
            **rest,
        )


def _rules(root: ElementTree.Element) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """Selectors, as the classes or elements around the last one, and what they declare."""
    words = "".join(part.text or "" for part in root.iter() if part.tag.endswith("style"))
    rules = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", words):
        declared = dict(line.split(":", 1) for line in body.split(";") if ":" in line)
        rules += [(tuple(selector.split()), declared) for selector in selectors.split(",")]
    return rules


def _outline(kind: str, at: Mapping[str, str]) -> Iterator[tuple[str, list[float]]]:
    """The steps of an element's outline."""
    number = {name: float(value) for name, value in at.items() if re.fullmatch(r"-?[\d.]+", value)}
    if kind == "line":
        yield from (("M", [number["x1"], number["y1"]]), ("L", [number["x2"], number["y2"]]))
    elif kind == "rect":
        left, top = number["x"], number["y"]
        right, bottom = left + number["width"], top + number["height"]
        yield from (("M", [left, top]), ("L", [right, top]), ("L", [right, bottom]), ("L", [left, bottom]), ("Z", []))
    elif kind == "circle":
        x, y, r = number["cx"], number["cy"], number["r"]
        k = 0.5523 * r  # four cubic curves are a circle to 1 part in 4,000
        yield ("M", [x + r, y])
        yield ("C", [x + r, y + k, x + k, y + r, x, y + r])
        yield ("C", [x - k, y + r, x - r, y + k, x - r, y])
        yield ("C", [x - r, y - k, x - k, y - r, x, y - r])
        yield from (("C", [x + k, y - r, x + r, y - k, x + r, y]), ("Z", []))
    elif kind == "polygon":
        yield from _followed("M" + "L".join(at["points"].split()) + "Z")
    else:
        yield from _followed(at["d"])


def _followed(words: str) -> Iterator[tuple[str, list[float]]]:
    """The steps of path data: M, L, H, V and Z, the small letters relative to where the pen is."""
    x = y = 0.0
    for letter, rest in re.findall(r"([MLHVmlhvZ])([^MLHVmlhvZ]*)", words):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", rest)]
        if letter == "Z":
            yield ("Z", [])
            continue
        from_x, from_y = (x, y) if letter.islower() else (0.0, 0.0)
        if letter in "Hh":
            x = from_x + numbers[0]
        elif letter in "Vv":
            y = from_y + numbers[0]
        else:
            x, y = from_x + numbers[0], from_y + numbers[1]
        yield ("M" if letter in "Mm" else "L", [x, y])
