"""`skilltokens run`: the demonstrations, then one process a run, then the table and the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from skilltokens.cli.plan import Plan, PlannedRun, make_plan
from skilltokens.recipes import STUDIES
from skilltokens.types import RunError


def main(words: Sequence[str]) -> int:
    if words and words[0] in STUDIES:
        from skilltokens.cli.study import main as study

        return study(words)
    plan = make_plan(words)
    try:
        return _run(plan, words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _run(plan: Plan, words: Sequence[str]) -> int:
    left = _unfinished(plan)
    if left:
        _demonstrate(plan)
    failures = _learn(plan, left, words)
    done = [plan.folder(run) for run in plan.runs if (plan.folder(run) / "run.json").exists()]
    if done:
        _report(plan, done)
    if failures:
        raise RunError("; ".join(failures))
    return 0


def _unfinished(plan: Plan) -> list[PlannedRun]:
    """The runs that are not done yet.

    Whatever can be known to fail is found here, before anything is made: tasks, and folders of other configurations.
    """
    from skilltokens.suites import load_suite, task_of

    left = []
    for run in plan.runs:
        suite = load_suite(run.settings.suite)
        tasks = [task_of(suite, name) for name in run.settings.tasks] or suite.tasks
        finished = False
        if (plan.folder(run) / "run.json").exists():
            from skilltokens.record import open_run  # torch: only where there is a run to compare with

            finished = open_run(plan.folder(run), run.settings, plan.recipe, tasks)["finished"]
        if not finished:
            left.append(run)
    return left


def _demonstrate(plan: Plan) -> None:
    """Makes the demonstrations that are missing, once for all runs."""
    from skilltokens.cli.progress import Single
    from skilltokens.suites import load_suite, task_of
    from skilltokens.suites.demonstrate import demonstrations

    settings = plan.runs[0].settings  # the plan overrides these for all runs alike
    suite = load_suite(settings.suite)
    tasks = [task_of(suite, name) for name in settings.tasks] or suite.tasks
    with Single("demonstrations") as report:
        demonstrations(suite, tasks, settings.demonstrations, report)


def _learn(plan: Plan, runs: Sequence[PlannedRun], words: Sequence[str]) -> list[str]:
    """Does the runs, each in a child; returns the sentences of those that failed."""
    from skilltokens.cli.batch import Job, run_jobs
    from skilltokens.cli.progress import watching
    from skilltokens.memory import fitting
    from skilltokens.suites import load_suite

    worker = (sys.executable, "-m", "skilltokens.cli.worker")
    jobs = [
        Job(run.name, (*worker, run.name, *words), plan.out / f"{run.name}.log", run.settings.train.threads)
        for run in runs
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    suite = load_suite(plan.runs[0].settings.suite)
    with watching([job.name for job in jobs]) as view:
        # Each run has a simulator in its process; workers of its own are counted when they start.
        at_once = fitting(min(plan.jobs or cores, len(jobs)), suite, lambda news: view.update("runs", news))
        endings = run_jobs(jobs, at_once, view)
    return [failure for failure in endings.values() if failure is not None]


def _report(plan: Plan, runs: Sequence[Path]) -> None:
    from skilltokens.cli.table import print_table
    from skilltokens.report.page import write_report

    print_table(runs)
    page = write_report(runs, plan.out / "report.html")
    print(f"report: {page.resolve()}")
