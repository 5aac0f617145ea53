"""A plan carried out: a child process for each run that is left, then the table and the report of all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from skilltokens.cli.batch import Job, View, run_jobs
from skilltokens.cli.plan import Plan, PlannedRun, Settings
from skilltokens.cli.progress import watching
from skilltokens.types import RunError


def carry_out(
    plan: Plan[Settings],
    left: Sequence[PlannedRun[Settings]],
    words: Sequence[str],
    threads: Callable[[Settings], int],
    room: Callable[[int, View], int] = lambda at_once, _: at_once,
) -> list[str]:
    """Does the runs that are left, each in a child; returns the sentences of those that failed.

    Args:
        words: after `skilltokens run`; each child makes the same plan of them.
        threads: of a run's torch.
        room: how many of so many runs at a time there is memory for.
    """
    if not left:
        return []
    worker = (sys.executable, "-m", "skilltokens.cli.worker")
    jobs = [
        Job(run.name, (*worker, run.name, *words), plan.out / f"{run.name}.log", threads(run.settings)) for run in left
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with watching([job.name for job in jobs]) as view:
        endings = run_jobs(jobs, room(min(plan.jobs or cores, len(jobs)), view), view)
    return [failure for failure in endings.values() if failure is not None]


def conclude(
    plan: Plan[Settings],
    failures: Sequence[str],
    print_table: Callable[[Sequence[Path]], None],
    write_report: Callable[[Sequence[Path], Path], Path],
) -> int:
    """Shows what was found, by the runs that failed as well, as far as they came.

    Raises:
        RunError: a run failed.
    """
    done = [path for run in plan.runs if (path := plan.folder(run) / "run.json").exists()]
    if done:
        print_table(done)
        print(f"report: {write_report(done, plan.out / 'report.html').resolve()}")
    if failures:
        raise RunError("; ".join(failures))
    return 0
