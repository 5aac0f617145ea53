"""Demonstrations of a suite's tasks: a store in the folder is used, a missing one is made, several at a time.

One task is one store at FOLDER/SUITE/TASK, made in one process, so a store does not depend on how many processes
there are. A process writes its store atomically; Ctrl-C or a crash leaves whole stores only, and the same call
resumes from there. One call at a time makes stores of a suite in a folder; the next one waits, and takes what is there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skilltokens.configuration import check_settings
from skilltokens.demos import DemonstrationStore, check_actions, write_store
from skilltokens.files import sweep
from skilltokens.locking import locked
from skilltokens.machine import cores
from skilltokens.settings import STEP_LIMIT, DemonstrationSettings
from skilltokens.simulation.blame import words_of
from skilltokens.simulation.drawing import DRAWN_FROM, draw_episodes, parts_folder, states_of
from skilltokens.simulation.memory import fitting
from skilltokens.simulation.processes import (
    ATTEMPTS,
    Line,
    ParentGone,
    WorkerDied,
    WorkerHung,
    WorkerPool,
    WorkerProcess,
    ready,
)
from skilltokens.simulation.signs import RESET, Watch, heard_by, sign, tell
from skilltokens.types import (
    SIMULATOR,
    DemonstrationError,
    Episode,
    Feature,
    Progress,
    Report,
    SkilltokensError,
    Suite,
    SuiteError,
    Task,
    silent,
)

STAGE = "demonstrations"
PATIENCE = 7 * 24 * 3600.0
"""Seconds to wait for another process that makes demonstrations of the same suite, which is told all the while."""
SCRIPTED = "scripted"


def demonstrations(
    suite: Suite,
    tasks: Sequence[Task],
    settings: DemonstrationSettings,
    report: Report = silent,
    workers: int | None = None,
    limit: float = STEP_LIMIT,
) -> list[DemonstrationStore]:
    """One store for each of `tasks`, in their order; a task that comes twice gives the same store twice.

    A suite may bring demonstrations of its own: it is asked by its method `store(task)`, if it has one, and what that
    returns is taken as it is. Otherwise a store in the folder is used if it was made with the same settings and
    versions, or if its source is not a script; what is missing is made by `suite.demonstrate`.

    A suite whose observations take long to compute (pictures) may name another one with the same episodes as its
    attribute `states`. Then the demonstrations of that one are made first, and `suite.draw(task, store, index)` says
    what its own observations are in each of them.

    Args:
        report: gets every episode; `done` and `total` count the episodes of all tasks that are missing.
        workers: processes at most, 0 for this process. Where left out, as many as there are cores and missing tasks,
            and for a single one this process. Where memory is too small for them fewer are used, and `report` gets a
            line about it.
        limit: seconds, RESET times as many of which a suite may go on without a sign of life; 0: for ever. A
            demonstration is one, and each step and attempt of an expert that uses experts.py. What takes longer is
            taken to hang: its process is ended and its task begun once more; in this process that is impossible, so
            `report` gets a line (standard error, where it is silent).

    Raises:
        SettingError: impossible settings.
        DemonstrationError: a store in the folder is damaged or was made in another way (nothing is overwritten), holds
            actions that the suite does not take, or the folder cannot be written.
        SuiteError: the simulator is missing or failed, or a process died or hung twice.
    """
    check_settings(settings, "demonstrations")
    stores, missing = _there(suite, tasks, settings)
    if missing:
        states = states_of(suite)
        if states is not None:
            demonstrations(states, missing, settings, report, workers, limit)
        folder = store_path(suite, missing[0], settings).parent
        with locked(folder, DemonstrationError, wait=PATIENCE, report=report):
            sweep(folder)
            stores, missing = _there(suite, tasks, settings)  # another process may have made them meanwhile
            if missing:
                _make(suite, missing, settings, report, workers, limit)
    complete = [stores[task] or DemonstrationStore.open(store_path(suite, task, settings)) for task in tasks]
    for store in complete:
        check_actions(store, suite.scales, suite.name)
    return complete


def _there(
    suite: Suite, tasks: Sequence[Task], settings: DemonstrationSettings
) -> tuple[dict[Task, DemonstrationStore | None], list[Task]]:
    """The store of each task, and the tasks that have none."""
    stores = {task: _brought(suite, task) or _existing(suite, task, settings) for task in dict.fromkeys(tasks)}
    return stores, [task for task, store in stores.items() if store is None]


def _make(
    suite: Suite,
    missing: Sequence[Task],
    settings: DemonstrationSettings,
    report: Report,
    workers: int | None,
    limit: float,
) -> None:
    """Makes the stores of these tasks, in a folder that nobody else makes any in."""
    if workers is None:
        workers = min(len(missing), cores())
        workers = 0 if workers == 1 else workers
    workers = fitting(min(workers, len(missing)), suite, report)
    progress = _Tally(missing, settings.episodes, report)
    if workers:
        _in_processes(suite, missing, settings, progress, RESET * limit, workers)
    else:
        _here(suite, missing, settings, progress, RESET * limit)


def store_path(suite: Suite, task: Task, settings: DemonstrationSettings) -> Path:
    """Where the store of `task` is kept: FOLDER/SUITE/TASK."""
    return Path(settings.place).expanduser() / suite.name / task.name


def make_store(
    suite: Suite, task: Task, settings: DemonstrationSettings, tell: Callable[[int], None]
) -> DemonstrationStore:
    """Makes one store in this process, in place of one that was there; `tell` gets the number of episodes done.

    Raises:
        DemonstrationError: the suite's episodes break a rule of the store, or the folder cannot be written.
        SuiteError: the simulator is missing or failed, or it gave too few episodes.
    """
    path, states = store_path(suite, task, settings), states_of(suite)
    source, recipe, needed, parts = SCRIPTED, _recipe(settings), settings.episodes, None
    if states is None:
        episodes = suite.demonstrate(task, settings.episodes, settings.seed, settings.noise)
    else:
        drawn = DemonstrationStore.open(store_path(states, task, settings))
        source, recipe, needed = drawn.source, {**drawn.settings, DRAWN_FROM: drawn.digest}, drawn.episodes
        parts = parts_folder(path, suite, drawn)
        episodes = draw_episodes(suite, task, drawn, parts)
    episodes = _counted(suite, task, episodes, needed, tell)
    first = next(episodes)
    private = {
        name: Feature(array.shape[1:], str(array.dtype))
        for name, array in first.features.items()
        if name.startswith(SIMULATOR)
    }
    store = write_store(
        path,
        itertools.chain([first], episodes),
        task=task,
        features={**suite.features, **private},
        source=source,
        suite=suite.name,
        versions=suite.versions(),
        settings=recipe,
    )
    if parts is not None:
        shutil.rmtree(parts, ignore_errors=True)
    return store


def _counted(
    suite: Suite, task: Task, episodes: Iterator[Episode], needed: int, tell: Callable[[int], None]
) -> Iterator[Episode]:
    """The episodes, as many as are needed; an error of the simulator's own must not be taken for one of writing."""
    count = 0
    try:
        for episode in episodes:
            yield episode
            count += 1
            sign()
            tell(count)
    except (SkilltokensError, ParentGone):
        raise
    except Exception as problem:
        raise SuiteError(
            f"{suite.name} task {task.name!r}: the simulator failed after {count} demonstrations ({words_of(problem)})"
        ) from problem
    if count != needed:
        raise SuiteError(f"suite {suite.name!r} gave {count} demonstrations of {task.name!r} where {needed} are needed")


def _recipe(settings: DemonstrationSettings) -> dict[str, Any]:
    """The settings that decide what a store holds: all but where it is kept."""
    return {name: value for name, value in asdict(settings).items() if name != "folder"}


def store_of(suite: Suite, task: Task, settings: DemonstrationSettings) -> DemonstrationStore | None:
    """The store that a run would learn from, if one can be read: the suite's own, or that of the folder."""
    with contextlib.suppress(DemonstrationError):
        path = store_path(suite, task, settings)
        return _brought(suite, task) or (DemonstrationStore.open(path) if os.path.exists(path) else None)
    return None


def _brought(suite: Suite, task: Task) -> DemonstrationStore | None:
    """The store that a suite brings of its own."""
    ask: Callable[[Task], DemonstrationStore | None] = getattr(suite, "store", lambda _: None)
    return ask(task)


def _existing(suite: Suite, task: Task, settings: DemonstrationSettings) -> DemonstrationStore | None:
    """The store of `task` if there is one; it must be what would be made now."""
    path = store_path(suite, task, settings)
    if not os.path.exists(path):
        return None
    store = DemonstrationStore.open(path)
    expected: dict[str, tuple[object, object]] = {
        "task": (store.task.name, task.name),
        "features": (store.features, dict(suite.features)),
    }
    if store.source == SCRIPTED:
        expected["instruction"] = (store.task.instruction, task.instruction)
        expected |= {name: (store.settings.get(name), value) for name, value in _recipe(settings).items()}
        expected["versions"] = (store.versions, suite.versions())
    states = states_of(suite)
    if states is not None and DRAWN_FROM in store.settings and os.path.exists(store_path(states, task, settings)):
        digest = DemonstrationStore.open(store_path(states, task, settings)).digest
        expected[DRAWN_FROM] = (store.settings.get(DRAWN_FROM), digest)
    for name, (present, needed) in expected.items():
        if present != needed:
            raise DemonstrationError(
                f"{path} has {name} {present} where {needed} is needed: choose another demonstrations.folder, or "
                "remove that store to have it made again"
            )
    return store


class _Tally:
    """Adds up what the tasks report."""

    def __init__(self, tasks: Sequence[Task], episodes: int, report: Report) -> None:
        self.done = dict.fromkeys((task.name for task in tasks), 0)
        self._total = len(tasks) * episodes
        self._episodes, self.report = episodes, report
        report(Progress(STAGE, 0, self._total))

    def tell(self, task: str, done: int) -> None:
        self.done[task] = done
        self.report(Progress(STAGE, sum(self.done.values()), self._total, f"{task} {done}/{self._episodes}"))


def _here(suite: Suite, tasks: Sequence[Task], settings: DemonstrationSettings, progress: _Tally, limit: float) -> None:
    """Makes one task after another in this process."""
    watch = Watch()
    try:
        for task in tasks:

            def late(_: int, name: str = task.name) -> None:
                where = f"{suite.name} task {name!r}, after {progress.done[name]} demonstrations"
                tell(
                    progress.report,
                    f"{where}: no step for {limit:g} s; it runs in this process, so only Ctrl-C ends it: with 1 worker "
                    "and more it would be ended and begun once more by itself",
                )

            with watch.over(limit, late):
                make_store(suite, task, settings, lambda count, name=task.name: progress.tell(name, count))
    finally:
        watch.close()


def _in_processes(
    suite: Suite, tasks: Sequence[Task], settings: DemonstrationSettings, progress: _Tally, limit: float, count: int
) -> None:
    """Hands the tasks to `count` processes, one at a time, and waits for all."""
    waiting = deque(tasks)
    attempts = dict.fromkeys(tasks, 0)
    making: dict[WorkerProcess, Task] = {}
    # Leaving the pool closes the lines: a process then ends at its next episode, and tidies up.
    with WorkerPool(lambda: WorkerProcess("skilltokens-demonstrations", _serve, suite, settings), count) as pool:
        while waiting or making:
            while waiting and (worker := pool.take()) is not None:
                task = making[worker] = waiting.popleft()
                attempts[task] += 1
                with contextlib.suppress(WorkerDied):  # the wait below finds out
                    worker.send(task, limit)
            for worker in ready(list(making)):
                task = making[worker]
                try:
                    news = worker.receive()
                except WorkerDied as death:
                    del making[worker]
                    code = pool.discard(worker)
                    if attempts[task] >= ATTEMPTS:
                        raise SuiteError(_sentence(suite, task, progress.done[task.name], death, code)) from death
                    waiting.appendleft(task)
                    continue
                if news is None:
                    del making[worker]
                    pool.give(worker)
                else:
                    progress.tell(task.name, news)


def _sentence(suite: Suite, task: Task, done: int, death: WorkerDied, code: int | None) -> str:
    """What the user reads of a process that died or hung twice."""
    process = f"the process that made demonstrations of {suite.name} task {task.name!r}"
    if isinstance(death, WorkerHung):
        return (
            f"{process} hung after {done} of them when tried once more ({death}): raise step_limit if the simulator is "
            f"only slow, {RESET} times as much is allowed"
        )
    return f"{process} died twice (exit code {code}): look for a crash of the simulator or too little memory"


def _serve(line: Line, suite: Suite, settings: DemonstrationSettings) -> None:
    """A process: makes the tasks that come; sends numbers of episodes, None at a task's end, or what went wrong."""
    while True:
        task = line.receive()
        try:
            with heard_by(line.sign):
                make_store(suite, task, settings, line.send)
            line.send(None)
        except SkilltokensError as problem:
            line.send(problem)
