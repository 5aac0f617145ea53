"""The tables of results on the terminal: a row a method with the figures of metrics.py, or a row a learner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skilltokens.cli.saying import cells
from skilltokens.escaping import terminal
from skilltokens.report import kind_of, reward
from skilltokens.report.reward_runs import check_alike, read_reward_run, rows_of, tasks_in
from skilltokens.report.runs import read_run
from skilltokens.report.summary import Comparison, Definition, Figure, Group, compare, defined
from skilltokens.report.text import number

HIDDEN = ("learned", "held")
"""Figures that the terminal has no room for."""


def output() -> Console:
    """Standard output for tables. A pipe or a file has no width: it gets whole lines."""
    console = Console()
    return console if console.is_terminal else Console(width=180)


def print_table(runs: Sequence[Path]) -> None:
    """Prints one table for each set of runs that may be compared.

    Raises:
        RunError: a run cannot be read, or they are of several kinds of experiment.
    """
    tables = {"lifelong": _lifelong_tables, "reward": _reward_tables}
    for table in tables[kind_of(runs)](runs):
        output().print(table)


def _lifelong_tables(runs: Sequence[Path]) -> Iterator[Table]:
    for comparison in compare([read_run(run) for run in runs]):
        yield methods_table(comparison)


def _reward_tables(paths: Sequence[Path]) -> Iterator[Table]:
    """Learning from reward, task by task."""
    runs = [read_reward_run(path) for path in paths]
    check_alike(runs)
    for task in tasks_in(runs):
        table = empty_table(f"{runs[0].record.suite}: {task}")
        for head in reward.SHORT_HEADS:
            table.add_column(head, justify="left" if head == "learner" else "right", no_wrap=True)
        for row in rows_of(runs, task):
            table.add_row(*cells(reward.cells(row)))
        yield table


def methods_table(comparison: Comparison) -> Table:
    """A row a method, with its figures."""
    definitions = [d for d in defined(comparison.groups) if d.key not in HIDDEN]
    seeds = {len(group.runs) for group in comparison.groups}
    count = f"{min(seeds)} seed{'s' if seeds != {1} else ''}" if len(seeds) == 1 else "different numbers of seeds"
    title = f"{len(comparison.tasks)} tasks of {comparison.suite}, {count}"
    table = empty_table(title)
    table.add_column("method", no_wrap=True)
    for definition in definitions:
        arrow = "↑" if definition.better == "higher" else "↓"
        table.add_column(f"{definition.short} {arrow}", justify="right", no_wrap=definition.kind != "rate", min_width=6)
    figures = [[group.figure(definition) for definition in definitions] for group in comparison.groups]
    for group, row in zip(comparison.groups, figures, strict=True):
        shown = [_cell(d, f, [r[i] for r in figures]) for i, (d, f) in enumerate(zip(definitions, row, strict=True))]
        table.add_row(*cells([_label(group)]), *shown)
    return table


def empty_table(title: str) -> Table:
    """A table with its title and no column yet."""
    return Table(title=Text(terminal(title), style="table.title"), title_justify="left", box=SIMPLE, pad_edge=False)


def _label(group: Group) -> str:
    return group.label if group.finished else f"{group.label} (unfinished: {group.learned} learned)"


def _cell(definition: Definition, figure: Figure, column: Sequence[Figure]) -> Text:
    if figure.value is None:
        return Text("-")
    text = _written(definition, figure.value)
    if figure.interval is not None and definition.kind == "rate":
        text += f" [{_written(definition, figure.interval.low)}, {_written(definition, figure.interval.high)}]"
    values = [other.value for other in column if other.value is not None]
    best = max(values) if definition.better == "higher" else min(values)
    marks = definition.kind == "rate" and figure.value == best and len(set(values)) > 1
    return Text(text, style="bold" if marks else "")


def _written(definition: Definition, value: float) -> str:
    match definition.kind:
        case "rate":
            return f"{value:.2f}".replace("-0.00", "0.00")
        case "share":
            return f"{value:.1%}"
        case "count":
            return f"{value:,.0f}"
        case "minutes":
            return f"{value:.1f} min"
        case _:
            return number(value, definition.kind)
