"""A comparison -> one self-contained HTML page."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from skilltokens.escaping import terminal
from skilltokens.report import text
from skilltokens.report.comparison import sheets
from skilltokens.report.comparison.findings import findings
from skilltokens.report.comparison.model import Comparisons, Contender, Table
from skilltokens.report.comparison.plots import drawings
from skilltokens.report.comparison.standing import is_mark, ranked
from skilltokens.report.finding import name_of
from skilltokens.report.sheets import Entry
from skilltokens.report.template import fill


def render(comparisons: Comparisons) -> str:
    """The page as text."""
    pictures = drawings(comparisons)
    return fill(
        "comparison.html.j2",
        title=" and ".join(dict.fromkeys(table.suite for table in comparisons.tables)),
        sections=[_section(table, f"t{place}-" if place else "") for place, table in enumerate(comparisons.tables)],
        first=pictures[0],
        drawings=pictures[1:],
        apart=comparisons.apart,
        words=_words,
    )


def _section(table: Table, prefix: str) -> dict[str, Any]:
    order = ranked(table)
    return {
        "prefix": prefix,
        "table": table,
        "findings": findings(table, _name),
        "marks": {name_of(one.group) for one in order if is_mark(one)},
        "labels": [one.label for one in order],
        "sheets": [sheets.standing(table), sheets.pairs(table), sheets.tasks(table)],
        "remarks": [*table.assumed, *table.remarks],
    }


def _name(one: Contender) -> Markup:
    return Markup("<b>{}</b>").format(terminal(name_of(one.group)))


def _words(entry: Entry) -> Markup:
    """A name with what it is called in commands, or a figure with its interval, in small print."""
    words = entry.words if entry.value is None else entry.words.replace(" ", "\N{NO-BREAK SPACE}")
    shown = Markup("<b>{}</b>" if entry.best else "{}").format(terminal(words))
    if entry.code and entry.code != entry.words:
        return Markup('{} <small class="ends">{}</small>').format(shown, terminal(entry.code))
    if entry.interval is None:
        return shown
    return Markup('{} <small class="ends">{}</small>').format(shown, text.span(entry.interval, entry.kind))
