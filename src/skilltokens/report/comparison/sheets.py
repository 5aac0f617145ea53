"""The tables of a comparison: who stands where and at what cost, each pair with its tests, and success task by task."""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens import metrics
from skilltokens.report import text
from skilltokens.report.comparison.model import Comparisons, Contender, Pair, Table
from skilltokens.report.comparison.sentences import chance_in, test_in
from skilltokens.report.comparison.standing import is_mark, leaders, ranked
from skilltokens.report.definitions import Definition
from skilltokens.report.finding import name_of
from skilltokens.report.sheets import Column, Entry, Sheet, difference, figure, name
from skilltokens.report.summary import defined

LONG = ("tasks", "order of the tasks", "digests of the demonstrations")
"""Conditions that a note has no room for."""
BOLD = "Bold: the best and all that cannot be told from it."
WHAT_THEY_ARE = (
    "Brackets hold 95 % intervals: Student's t over seeds, with one seed Wilson's over its test episodes, which says "
    "nothing of another seed."
)


def sheets(comparisons: Comparisons) -> list[Sheet]:
    """Of each table its standing, its pairs and its tasks."""
    return [sheet for table in comparisons.tables for sheet in (standing(table), pairs(table), tasks(table))]


def standing(table: Table) -> Sheet:
    """Every contender with its figures and costs, the best first."""
    order, top = ranked(table), leaders(table)
    definitions = [one for one in defined([one.group for one in order]) if one.key != "held"]
    columns = (
        Column("method", "method", number=False),
        Column("seeds", "seeds"),
        *(Column(definition.key, definition.title) for definition in definitions),
        Column("stored_mb", "Stored"),
    )
    rows = tuple(_standing(one, definitions, one.label in top) for one in order)
    conditions = "; ".join(f"{what} {words}" for what, words in table.conditions.items() if what not in LONG and words)
    marks = [name_of(one.group) for one in order if is_mark(one)]
    below = f"{text.listed(marks)}: no rival but a mark to measure by." if marks else ""
    remarks = " ".join(f"{sentence}." for sentence in (*table.assumed, *table.remarks))
    note = " ".join(part for part in (f"Equal in all: {conditions}.", WHAT_THEY_ARE, BOLD, below, remarks) if part)
    return Sheet(f"{text.plural(len(table.tasks), 'task')} of {table.suite}", note, columns, rows)


def _standing(one: Contender, definitions: Sequence[Definition], best: bool) -> tuple[Entry, ...]:
    figures = [(definition, one.group.figure(definition)) for definition in definitions]
    unfinished = "" if one.finished else f" (unfinished: {one.group.learned} learned)"
    label = one.label + unfinished
    stored = one.costs.stored_bytes
    return (
        name(name_of(one.group) + unfinished, label),
        figure(len(one.seeds), "count"),
        *(figure(known.value, of.kind, known.interval, best and of.key == "final") for of, known in figures),
        figure(None if stored is None else stored / 1e6, "megabytes"),
    )


def pairs(table: Table, of: Contender | None = None) -> Sheet:
    """Each pair with its difference and its tests, those that lie furthest apart first.

    Args:
        of: only the pairs of this contender; None: all.
    """
    columns = (
        Column("a", "A", number=False),
        Column("b", "B", number=False),
        Column("seeds", "seeds"),
        Column("difference", "final success, A less B"),
        Column("bootstrap", "bootstrap"),
        Column("p", "p"),
        Column("corrected", "p by Holm"),
        Column("smallest", "would show"),
        Column("verdict", "A is", number=False),
    )
    note = (
        "Differences are paired by seed and task, their intervals Student's t over seeds (over tasks with one seed); "
        "the bootstrap is over seeds and tasks. Exact tests over all episodes: McNemar's where they pair by initial "
        "state, Fisher's elsewhere, by Holm's correction over all pairs. Would show: the smallest difference that so "
        "many episodes would show at the level .05 with a power of .8."
    )
    chosen = [pair for pair in table.pairs if of is None or of in (pair.a, pair.b)]
    order = sorted(chosen, key=lambda pair: -abs(pair.difference))
    return Sheet("Each pair", note, columns, tuple(_pair(pair) for pair in order))


def _pair(pair: Pair) -> tuple[Entry, ...]:
    return (
        name(name_of(pair.a.group), pair.a.label),
        name(name_of(pair.b.group), pair.b.label),
        figure(len(pair.seeds), "count"),
        difference(pair.difference, pair.final.interval),
        Entry(text.span(pair.bootstrap) or text.DASH),
        Entry(f"{chance_in(pair.p)} ({test_in(pair)})", pair.p),
        Entry(chance_in(pair.corrected), pair.corrected),
        figure(pair.smallest, "rate"),
        name("not told apart" if pair.verdict == "open" else pair.verdict),
    )


def tasks(table: Table) -> Sheet:
    """Success on each task after the last lesson, counts pooled over seeds: a row a task, a column a method."""
    order = ranked(table)
    columns = (
        Column("task", "task", number=False),
        *(Column(one.label, name_of(one.group)) for one in order),
    )
    rows = tuple((name(task), *(_task(one, k) for one in order)) for k, task in enumerate(table.tasks))
    return Sheet("Task by task", "Final success, seeds pooled; Wilson's 95 % intervals.", columns, rows)


def _task(one: Contender, task: int) -> Entry:
    group = one.group
    good, tried, _ = group.cells
    last = len(group.first.tasks) - 1 if group.joint else group.learned - 1
    count = int(tried[last, task]) if last >= 0 else 0
    if not count:
        return figure(None, "rate")
    low, high = metrics.wilson(good[last, task], count)
    return figure(good[last, task] / count, "rate", metrics.Interval(float(low), float(high)))
