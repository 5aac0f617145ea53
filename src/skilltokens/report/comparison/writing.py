"""A comparison written to a file, by its suffix: a page, tables, or drawings."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from skilltokens.files import write_bytes
from skilltokens.report import check_suffix
from skilltokens.report.comparison import sheets
from skilltokens.report.comparison.labels import WIDTH, height
from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.comparison.page import render
from skilltokens.report.comparison.plots import drawings
from skilltokens.report.drawing import sheet
from skilltokens.report.pdf import to_pdf
from skilltokens.report.sheets import to_csv, to_latex, to_markdown
from skilltokens.types import RunError

SUFFIXES = (".html", ".csv", ".md", ".tex", ".svg", ".pdf")


def write(comparisons: Comparisons, out: Path) -> Path:
    """Writes a comparison to `out` as its suffix says (SUFFIXES), and returns it.

    A CSV has a row a method, all tables one below another; Markdown and LaTeX have the pairs and the tasks as well.

    Raises:
        SettingError: the suffix is none of SUFFIXES.
        RunError: `out` cannot be written, or a PDF lacks matplotlib.
    """
    check_suffix(out, SUFFIXES)
    write_bytes(out, content(comparisons, out.suffix.lower()), RunError)
    return out


def content(comparisons: Comparisons, suffix: str) -> bytes:
    """What a file with this suffix holds."""
    if suffix == ".html":
        return render(comparisons).encode()
    if suffix == ".csv":
        return to_csv([sheets.standing(table) for table in comparisons.tables]).encode()
    if suffix == ".md":
        return to_markdown(sheets.sheets(comparisons)).encode()
    if suffix == ".tex":
        return to_latex(sheets.sheets(comparisons)).encode()
    drawing = str(drawn(comparisons))
    return to_pdf(drawing) if suffix == ".pdf" else f"{drawing}\n".encode()


def drawn(comparisons: Comparisons, dark: bool = False) -> Markup:
    """All drawings of a comparison on one sheet, two in a row.

    Args:
        dark: whether it follows the reader's browser into the dark; a paper wants it white.
    """
    table = comparisons.tables[0]
    panels = [(drawing.title, drawing.picture) for drawing in drawings(comparisons) if drawing.picture]
    title = f"{table.suite}, {len(table.tasks)} tasks"
    return sheet(title, {}, panels, (WIDTH, round(height(table))), columns=2, dark=dark)
