"""Who leads a comparison, in a few sentences; they say how a method is called as their reader likes it."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from skilltokens.report import text
from skilltokens.report.comparison.model import Contender, Table
from skilltokens.report.comparison.sentences import size
from skilltokens.report.comparison.standing import is_mark, leaders, pair_of, ranked
from skilltokens.report.story import listed_markup


def findings(table: Table, called: Callable[[Contender], Markup]) -> list[Markup]:
    """Who is ahead, what cannot be told from it, and by how much it leads the first that can.

    Args:
        called: a method's name, escaped for where the sentences go.
    """
    order, top = [one for one in ranked(table) if not is_mark(one) and one.finished], leaders(table)
    if not order:
        return [Markup("No method is finished yet.")]
    best, rest = order[0], [one for one in order[1:] if one.label in top]
    sentences = [Markup("{} has the highest final success, {}.").format(called(best), text.rate(best.final.value))]
    if rest:
        names = listed_markup([called(one) for one in rest])
        sentences.append(Markup("{} cannot be told from it by these runs.").format(names))
    behind = next((one for one in order[1:] if one.label not in top), None)
    pair = None if behind is None else pair_of(table, best, behind)
    if pair is not None and behind is not None:
        lead = size(pair, turned=pair.a is not best)
        over = text.plural(len(pair.seeds), "seed")
        sentences.append(Markup("It leads {} by {} over {}.").format(called(behind), lead, over))
    return sentences
