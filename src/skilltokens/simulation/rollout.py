"""The only rollout loop: a policy acts in simulators, and episodes are counted.

Episode `index` always acts in row `index % group` of a batch of `group` rows, together with the other episodes of
the same `index // group` that were asked for; rows without an episode, or whose episode has ended, repeat a
fixed observation. A matrix product's row may depend on the batch's shape and on the row's place in it, never on
the other rows' content: so an episode's actions do not depend on which others run beside it, on their order or on
the number of simulator processes.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.settings import STEP_LIMIT
from skilltokens.simulation.pool import Pool, Worker
from skilltokens.simulation.processes import ATTEMPTS, WorkerDied, WorkerHung, ready
from skilltokens.simulation.simulators import Reply, Reset, Simulators, Step
from skilltokens.simulation.video import Camera, write_video
from skilltokens.types import (
    ACTION,
    Actor,
    Array,
    Observation,
    Outcome,
    Progress,
    Report,
    SettingError,
    SkilltokensError,
    Split,
    Suite,
    SuiteError,
    Task,
    silent,
)


@dataclass(frozen=True)
class Ending:
    """How an episode ended, and its last observation."""

    outcome: Outcome
    observation: dict[str, Array]


def evaluate(
    actor: Actor,
    suite: Suite,
    task: Task,
    split: Split,
    indices: Iterable[int],
    *,
    group: int = 10,
    pool: Pool | None = None,
    horizon: int | None = None,
    report: Report = silent,
) -> list[Outcome]:
    """Rolls out episodes and says how each ended, in the order of `indices`.

    An episode is a pure function of (actor, suite, task, split, index, group, horizon). It ends at the simulator's
    first success flag, where the simulator says that it is over (a fall), or after `horizon` steps (the suite's own,
    unless a shorter one is given), and is never stepped past that.

    Args:
        actor: acts on batches of `group` rows; called in this process only.
        indices: episodes by number, any order; a repeated one is rolled out once.
        group: episodes that act in one batch.
        pool: simulator processes to use and keep; without one the simulators are made and closed here.

    Raises:
        SettingError: a negative index, an impossible group or horizon, or a pool of another suite.
        SuiteError: a simulator failed, or its process died or hung twice (`Pool.limit`).
        SkilltokensError: the actor's actions have a wrong shape or are not finite.
    """
    numbers = [int(index) for index in indices]
    with _borrowed(suite, pool, report) as own:
        endings = play(actor, own, task, split, numbers, group=group, horizon=horizon, report=report)
    return [endings[index].outcome for index in numbers]


def play(
    actor: Actor,
    pool: Pool,
    task: Task,
    split: Split,
    indices: Sequence[int],
    *,
    group: int = 10,
    horizon: int | None = None,
    report: Report = silent,
) -> dict[int, Ending]:
    """The loop itself: the ending of every episode in `indices`; see `evaluate`."""
    horizon = _checked(pool.suite, indices, group, horizon)
    members: dict[int, list[int]] = {}
    for index in sorted(set(indices)):
        members.setdefault(index // group, []).append(index)
    waiting = deque(_Group(actor, pool.suite, task, split, tuple(rows), group, horizon) for rows in members.values())
    return _Round(pool, waiting, report, Progress("evaluate", 0, len(set(indices)), task.name)).run()


def record_video(
    actor: Actor,
    suite: Suite,
    task: Task,
    split: Split,
    index: int,
    path: Path,
    *,
    group: int = 10,
    horizon: int | None = None,
    every: int = 3,
    fps: int = 15,
    limit: float = STEP_LIMIT,
    report: Report = silent,
) -> Outcome:
    """Records one episode, the same that `evaluate` counts, as an animated WebP of less than 300 kB.

    Args:
        every: steps between two frames; the first and the last moment are always recorded.
        fps: frames a second when it is shown; the last frame is held, framed in green after success, else in red.
        limit, report: see `Pool`; the simulator is in this process.

    Raises:
        SettingError: see `evaluate`; also where `every` or `fps` is not positive.
        SuiteError: a simulator failed or cannot render.
        SkilltokensError: see `evaluate`; also where the file cannot be written.
    """
    if every < 1 or fps < 1:
        raise SettingError(f"a video of every {every} steps at {fps} frames a second is impossible: use 1 or more")
    camera = Camera(suite, every)
    with _Studio(camera, limit, report) as pool:
        outcome = play(actor, pool, task, split, [index], group=group, horizon=horizon)[index].outcome
        camera.shoot()
    write_video(Path(path), camera.frames, outcome.success, fps)
    return outcome


class _Studio(Pool):
    """The pool of one camera, in this process."""

    def __init__(self, camera: Camera, limit: float, report: Report):
        super().__init__(camera.suite, report=report, limit=limit)
        self._camera = camera

    def _simulators(self) -> Simulators:
        return self._camera


class _Round:
    """Brings groups and workers together: each worker plays one group at a time, and whoever is ready is served."""

    def __init__(self, pool: Pool, waiting: deque[_Group], report: Report, start: Progress):
        self._pool, self._waiting = pool, waiting
        self._playing: dict[Worker, _Group] = {}
        self._endings: dict[int, Ending] = {}
        self._report, self._start = report, start

    def run(self) -> dict[int, Ending]:
        self._report(self._start)
        try:
            while self._waiting or self._playing:
                while self._waiting and (worker := self._pool.take()) is not None:
                    self._playing[worker] = self._waiting.popleft()
                    self._serve(worker, begin=True)
                for worker in ready(list(self._playing)):
                    self._serve(worker)
        finally:
            for worker in self._playing:  # after an error: a reply that is still to come must not reach the next call
                self._pool.discard(worker)
        return self._endings

    def _serve(self, worker: Worker, begin: bool = False) -> None:
        """Takes one worker's group one request further."""
        group = self._playing[worker]
        try:
            if begin:
                self._ask(worker, group.begin())
                return
            finished = group.take(worker.receive())
            if group.live.any():
                self._ask(worker, group.act())
            else:
                del self._playing[worker]
                self._pool.give(worker)
        except WorkerDied as death:
            self._retry(worker, death)
            return
        if finished:
            self._endings.update(finished)
            self._tell()

    def _ask(self, worker: Worker, request: Reset | Step) -> None:
        worker.send(request, self._pool.allows(request))

    def _retry(self, worker: Worker, death: WorkerDied) -> None:
        """Puts the group of a dead worker, or one that hangs, first in the line, unless it has had its second
        chance."""
        group = self._playing.pop(worker)
        self._pool.discard(worker)
        hung = isinstance(death, WorkerHung)
        if group.attempts >= ATTEMPTS:
            how, advice = (
                f"died {group.attempts} times",
                "use 0 workers to see why, or fewer workers if memory is short",
            )
            if hung:
                how, advice = f"hung at {group.moment} when tried once more", "raise step_limit if it is only slow"
            raise SuiteError(f"{group.name}: the simulator process {how} ({death}): {advice}") from death
        self._waiting.appendleft(group)
        happened = f"hung at {group.moment}, {death}, and was ended" if hung else f"died ({death})"
        self._tell(f"{self._start.note}: a simulator process {happened}; its episodes are run again")

    def _tell(self, note: str = "") -> None:
        done = len(self._endings)
        successes = sum(ending.outcome.success for ending in self._endings.values())
        figures = {"success": successes / done} if done else {}
        self._report(replace(self._start, done=done, note=note or self._start.note, figures=figures))


class _Group:
    """The episodes of one batch, in lock-step. `live` marks those that have not ended, by their place in `indices`."""

    def __init__(
        self, actor: Actor, suite: Suite, task: Task, split: Split, indices: tuple[int, ...], size: int, horizon: int
    ):
        self._actor, self._size, self._horizon = actor, size, horizon
        self._features = {name: feature for name, feature in suite.features.items() if name != ACTION}
        self._action = suite.features[ACTION]
        self._reset = Reset(task, split, indices)
        self._slots = np.array(indices) % size
        self.name = f"{suite.name} task {task.name!r}, episodes {', '.join(map(str, indices))} of split {split!r}"
        self.attempts = 0
        self.live = np.zeros(len(indices), bool)

    def begin(self) -> Reset:
        """The request that starts all episodes from their beginning."""
        self.attempts += 1
        self.live[:] = True
        self._steps = -1  # the reset's reply makes it 0
        self._batch = {name: np.zeros((self._size, *f.shape), f.dtype) for name, f in self._features.items()}
        self._memory: Any = self._actor.start(self._size)
        return self._reset

    @property
    def moment(self) -> str:
        """What the simulators were last asked for."""
        return "its reset" if self._steps < 0 else f"step {self._steps + 1}"

    def take(self, reply: Reply) -> dict[int, Ending]:
        """Takes in what the live episodes look like now; returns those that have ended by it."""
        rows = np.flatnonzero(self.live)
        for name, values in reply.observation.items():
            self._batch[name][self._slots[rows]] = values
        self._steps += 1
        ended = reply.success | reply.over if self._steps < self._horizon else np.ones(len(rows), bool)
        self.live[rows[ended]] = False
        return {
            self._reset.indices[row]: Ending(Outcome(bool(success), self._steps), self._observation(row))
            for row, success in zip(rows[ended], reply.success[ended], strict=True)
        }

    def act(self) -> Step:
        """The request that steps the live episodes by the actor's actions."""
        actions = np.asarray(self._actor.act(self._aligned(), self._memory))
        if actions.shape != (self._size, *self._action.shape):
            expected = (self._size, *self._action.shape)
            raise SkilltokensError(f"{self.name}: the policy gave actions {actions.shape} where {expected} is needed")
        rows = np.flatnonzero(self.live)
        actions = actions[self._slots[rows]].astype(self._action.dtype)
        if not np.isfinite(actions).all():
            index = self._reset.indices[rows[~np.isfinite(actions).all(axis=1)][0]]
            raise SkilltokensError(
                f"{self.name}: the policy's action in episode {index}, step {self._steps} is not finite: "
                "its training has diverged; learn it again with a lower rate"
            )
        return Step(tuple(rows.tolist()), actions)

    def _observation(self, row: int) -> dict[str, Array]:
        return {name: values[self._slots[row]].copy() for name, values in self._batch.items()}

    def _aligned(self) -> Observation:
        """A copy of the batch that the actor may keep, at addresses that are multiples of 64 bytes.

        Vectorised sums may be split differently at other addresses, which would change their last bits.
        """
        return {name: _aligned_copy(values) for name, values in self._batch.items()}


def _aligned_copy(values: Array) -> Array:
    room = np.empty(values.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def _checked(suite: Suite, indices: Sequence[int], group: int, horizon: int | None) -> int:
    """The horizon to use, after a look at the other settings."""
    if group < 1:
        raise SettingError(f"a group of {group} episodes is impossible: use 1 or more")
    if any(index < 0 for index in indices):
        raise SettingError(f"episode {min(indices)} does not exist: episodes count from 0")
    if horizon is None:
        return suite.horizon
    if not 1 <= horizon <= suite.horizon:
        raise SettingError(
            f"a horizon of {horizon} steps is impossible: suite {suite.name!r} allows 1 to {suite.horizon}"
        )
    return horizon


@contextlib.contextmanager
def _borrowed(suite: Suite, pool: Pool | None, report: Report) -> Iterator[Pool]:
    """The caller's pool, left open, or a new one in this process, closed at the end."""
    if pool is None:
        with Pool(suite, report=report) as own:
            yield own
        return
    if pool.suite.name != suite.name:
        raise SettingError(f"the pool runs suite {pool.suite.name!r}, not {suite.name!r}: make a pool of that suite")
    yield pool
