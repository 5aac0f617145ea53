"""`skilltokens list`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from skilltokens.cli.options import parse


@dataclass(frozen=True)
class ListOptions:
    """Shows the recipes, methods, suites and tasks there are, those of other installed packages included.

    examples:
      skilltokens list
      skilltokens list tasks --suite metaworld
    """

    what: tyro.conf.Positional[Literal["all", "recipes", "methods", "learners", "suites", "tasks"]] = "all"
    """What to show: recipes, methods, learners (from reward), suites, tasks, or all of them but the tasks."""
    suite: str = "metaworld"
    """Whose tasks."""


def main(words: Sequence[str]) -> int:
    options = parse(ListOptions, words, "skilltokens list")
    if options.what in ("all", "recipes"):
        from skilltokens.experiments.recipes import recipe_names, study_names

        _print("recipes", {**recipe_names(), **study_names()})
    if options.what in ("all", "methods"):
        from skilltokens.methods import methods

        _print("methods", {name: entry.summary for name, entry in methods().items()})
    if options.what in ("all", "learners"):
        from skilltokens.behaviour.learners import LEARNERS

        _print("learners, from reward", {name: learner.summary for name, learner in LEARNERS.items()})
    if options.what in ("all", "suites"):
        from skilltokens.suites import suite_names

        _print("suites", suite_names())
    if options.what == "tasks":
        from skilltokens.suites import load_suite

        _print(f"tasks of {options.suite}", {task.name: task.instruction for task in load_suite(options.suite).tasks})
    return 0


def _print(title: str, rows: dict[str, str]) -> None:
    print(title)
    width = max(map(len, rows), default=0)
    for name, line in rows.items():
        print(f"  {name:<{width}}  {line}")
    print()
