"""A comparison on the terminal: who took part, under which conditions, and what each pair comes to."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table as Grid

from skilltokens.cli.saying import cells, say
from skilltokens.cli.tables import empty_table, methods_table, output
from skilltokens.report import text
from skilltokens.report.comparison.model import Comparisons, Contender, Pair, Table
from skilltokens.report.comparison.sentences import chance_in, size, test_in, verdict
from skilltokens.report.conditions import UNSAID
from skilltokens.report.summary import Comparison
from skilltokens.types import RunError, SettingError, nearest

FEW = 3
"""Contenders whose pairs are all shown; of more, those of the best alone."""
LONG = ("tasks", "order of the tasks", "digests of the demonstrations")
"""Conditions that the terminal has no room for."""


def print_comparisons(comparisons: Comparisons, against: str = "") -> None:
    """Prints every table with its pairs, why they are apart, and what is left out.

    Raises:
        SettingError: nothing is called `against`.
    """
    tables = [(table, chosen_pairs(table, against)) for table in comparisons.tables]
    if against and not any(_named(table, against) for table in comparisons.tables):
        labels = [contender.label for table in comparisons.tables for contender in table.contenders]
        raise SettingError(f"--against {against}: nothing here is called so, {nearest(against, labels)}")
    for table, pairs in tables:
        _print_table(table, pairs)
    for sentence in comparisons.apart:
        say(f"Apart: {sentence}")
    for sentence in comparisons.left_out:
        say(f"Left out: {sentence}")


def _print_table(table: Table, pairs: Sequence[Pair]) -> None:
    first = table.contenders[0].group.first
    groups = tuple(contender.group for contender in table.contenders)
    output().print(methods_table(Comparison(table.suite, table.tasks, first.instructions, groups)))
    say(f"All: {'; '.join(_conditions(table))}.")
    for sentence in (*table.assumed, *table.remarks):
        say(f"{sentence}.")
    if pairs:
        say()
        output().print(_pairs_table(pairs))
        for pair in pairs:
            say(f"{verdict(pair)}.")
        if len(pairs) < len(table.pairs):
            more = text.plural(len(table.pairs) - len(pairs), "more pair")
            say(f"{more}: --against METHOD shows those of another one.")
    say()


def _conditions(table: Table) -> list[str]:
    return [
        f"{name} {words}" for name, words in table.conditions.items() if name not in LONG and words not in (UNSAID, "")
    ]


def _pairs_table(pairs: Sequence[Pair]) -> Grid:
    grid = empty_table(
        "Differences of final success, with 95 % intervals over seeds (over tasks where there is one); p by Holm"
    )
    heads = ("A less B", "difference", "bootstrap", "better/equal/worse", "p", "test", "would show")
    for head in heads:
        grid.add_column(head, justify="left" if head == heads[0] else "right", no_wrap=head in ("p", "test"))
    for pair in pairs:
        grid.add_row(
            *cells(
                (
                    f"{pair.a.label} less {pair.b.label}",
                    size(pair),
                    text.span(pair.bootstrap) or text.DASH,
                    f"{pair.final.wins}/{pair.final.ties}/{pair.final.losses}",
                    chance_in(pair.corrected),
                    test_in(pair),
                    text.DASH if pair.smallest is None else text.rate(pair.smallest),
                )
            )
        )
    return grid


def chosen_pairs(table: Table, against: str = "") -> list[Pair]:
    """The pairs to show: those against one method, all of a few, or those of the one with the highest success."""
    if against:
        marks = [contender.label for contender in _named(table, against)]
        return [pair for pair in table.pairs if {pair.a.label, pair.b.label} & set(marks)]
    if len(table.contenders) <= FEW:
        return list(table.pairs)
    best = max(table.contenders, key=lambda contender: contender.final.value or 0.0).label
    return [pair for pair in table.pairs if best in (pair.a.label, pair.b.label)]


def shortfalls(comparisons: Comparisons, least: float, against: str = "") -> list[str]:
    """A sentence for each contender that is not good enough: by its success, or by its difference from one of them.

    Raises:
        RunError: a contender is unfinished or can't be compared with that one, so that nobody can say.
    """
    for contender in (contender for table in comparisons.tables for contender in table.contenders):
        if not contender.finished:
            raise RunError(f"{contender.label} is unfinished, so that --fail-below can't be answered: let it go on")
    if not against:
        return [
            f"{contender.label} is below {least:g}: its final success is {text.rate(contender.final.value)}"
            for table in comparisons.tables
            for contender in table.contenders
            if contender.final.value is not None and contender.final.value < least
        ]
    sentences = []
    for number, table in enumerate(comparisons.tables):
        marks = _named(table, against)
        if not marks:
            why = f": {comparisons.apart[number - 1 if number else 0]}" if comparisons.apart else ""
            raise RunError(f"{table.contenders[0].label} can't be compared with {against}{why}")
        for contender in (c for c in table.contenders if c not in marks):
            sentences += _behind(table, contender, marks[0], least)
    return sentences


def _behind(table: Table, contender: Contender, mark: Contender, least: float) -> list[str]:
    labels = {contender.label, mark.label}
    pair = next((pair for pair in table.pairs if {pair.a.label, pair.b.label} == labels), None)
    if pair is None:
        raise RunError(f"{contender.label} can't be compared with {mark.label}: they have no seed and lesson in common")
    difference = pair.difference if pair.a.label == contender.label else -pair.difference
    if difference >= least:
        return []
    words = f"its final success less that of {mark.label} is {text.signed(difference)}"
    return [f"{contender.label} is below {least:g}: {words}"]


def _named(table: Table, against: str) -> list[Contender]:
    """The contenders that are called so in the table, or whose method is."""
    labelled = [contender for contender in table.contenders if contender.label == against]
    return labelled or [contender for contender in table.contenders if contender.group.method == against]
