"""Who stands where: contenders in order of success, and those that cannot be told from the best."""

from __future__ import annotations

from skilltokens.report.comparison.model import Contender, Pair, Table

MARKS = ("multitask", "expert")
"""Methods that are no rivals but marks to measure by: one gets all tasks at once, the other is what is imitated."""


def is_mark(contender: Contender) -> bool:
    """Whether it stands below the line, as a mark to measure by."""
    return contender.group.joint or contender.group.method in MARKS


def ranked(table: Table) -> list[Contender]:
    """All contenders, the highest final success first; behind them those that are unfinished, then the marks."""
    return sorted(table.contenders, key=lambda one: (is_mark(one), not one.finished, -(one.final.value or 0.0)))


def leaders(table: Table) -> set[str]:
    """Labels of the best and of all that cannot be told from it.

    Told from it is what the exact test, corrected for all pairs, and with several seeds the interval over them set
    apart. Where two have no seed in common, their intervals must lie apart.
    """
    rivals = [one for one in ranked(table) if not is_mark(one) and one.finished and one.final.value is not None]
    if len(rivals) < 2:
        return set()
    best = rivals[0]
    return {one.label for one in rivals if one is best or not _told_apart(table, best, one)}


def pair_of(table: Table, one: Contender, other: Contender) -> Pair | None:
    """The pair of two contenders, in whichever order; None where they have no seed in common."""
    labels = {one.label, other.label}
    return next((pair for pair in table.pairs if {pair.a.label, pair.b.label} == labels), None)


def _told_apart(table: Table, best: Contender, other: Contender) -> bool:
    pair = pair_of(table, best, other)
    if pair is not None:
        return pair.verdict in ("ahead", "behind")
    high, low = best.final.interval, other.final.interval
    return high is not None and low is not None and low.high < high.low
