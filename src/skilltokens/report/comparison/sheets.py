"""The tables of a comparison: who stands where and at what cost, each pair with its tests, and success task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from skilltokens import metrics
from skilltokens.report import text
from skilltokens.report.comparison.model import Comparisons, Contender, Pair, Table
from skilltokens.report.comparison.sentences import chance_in, test_in
from skilltokens.report.comparison.standing import is_mark, leaders, ranked
from skilltokens.report.definitions import Definition
from skilltokens.report.finding import NAMES, name_of
from skilltokens.report.naming import unnamed
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
    """Success by demonstrations where tables differ in those; then of each its standing, its pairs and its tasks."""
    across = by_demonstrations(comparisons)
    parts = [sheet for table in comparisons.tables for sheet in (standing(table), pairs(table), tasks(table))]
    return [*([across] if across is not None else []), *parts]


def by_demonstrations(comparisons: Comparisons) -> Sheet | None:
    """Final success by demonstrations of a task: a row a method, a column a table of the first one's stream.

    None where no method stands in several of them.
    """
    first = comparisons.tables[0]
    counts: dict[float, Table] = {}
    for table in comparisons.tables:
        count = table.contenders[0].costs.demonstrations
        if (table.suite, table.tasks) == (first.suite, first.tasks) and count:
            counts.setdefault(count, table)
    labels = Counter(one.label for table in counts.values() for one in table.contenders)
    if not any(places > 1 for places in labels.values()):
        return None
    rows: dict[str, list[Entry]] = {}
    for place, count in enumerate(sorted(counts)):
        table = counts[count]
        top = leaders(table)
        for one in ranked(table):
            row = rows.setdefault(
                one.label, [name(name_of(one.group), one.label), *[figure(None, "rate")] * len(counts)]
            )
            row[place + 1] = figure(one.final.value, "rate", one.final.interval, one.label in top)
    order = sorted(rows, key=lambda label: (-labels[label], -(rows[label][1].value or 0.0)))
    columns = (
        Column("method", "final success from", number=False),
        *(
            Column(f"demonstrations_{count:g}", f"{count:g} {'demonstration' if count == 1 else 'demonstrations'}")
            for count in sorted(counts)
        ),
    )
    note = f"Demonstrations of a task. {WHAT_THEY_ARE} {BOLD}"
    return Sheet("Success by demonstrations", note, columns, tuple(tuple(rows[label]) for label in order))


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
    parts = (f"Equal in all: {conditions}.", usual(table), WHAT_THEY_ARE, BOLD, below, remarks)
    note = " ".join(part for part in parts if part)
    return Sheet(f"{text.plural(len(table.tasks), 'task')} of {table.suite}", note, columns, rows)


def usual(table: Table) -> str:
    """What names of methods leave out, where they do."""
    left_out = unnamed([one.group.first for one in ranked(table)])
    return " ".join(
        f"{NAMES.get(method, method)} has {words} where its name says nothing else."
        for method, words in left_out.items()
    )


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
