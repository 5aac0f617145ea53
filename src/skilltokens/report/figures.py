"""The figures of runs as tables to be written: a row a method, or a row a learner and task."""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens import metrics
from skilltokens.report import text
from skilltokens.report.page import best, columns_of
from skilltokens.report.reward_pairs import paired
from skilltokens.report.reward_runs import GOOD, RewardRun, Row, check_alike, rows_of, tasks_in
from skilltokens.report.runs import Run
from skilltokens.report.sheets import Column, Entry, Sheet, difference, figure, name
from skilltokens.report.summary import Comparison, Definition, Group, compare, named, pairs

LEARNER = (
    Column("learner", "learner", number=False),
    Column("seeds", "seeds"),
    Column("success", "success at the end"),
    Column("steps_needed", f"steps to {GOOD:.0%}"),
    Column("held", "seeds that held it"),
    Column("steps", "steps trained"),
    Column("trained", "trained parameters"),
    Column("minutes", "training time"),
)


def lifelong_sheets(runs: Sequence[Run], against: str = "") -> list[Sheet]:
    """One table for each set of runs that may be compared: all headline figures, and differences from `against`.

    Raises:
        RunError: a run is given twice, or there is none of `against`.
    """
    comparisons = compare(runs)
    bases = named(comparisons, against) if against else {}
    return [_sheet(comparison, bases.get(place)) for place, comparison in enumerate(comparisons)]


def _sheet(comparison: Comparison, base: Group | None) -> Sheet:
    first, definitions = comparison.first, columns_of(comparison.groups)
    columns = [
        Column("method", "method", number=False),
        Column("seeds", "seeds"),
        *(Column(definition.key, definition.title) for definition in definitions),
    ]
    rows = {group.label: _row(group, comparison, definitions) for group in comparison.groups}
    if base is not None:
        columns += [
            Column("final_difference", f"final success less {base.label}'s"),
            Column("fwt_difference", f"FWT less {base.label}'s"),
        ]
        apart = {pair.a.label: pair for pair in pairs(comparison.groups, base)}
        for label, row in rows.items():
            both = (apart[label].final, apart[label].fwt) if label in apart else (None, None)
            row += [difference(p and p.difference, p.interval if p else None) for p in both]
    demonstrations = first.record.demonstrations
    note = (
        f"Protocol {first.record.protocol}, {first.record.observations} observations, "
        f"{text.either(demonstrations.episodes)} {demonstrations.source} demonstrations a task; success on "
        f"{first.split} states. Brackets hold 95 % intervals: Student's t over seeds, with one seed Wilson's over its "
        "test episodes, for final success alone. Bold: the best lifelong method of a column."
    )
    if base is not None:
        note += " Differences are paired by seed and task."
    title = f"{text.plural(len(comparison.tasks), 'task')} of {comparison.suite}"
    return Sheet(title, note, tuple(columns), tuple(map(tuple, rows.values())))


def _row(group: Group, comparison: Comparison, definitions: Sequence[Definition]) -> list[Entry]:
    label = group.label if group.finished else f"{group.label} (unfinished: {group.learned} learned)"
    entries = [name(label), figure(len(group.runs), "count")]
    for definition in definitions:
        value = group.figure(definition)
        top = best(definition, group, comparison.groups)
        entries.append(figure(value.value, definition.kind, value.interval, top))
    return entries


def reward_sheets(runs: Sequence[RewardRun], against: str = "") -> list[Sheet]:
    """One table for each task; with `against` one more of the differences from that learner over all tasks.

    Raises:
        RunError: the runs are of different experiments, or there is none of `against`.
    """
    check_alike(runs)
    note = (
        f"Success on {runs[0].settings.adapt.split} states. Steps are environment steps until {GOOD:.0%} of the test "
        "episodes succeed at two points in a row, the median of the seeds."
    )
    sheets = [
        Sheet(f"{runs[0].record.suite}: {task}", note, LEARNER, tuple(_learner(row) for row in rows_of(runs, task)))
        for task in tasks_in(runs)
    ]
    if against:
        columns = (LEARNER[0], LEARNER[1], Column("difference", f"success less {against}'s"))
        rows = [
            (name(label), figure(seeds, "count"), difference(pair.difference, pair.interval))
            for label, seeds, pair in paired(runs, against)
        ]
        over = "Paired by seed and task; intervals are Student's t over seeds, over tasks where there is one seed."
        sheets.append(Sheet(f"Each against {against}", over, columns, tuple(rows)))
    return sheets


def _learner(row: Row) -> tuple[Entry, ...]:
    good, tried = zip(*((result.successes[-1], result.episodes) for result in row.results), strict=True)
    steps = row.middle
    return (
        name(row.label),
        figure(len(row.seeds), "count"),
        figure(sum(good) / sum(tried), "rate", metrics.rate_interval(good, tried)),
        Entry("never") if steps is None else figure(steps, "count"),
        figure(sum(needed is not None for needed in row.needed), "count"),
        figure(row.steps, "count"),
        figure(row.trained, "count"),
        figure(row.minutes, "minutes"),
    )
