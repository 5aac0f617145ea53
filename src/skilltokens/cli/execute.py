"""A plan carried out: what its runs share, a child process for each run that is left, then the table and the report."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skilltokens.cli.batch import Job, View, run_jobs
from skilltokens.cli.cluster.carrier import run_on_cluster
from skilltokens.cli.cluster.checks import slots
from skilltokens.cli.cluster.connection import Connection
from skilltokens.cli.cluster.planning import cluster_of, job_of
from skilltokens.cli.estimate import guess
from skilltokens.cli.job import RunJob
from skilltokens.cli.planned import Plan, PlannedRun
from skilltokens.cli.profile.options import profiled, show
from skilltokens.cli.progress import Single, watching
from skilltokens.cli.remaining import Expected, Remaining, in_words
from skilltokens.cli.together import run_together, team
from skilltokens.experiments.states import state_of
from skilltokens.machine import cores
from skilltokens.types import RunError, SkilltokensError


def prepare(plan: Plan, runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Makes what runs of a plan share, once for all that share it; run's name -> why that of one could not be made.

    Raises:
        SkilltokensError: what all of them share could not be made.
    """
    with profiled(plan.profile, "preparing"):
        return _prepared(runs)


def _prepared(runs: Sequence[PlannedRun]) -> dict[str, str]:
    groups: dict[Any, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(repr(run.recipe.experiment.shared(run.settings)), []).append(run)
    failures: dict[str, str] = {}
    for group in groups.values():
        try:
            with Single("preparing") as report:
                group[0].recipe.experiment.prepare(group[0].settings, report)
        except SkilltokensError as problem:
            if len(groups) == 1:
                raise
            failures |= {run.name: str(problem) for run in group}
    return failures


def remaining(plan: Plan, left: Sequence[PlannedRun]) -> Remaining:
    """What the runs that are left are expected to take, by what is known of them and of those that are done."""
    waiting = [_expected(run, state_of(run.folder).share) for run in left]
    estimate = Remaining(waiting, min(plan.jobs or cores(), max(len(left), 1)), len(plan.runs) - len(left))
    names = {run.name for run in left}
    for run in plan.runs:
        if run.name not in names:
            estimate.took(_expected(run, 1.0), state_of(run.folder).seconds)
    return estimate


def _expected(run: PlannedRun, share: float) -> Expected:
    experiment = run.recipe.experiment
    return Expected(run.name, f"{run.recipe.name} {run.learner}", guess(experiment.costs(run.settings)), share)


def carry_out(plan: Plan, left: Sequence[PlannedRun], also: View | None = None) -> dict[str, str | None]:
    """Does the runs that are left, each in a child, here or on the plan's cluster; or by the processes of torchrun.

    Args:
        also: is told what the view is told.

    Returns:
        for each run's name how it failed, in a sentence, or None.

    Raises:
        ClusterError: the cluster is gone.
    """
    if not left:
        return {}
    estimate = remaining(plan, left) if len(plan.runs) > 1 else None
    with (
        cluster_of(plan) as cluster,
        _jobs(plan, left) as jobs,
        watching([job.name for job in jobs], estimate) as view,
    ):
        at_once = _room(plan, left, jobs, cluster, view)
        if estimate is not None:
            estimate.at_once = at_once
            done = len(plan.runs) - len(left)
            what = f"{len(left)} runs, {at_once} at once" + (f"; {done} are done" if done else "")
            first = ", by a first guess" if estimate.guessed else ""
            view.announce(f"{what}: {in_words(estimate.left())}{first}")
        both = view if also is None else _Both(view, also)
        if team() is not None:
            carried = run_together(jobs, both)
        elif cluster is not None:
            carried = run_on_cluster(cluster, jobs, plan.jobs, both)
        else:
            carried = run_jobs(jobs, at_once, both)
    show(plan.profile, carried)
    return carried


def _room(plan: Plan, left: Sequence[PlannedRun], jobs: Sequence[Job], cluster: Connection | None, view: View) -> int:
    """How many of the jobs go at once."""
    if team() is not None:
        return 1
    if cluster is not None:
        room = slots(cluster.nodes(), jobs)
        return min(plan.jobs or room, room, len(jobs))
    at_once = min(plan.jobs or cores(), len(jobs))
    for settings in {run.settings.suite: run.settings for run in left}.values():
        at_once = plan.experiment.fitting(settings, at_once, lambda news: view.update("runs", news))
    return at_once


@contextmanager
def _jobs(plan: Plan, runs: Sequence[PlannedRun]) -> Iterator[list[Job]]:
    """A job for each run, with a file that says what its child is to do, where other machines see it too."""
    shared = plan.out.absolute() if plan.cluster or team() is not None else None
    if shared is not None:
        shared.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".jobs-" if shared else "skilltokens-jobs-", dir=shared))
    try:
        jobs = []
        for number, run in enumerate(runs):
            file = folder / f"{number}.json"
            experiment = run.recipe.experiment
            here = run.folder.absolute()
            profile = plan.profile and plan.profile.absolute()
            RunJob(experiment, run.settings, here, run.recipe.name, run.command, plan.tag, profile).write(file)
            words = (sys.executable, "-m", "skilltokens.cli.worker", str(file))
            jobs.append(job_of(run, words))
        yield jobs
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # whatever the runs left in it stays
            plan.out.rmdir()


class _Both:
    """Two views that are told the same."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def update(self, name: str, progress: Any) -> None:
        for view in self._views:
            view.update(name, progress)

    def finish(self, name: str, failure: str | None) -> None:
        for view in self._views:
            view.finish(name, failure)


def conclude(plan: Plan, failures: Sequence[str]) -> int:
    """Shows the results, those of runs that failed as well, as far as they came.

    Raises:
        RunError: a run failed.
    """
    from skilltokens.cli.saying import say
    from skilltokens.cli.tables import print_table
    from skilltokens.report import write_report

    folders = dict.fromkeys([run.folder for run in plan.runs] + list(plan.beside))
    done = [path for folder in folders if os.path.exists(path := folder / "run.json")]
    if done:
        print_table(done)
        say(f"report: {write_report(done, plan.out / 'report.html').resolve()}")
    if failures:
        raise RunError("; ".join(dict.fromkeys(failures)))
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
