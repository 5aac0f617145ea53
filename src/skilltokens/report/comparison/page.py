"""A comparison -> one self-contained HTML page."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from skilltokens.escaping import terminal
from skilltokens.report import text
from skilltokens.report.comparison import sheets
from skilltokens.report.comparison.model import Comparisons, Contender, Table
from skilltokens.report.comparison.plots import drawings
from skilltokens.report.comparison.sentences import size
from skilltokens.report.comparison.standing import is_mark, leaders, pair_of, ranked
from skilltokens.report.finding import name_of
from skilltokens.report.sheets import Entry
from skilltokens.report.story import listed_markup
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
        "findings": findings(table),
        "marks": {name_of(one.group) for one in order if is_mark(one)},
        "labels": [one.label for one in order],
        "sheets": [sheets.standing(table), sheets.pairs(table), sheets.tasks(table)],
        "remarks": [*table.assumed, *table.remarks],
    }


def findings(table: Table) -> list[Markup]:
    """Who is ahead, what cannot be told from it, and by how much it leads the first that can."""
    order, top = [one for one in ranked(table) if not is_mark(one) and one.finished], leaders(table)
    if not order:
        return [Markup("No method is finished yet.")]
    best, rest = order[0], [one for one in order[1:] if one.label in top]
    sentences = [Markup("{} has the highest final success, {}.").format(_name(best), text.rate(best.final.value))]
    if rest:
        names = listed_markup([_name(one) for one in rest])
        sentences.append(Markup("{} cannot be told from it by these runs.").format(names))
    behind = next((one for one in order[1:] if one.label not in top), None)
    pair = None if behind is None else pair_of(table, best, behind)
    if pair is not None and behind is not None:
        lead = size(pair, turned=pair.a is not best)
        over = text.plural(len(pair.seeds), "seed")
        sentences.append(Markup("It leads {} by {} over {}.").format(_name(behind), lead, over))
    return sentences


def _name(one: Contender) -> Markup:
    return Markup("<b>{}</b>").format(terminal(name_of(one.group)))


def _words(entry: Entry) -> Markup:
    """A figure with its interval in small print."""
    value = (
        Markup("<b>{}</b>").format(terminal(entry.words)) if entry.best else Markup("{}").format(terminal(entry.words))
    )
    if entry.interval is None:
        return value
    return Markup("{} <small>{}</small>").format(value, text.span(entry.interval, entry.kind))
