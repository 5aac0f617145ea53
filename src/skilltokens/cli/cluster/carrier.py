"""Jobs on a cluster, as `batch.run_jobs` does them on this machine: each in an actor on a node with room for it.

A job whose node dies begins again on another, where its run goes on from its last point. Ray's own retries are not
used: they say nothing, and wait for ever for a node that never comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from skilltokens.cli.batch import PATIENCE, Job, View, decode, stopping
from skilltokens.cli.cluster.checks import fits, size, slots
from skilltokens.cli.cluster.connection import Connection
from skilltokens.cli.cluster.node import Carried
from skilltokens.types import NOTE, Progress

LOOK = 3.0
"""Seconds between two looks at which nodes there are."""
POLL, LISTEN = 0.5, 5.0
"""Seconds that this side waits for news of any job, and a node for news of one."""
GRACE = 30.0
"""Seconds to wait for a node that is large enough, when the last one has gone."""
DEATHS = 5
"""How often the node of one job may die: then the job itself may be what kills them."""
PAUSE = 3.0
"""Seconds before a job begins again, in which what is left of its dead node lets go of the folder."""
MARGIN = 10.0
"""Seconds beyond its patience that a node gets to say that a job has stopped."""


class _Remote:
    """A job that was given to the cluster: it waits for a node with room, or runs there."""

    def __init__(self, cluster: Connection, job: Job, folder: str) -> None:
        self.job = job
        self.begun = False
        """Whether its node has answered."""
        self._cluster = cluster
        self._actor = cluster.actor(Carried, job.threads, job.memory)
        log = os.path.abspath(job.log)
        self.answer = self._actor.start.remote(job.name, job.command, log, job.threads, folder)
        """What is asked now."""
        self._ending: Any = None

    def read(self) -> tuple[list[str], tuple[str | None] | None]:
        """The lines in the answer, and in a tuple the failure or None of an ended job; asks for more.

        Raises:
            RayActorError: its node, or Ray's process there, has died.
        """
        lines: list[str] = []
        ending: tuple[str | None] | None = None
        try:
            result = self._cluster.ray.get(self.answer)
            if self.begun:
                lines, ending = result
            elif result is not None:
                ending = (result,)
            self.begun = True
        except self._cluster.ray.exceptions.ActorUnavailableError:  # the network, for a moment
            if not self.begun:
                raise
            time.sleep(POLL)
        self.answer = self._actor.news.remote(LISTEN)
        return lines, ending

    def ask_to_stop(self) -> None:
        if self.begun:
            self._ending = self._actor.end.remote(PATIENCE)

    def stop(self, patience: float) -> None:
        """Waits for the end of its child, which the end of the actor brings in any case."""
        ray = self._cluster.ray
        if self._ending is not None and patience:
            with suppress(ray.exceptions.RayError):
                ray.get(self._ending, timeout=patience + MARGIN)
        self.give_up()

    def give_up(self) -> None:
        """Ends the actor, and frees its place."""
        if not self._cluster.lost:
            self._cluster.ray.kill(self._actor)


class _Trip:
    """All jobs on their way."""

    def __init__(self, cluster: Connection, jobs: Sequence[Job], at_once: int, view: View) -> None:
        self.waiting = list(jobs)
        self.running: list[_Remote] = []
        self.endings: dict[str, str | None] = {}
        self._cluster, self._at_once, self._view = cluster, at_once, view
        self._jobs, self._folder = jobs, os.getcwd()
        self._deaths = dict.fromkeys((job.name for job in jobs), 0)
        self._looked = self._room = 0
        self._fitted = dict.fromkeys((job.name for job in jobs), time.monotonic())
        """When a node was last known that each job fits on, the one that it ran on included."""
        self._not_before: dict[str, float] = {}

    def begin(self) -> None:
        """Gives jobs to the cluster, as many as it has room for; those that fit nowhere any more have failed."""
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            self._look(now)
        limit = min(self._room, self._at_once or self._room)
        ready = [job for job in self.waiting if self._not_before.get(job.name, 0) <= now]
        for job in ready[: max(0, limit - len(self.running))]:
            self.waiting.remove(job)
            self.running.append(_Remote(self._cluster, job, self._folder))

    def _look(self, now: float) -> None:
        if not self._cluster.answers():
            return
        nodes = self._cluster.nodes()
        self._room = slots(nodes, self._jobs)
        still = [remote for remote in self.running if not remote.begun]
        for job in [*self.waiting, *(remote.job for remote in still)]:
            if any(fits(entry, job) for entry in nodes):
                self._fitted[job.name] = now
            elif now - self._fitted[job.name] > GRACE:
                self._finish(
                    job,
                    f"no node of the cluster is left that has {size(job)} for {job.name}: start one, and the same "
                    "command again, which goes on where the run was",
                )

    def read(self) -> None:
        """Waits a moment for news, and tells them."""
        if not self.running:
            time.sleep(POLL)
            return
        ray = self._cluster.ray
        answers = [remote.answer for remote in self.running]
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=POLL)
        for remote in [remote for remote in self.running if remote.answer in ready]:
            try:
                lines, ending = remote.read()
            except ray.exceptions.RayActorError as problem:
                self._died(remote, problem)
                continue
            except ray.exceptions.RayTaskError as problem:  # the code above, on that node
                lines, ending = [], (str(problem).strip().rpartition("\n")[2],)
            for line in lines:
                progress = decode(line)
                if isinstance(progress, Progress):
                    self._view.update(remote.job.name, progress)
            if ending is not None:
                remote.give_up()
                self._finish(remote.job, ending[0])

    def _died(self, remote: _Remote, problem: Exception) -> None:
        job = remote.job
        self.running.remove(remote)
        remote.give_up()
        self._deaths[job.name] += 1
        if self._deaths[job.name] > DEATHS:
            reason = " ".join(str(problem).split())
            self._finish(
                job,
                f"the nodes on which {job.name} ran died {DEATHS + 1} times, the last one so: {reason:.300}; the same "
                "command again goes on where the run was",
            )
            return
        self._looked, self._fitted[job.name] = 0.0, time.monotonic()
        self._not_before[job.name] = time.monotonic() + PAUSE
        self.waiting.insert(0, job)
        note = "its node has died: it goes on from its last point on another one"
        self._view.update(job.name, Progress(NOTE, 0, 1, note))

    def _finish(self, job: Job, failure: str | None) -> None:
        for remote in [remote for remote in self.running if remote.job is job]:
            self.running.remove(remote)
            remote.give_up()
        self.waiting = [other for other in self.waiting if other is not job]
        self.endings[job.name] = failure
        self._view.finish(job.name, failure)


def run_on_cluster(cluster: Connection, jobs: Sequence[Job], at_once: int, view: View) -> dict[str, str | None]:
    """As `batch.run_jobs`, on the nodes of a cluster.

    Args:
        jobs: their first word, this Python, becomes the node's; their files are in folders that all nodes share.
        at_once: how many at most; 0: as many as the cluster has room for, however many nodes come and go.

    Raises:
        ClusterError: the cluster's head is gone; what ran was interrupted, as by Ctrl-C.
    """
    trip = _Trip(cluster, jobs, at_once, view)
    with stopping(trip.running):
        while trip.waiting or trip.running:
            trip.begin()
            trip.read()
    return trip.endings
