"""A plan's runs on a cluster: what is checked of them, and how many go at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skilltokens.cli.batch import Job
from skilltokens.cli.cluster.checks import check_cluster
from skilltokens.cli.cluster.connection import Connection, connected
from skilltokens.cli.planned import Plan, PlannedRun
from skilltokens.configuration import flat, plain

INPUTS = ("demonstrations.folder", "motion.folder", "base", "library")
"""Settings that name a folder which runs read."""


def check_place(plan: Plan, left: Sequence[PlannedRun]) -> None:
    """Checks that the cluster can do the runs that are left, before anything is made.

    Raises:
        SkilltokensError: it is not there, or a node of it would do otherwise than this machine.
    """
    if not left:
        return
    jobs = [job_of(run, ()) for run in left]
    with connected(plan.cluster) as cluster:
        check_cluster(cluster, jobs, plan.out, list(dict.fromkeys(place for run in left for place in _inputs(run))))


def job_of(run: PlannedRun, words: Sequence[str]) -> Job:
    """A run as a job with these words."""
    experiment, log = run.recipe.experiment, run.folder.parent / f"{run.name}.log"
    return Job(run.name, tuple(words), log, experiment.threads(run.settings), experiment.memory(run.settings))


def _inputs(run: PlannedRun) -> Iterator[tuple[str, Path]]:
    values = flat(plain(run.settings))
    for name in INPUTS:
        if isinstance(value := values.get(name), str) and value:
            yield f"--{name}", Path(value)


@contextmanager
def cluster_of(plan: Plan) -> Iterator[Connection | None]:
    """The connection to a plan's cluster; None where its runs are processes here."""
    if not plan.cluster:
        yield None
        return
    with connected(plan.cluster) as cluster:
        yield cluster
