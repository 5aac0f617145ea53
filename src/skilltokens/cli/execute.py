"""A plan carried out: a child process for each run that is left, then the table and the report of all of them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from skilltokens.cli.batch import Job, run_jobs
from skilltokens.cli.job import RunJob
from skilltokens.cli.plan import Plan, PlannedRun
from skilltokens.cli.progress import watching
from skilltokens.types import RunError


def carry_out(plan: Plan, left: Sequence[PlannedRun], words: Sequence[str], verb: str = "run") -> list[str]:
    """Does the runs that are left, each in a child; returns the sentences of those that failed.

    Args:
        words: after `skilltokens VERB`, to be written into each run.json.
    """
    if not left:
        return []
    experiment, command = plan.experiment, shlex.join(["skilltokens", verb, *words])
    folder = Path(tempfile.mkdtemp(prefix="skilltokens-jobs-"))
    try:
        jobs = []
        for run in left:
            file = folder / f"{run.name}.json"
            RunJob(experiment, run.settings, run.folder.absolute(), plan.recipe.name, command).write(file)
            words_of_child = (sys.executable, "-m", "skilltokens.cli.worker", str(file))
            threads = experiment.threads(run.settings)
            jobs.append(Job(run.name, words_of_child, plan.out / f"{run.name}.log", threads))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with watching([job.name for job in jobs]) as view:
            at_once = experiment.fitting(
                left[0].settings, min(plan.jobs or cores, len(jobs)), lambda news: view.update("runs", news)
            )
            endings = run_jobs(jobs, at_once, view)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # whatever the runs left in it stays
            plan.out.rmdir()
    return [failure for failure in endings.values() if failure is not None]


def conclude(plan: Plan, failures: Sequence[str]) -> int:
    """Shows the results, those of runs that failed as well, as far as they came.

    Raises:
        RunError: a run failed.
    """
    from skilltokens.cli.saying import say
    from skilltokens.cli.tables import print_table
    from skilltokens.report import write_report

    done = [path for run in plan.runs if os.path.exists(path := run.folder / "run.json")]
    if done:
        print_table(done)
        say(f"report: {write_report(done, plan.out / 'report.html').resolve()}")
    if failures:
        raise RunError("; ".join(failures))
    return 0


def show_changes(plan: Plan) -> None:
    """Says where a repeated run differs from the one that it repeats."""
    if plan.repeats is None:
        return
    from skilltokens.cli.saying import say
    from skilltokens.experiments.repeating import changes

    lines = changes(plan.repeats, plan.runs[0].folder)
    say(f"{plan.repeats}: " + ("the same figures again" if not lines else "the repetition differs:"))
    for line in lines:
        say(f"  {line}")
