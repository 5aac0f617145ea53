"""`skilltokens list`. Names alone, which people and shells ask for often, load as little as can be."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilltokens.cli.saying import say
from skilltokens.escaping import shell, terminal
from skilltokens.types import SettingError, nearest

if TYPE_CHECKING:
    from skilltokens.cli.list_options import ListOptions

PROG = "skilltokens list"
SUITE = "metaworld"
"""Whose tasks are shown where no suite is named."""
RUNS = "runs"
"""The folder whose runs are shown where none is named."""
WIDE = 1000
"""Columns of a table that no terminal cuts."""


def main(words: Sequence[str]) -> int:
    _check_what(words[0] if words else "all")
    if len(words) < 2 and not any(word.startswith("-") for word in words):
        what = words[0] if words else "all"
        if what not in ("tasks", "runs"):
            return _list_names(what)
    from skilltokens.cli.list_options import ListOptions
    from skilltokens.cli.options import parse

    options = parse(ListOptions, words, PROG)
    if options.what == "runs":
        return _list_runs(Path(options.suite or RUNS), options)
    if options.tag or options.state:
        raise SettingError(f"--tag and --state are of runs: say `{PROG} runs`")
    if options.suite and options.old_suite:
        raise SettingError(f"the suite is named twice: say `{PROG} tasks {shell(options.suite)}`")
    suite = options.suite or options.old_suite
    if suite and options.what != "tasks":
        raise SettingError(
            f"only tasks are those of a suite: say `{PROG} tasks {shell(suite)}`, or `{PROG} {options.what}`"
        )
    if options.what == "tasks":
        from skilltokens.suites import load_suite

        tasks = load_suite(suite or SUITE).tasks
        _print(f"tasks of {suite or SUITE}", {task.name: task.instruction for task in tasks})
        if options.old_suite:
            print(f"note: --suite is the old way: `{PROG} tasks {shell(suite)}` is the same", file=sys.stderr)
        return 0
    return _list_names(options.what)


def __getattr__(name: str) -> Any:
    """`ListOptions`, which every verb's module has; here it is imported where it is asked for, since it loads tyro."""
    if name != "ListOptions":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skilltokens.cli.list_options import ListOptions

    return ListOptions


def _list_names(what: str) -> int:
    for title, show in _LISTS.items():
        if what in ("all", title.partition(",")[0]):
            _print(title, show())
    return 0


def _list_runs(folder: Path, options: ListOptions) -> int:
    """A table of the runs in a folder; a pipe gets whole lines."""
    import datetime

    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from skilltokens.cli.runs import HEADS, rows, runs_below
    from skilltokens.cli.saying import cells

    runs = [run for run in runs_below(folder) if options.tag in ("", run.tag)]
    runs = [run for run in runs if not options.state or run.state.startswith(options.state)]
    if not runs:
        raise SettingError(f"{folder} holds no run of that tag or state: see `{PROG} runs {shell(str(folder))}`")
    table = Table(box=SIMPLE, pad_edge=False)
    lines = rows(runs, datetime.datetime.now(datetime.UTC))
    shown = [number for number in range(len(HEADS)) if any(line[number] for line in lines)]
    for number in shown:
        table.add_column(HEADS[number], justify="right" if HEADS[number] in ("seed", "final", "age") else "left")
    for line in lines:
        table.add_row(*cells(line[number] for number in shown))
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)
    return 0


def _check_what(word: str) -> None:
    """Raises SettingError for a first word that is nothing to show, and says what may have been meant."""
    known = ["all", *(title.partition(",")[0] for title in _LISTS), "tasks", "runs"]
    if word in known or word.startswith("-"):
        return
    if word in _suites():
        raise SettingError(f"{word} is a suite: its tasks are shown by `{PROG} tasks {word}`")
    raise SettingError(f"{PROG} cannot show {word!r}: {nearest(word, known)}")


def _recipes() -> dict[str, str]:
    from skilltokens.experiments.recipes import recipe_names

    return recipe_names()


def _methods() -> dict[str, str]:
    from skilltokens.methods import methods

    return {name: entry.summary for name, entry in methods().items()}


def _learners() -> dict[str, str]:
    from skilltokens.behaviour.learners import LEARNERS

    return {name: learner.summary for name, learner in LEARNERS.items()}


def _suites() -> dict[str, str]:
    from skilltokens.suites import suite_names

    return suite_names()


def _sequences() -> dict[str, str]:
    from skilltokens.suites import sequence, sequence_names

    named = {name: sequence(name) for name in sequence_names()}
    return {name: f"of {suite}: {', '.join(tasks)}" for name, (suite, tasks) in named.items()}


_LISTS = {
    "recipes": _recipes,
    "methods": _methods,
    "learners, from reward": _learners,
    "suites": _suites,
    "sequences": _sequences,
}
"""Title, whose first word is the one to type after `list` -> names with a line about each."""


def _print(title: str, rows: Mapping[str, str]) -> None:
    """Names with a line about each, folded at the edge of a terminal. A pipe or a file gets whole lines."""
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    say(title)
    shown = {terminal(name): terminal(text) for name, text in rows.items()}
    for line in lines(shown, width):
        print(line)
    print()


def lines(rows: Mapping[str, str], width: int | None) -> list[str]:
    """The lines of a list with two columns: name, and what it is, which is folded to fit into `width` columns."""
    left = 4 + max(map(len, rows), default=0)
    if width is None:
        return [f"  {name:<{left - 2}}{text}" for name, text in rows.items()]
    if width - left < 24:  # too little for a second column: each text below its name
        indent = " " * 6
        below = textwrap.TextWrapper(width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        return [line for name, text in rows.items() for line in (f"  {name}", *below.wrap(text))]
    beside = textwrap.TextWrapper(width - left, break_on_hyphens=False)
    return [
        f"  {shown:<{left - 2}}{line}"
        for name, text in rows.items()
        for shown, line in zip_longest([name], beside.wrap(text), fillvalue="")
    ]
