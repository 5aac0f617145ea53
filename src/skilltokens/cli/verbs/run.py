"""`skilltokens run`: the demonstrations, then one process a run, then the table and the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skilltokens.cli.plan import Plan, PlannedRun, make_plan
from skilltokens.experiments.recipes import STUDIES
from skilltokens.experiments.settings import RunSettings

if TYPE_CHECKING:
    from skilltokens.cli.batch import View


def main(words: Sequence[str]) -> int:
    try:
        if words and words[0] in STUDIES:
            from skilltokens.cli.study import main as study

            return study(words)
        return _run(make_plan(words), words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _run(plan: Plan[RunSettings[Any]], words: Sequence[str]) -> int:
    left = _unfinished(plan)
    if left:
        _demonstrate(plan)
    from skilltokens.cli.execute import carry_out, conclude
    from skilltokens.cli.table import print_table
    from skilltokens.report.page import write_report
    from skilltokens.simulation.memory import fitting
    from skilltokens.suites import load_suite

    def room(at_once: int, view: View) -> int:
        # Each run has a simulator in its process; workers of its own are counted when they start.
        suite = load_suite(plan.runs[0].settings.suite)
        return fitting(at_once, suite, lambda news: view.update("runs", news))

    failures = carry_out(plan, left, words, lambda settings: settings.train.threads, room)
    return conclude(plan, failures, print_table, write_report)


def _unfinished(plan: Plan[RunSettings[Any]]) -> list[PlannedRun[RunSettings[Any]]]:
    """The runs that are not done yet.

    Whatever can be known to fail is found here, before anything is made: tasks, impossible settings, and folders of
    other configurations.
    """
    from skilltokens.experiments.checks import check_run
    from skilltokens.suites import load_suite, task_of

    left = []
    for run in plan.runs:
        suite = load_suite(run.settings.suite)
        tasks = [task_of(suite, name) for name in run.settings.tasks] or suite.tasks
        finished = False
        if (plan.folder(run) / "run.json").exists():
            from skilltokens.experiments.record import open_run  # torch: only where there is a run to compare with

            finished = open_run(plan.folder(run), run.settings, plan.recipe, tasks)["finished"]
        if not finished:
            check_run(run.settings, suite)
            left.append(run)
    return left


def _demonstrate(plan: Plan[RunSettings[Any]]) -> None:
    """Makes the demonstrations that are missing, once for all runs."""
    from skilltokens.cli.progress import Single
    from skilltokens.simulation.demonstrate import demonstrations
    from skilltokens.suites import load_suite, task_of

    settings = plan.runs[0].settings  # the plan overrides these for all runs alike
    suite = load_suite(settings.suite)
    tasks = [task_of(suite, name) for name in settings.tasks] or suite.tasks
    with Single("demonstrations") as report:
        demonstrations(suite, tasks, settings.demonstrations, report)
