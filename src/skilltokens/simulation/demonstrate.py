"""Demonstrations of a suite's tasks: what is there is used, what is missing is made, several tasks at a time.

One task is one store at FOLDER/SUITE/TASK, made in one process, so a store does not depend on how many processes
there are. A process writes its store atomically; Ctrl-C or a crash leaves whole stores only, and the same call
goes on from there.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import connection
from pathlib import Path
from pickle import PicklingError
from typing import Any

from skilltokens.configuration import check_settings
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.children import child_conditions, leave_with_parent
from skilltokens.simulation.drawing import DRAWN_FROM, drawn, parts_of, states_of
from skilltokens.simulation.memory import fitting
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
SCRIPTED = "scripted"
ATTEMPTS = 2
"""A task whose process died is made once more, then reported."""
PATIENCE = 5.0
"""Seconds that a process gets to tidy up before it is killed."""


def demonstrations(
    suite: Suite,
    tasks: Sequence[Task],
    settings: DemonstrationSettings,
    report: Report = silent,
    workers: int | None = None,
) -> list[DemonstrationStore]:
    """One store for each of `tasks`, in their order; a task that comes twice gives the same store twice.

    A suite may bring demonstrations of its own: it is asked by its method `store(task)`, if it has one, and what that
    returns is taken as it is. Otherwise a store in the folder is used if it was made with the same settings and
    versions, or if its source is not a script; what is missing is made by `suite.demonstrate`.

    A suite whose observations take long to compute (pictures) may name another one with the same episodes as its
    attribute `states`. Then the demonstrations of that one are made first, and `suite.draw(task, store, index)` says
    what its own observations are in each of them.

    Args:
        report: told of every episode; `done` and `total` count the episodes of all tasks that are missing.
        workers: processes; as many as there are cores and missing tasks where left out, 0 for this process. Where
            memory is too small for them fewer are used, and `report` is told so.

    Raises:
        SettingError: impossible settings.
        DemonstrationError: a store in the folder is damaged or was made in another way (nothing is overwritten),
            or the folder cannot be written.
        SuiteError: the simulator is missing or failed, or a process died twice.
    """
    check_settings(settings, "demonstrations")
    found = {task: _own(suite, task) or _existing(suite, task, settings) for task in dict.fromkeys(tasks)}
    missing = [task for task, store in found.items() if store is None]
    if missing:
        states = states_of(suite)
        if states is not None:
            demonstrations(states, missing, settings, report, workers)
        if workers is None:
            workers = min(len(missing), os.cpu_count() or 1)
        workers = fitting(workers, suite, report)
        progress = _Tally(missing, settings.episodes, report)
        if workers > 1:
            _in_processes(suite, missing, settings, progress, workers)
        else:
            for task in missing:
                make(suite, task, settings, lambda done, name=task.name: progress.tell(name, done))
    return [found[task] or DemonstrationStore.open(place(suite, task, settings)) for task in tasks]


def place(suite: Suite, task: Task, settings: DemonstrationSettings) -> Path:
    """Where the store of `task` is kept: FOLDER/SUITE/TASK."""
    return Path(settings.folder).expanduser() / suite.name / task.name


def make(
    suite: Suite, task: Task, settings: DemonstrationSettings, told: Callable[[int], None] = lambda _: None
) -> DemonstrationStore:
    """Makes one store in this process, in place of what was there. `told` hears how many episodes are done.

    Raises:
        DemonstrationError: the suite's episodes break a rule of the store, or the folder cannot be written.
        SuiteError: the simulator is missing or failed, or it gave too few episodes.
    """
    path, states = place(suite, task, settings), states_of(suite)
    source, recipe, count, parts = SCRIPTED, _recipe(settings), settings.episodes, None
    if states is None:
        made = suite.demonstrate(task, settings.episodes, settings.seed, settings.noise)
    else:
        store = DemonstrationStore.open(place(states, task, settings))
        source, recipe, count = store.source, {**store.settings, DRAWN_FROM: store.digest}, store.episodes
        parts = parts_of(path, suite, store)
        made = drawn(suite, task, store, parts)
    episodes = _counted(suite, task, made, count, told)
    first = next(episodes)
    private = {
        name: Feature(array.shape[1:], str(array.dtype))
        for name, array in first.features.items()
        if name.startswith(SIMULATOR)
    }
    written = write_store(
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
    return written


def _counted(
    suite: Suite, task: Task, episodes: Iterator[Episode], needed: int, told: Callable[[int], None]
) -> Iterator[Episode]:
    """The episodes, as many as are needed; an error of the simulator's own must not be taken for one of writing."""
    done = 0
    try:
        for episode in episodes:
            yield episode
            done += 1
            told(done)
    except (SkilltokensError, _Abandoned):
        raise
    except Exception as problem:
        raise SuiteError(
            f"{suite.name} task {task.name!r}: the simulator failed after {done} demonstrations "
            f"({type(problem).__name__}: {problem})"
        ) from problem
    if done != needed:
        raise SuiteError(f"suite {suite.name!r} gave {done} demonstrations of {task.name!r} where {needed} are needed")


def _recipe(settings: DemonstrationSettings) -> dict[str, Any]:
    """The settings that decide what a store holds: all but where it is kept."""
    return {name: value for name, value in asdict(settings).items() if name != "folder"}


def store_of(suite: Suite, task: Task, settings: DemonstrationSettings) -> DemonstrationStore | None:
    """The store that a run would learn from, if one can be read: the suite's own, or that of the folder."""
    with contextlib.suppress(DemonstrationError):
        path = place(suite, task, settings)
        return _own(suite, task) or (DemonstrationStore.open(path) if path.exists() else None)
    return None


def _own(suite: Suite, task: Task) -> DemonstrationStore | None:
    """What a suite brings of its own."""
    ask: Callable[[Task], DemonstrationStore | None] = getattr(suite, "store", lambda _: None)
    return ask(task)


def _existing(suite: Suite, task: Task, settings: DemonstrationSettings) -> DemonstrationStore | None:
    """The store of `task` if there is one; it must be what would be made now."""
    path = place(suite, task, settings)
    if not path.exists():
        return None
    store = DemonstrationStore.open(path)
    wanted: dict[str, tuple[object, object]] = {
        "task": (store.task.name, task.name),
        "features": (store.features, dict(suite.features)),
    }
    if store.source == SCRIPTED:
        wanted["instruction"] = (store.task.instruction, task.instruction)
        wanted |= {name: (store.settings.get(name), value) for name, value in _recipe(settings).items()}
        wanted["versions"] = (store.versions, suite.versions())
    states = states_of(suite)
    if states is not None and DRAWN_FROM in store.settings and place(states, task, settings).exists():
        needed = DemonstrationStore.open(place(states, task, settings)).digest
        wanted[DRAWN_FROM] = (store.settings.get(DRAWN_FROM), needed)
    for name, (there, needed) in wanted.items():
        if there != needed:
            raise DemonstrationError(
                f"{path} has {name} {there} where {needed} is needed: choose another demonstrations.folder, or remove "
                "that store to have it made again"
            )
    return store


class _Tally:
    """Adds up what the tasks report."""

    def __init__(self, tasks: Sequence[Task], episodes: int, report: Report) -> None:
        self._done = dict.fromkeys((task.name for task in tasks), 0)
        self._total = len(tasks) * episodes
        self._episodes, self._report = episodes, report
        report(Progress(STAGE, 0, self._total))

    def tell(self, task: str, done: int) -> None:
        self._done[task] = done
        self._report(Progress(STAGE, sum(self._done.values()), self._total, f"{task} {done}/{self._episodes}"))


class _Abandoned(Exception):
    """The parent process is gone or wants no more."""


@dataclass(eq=False)
class _Worker:
    """A process that makes one task after another, and the line to it."""

    process: Any
    line: connection.Connection
    task: Task | None = None


def _in_processes(
    suite: Suite, tasks: Sequence[Task], settings: DemonstrationSettings, progress: _Tally, count: int
) -> None:
    """Hands the tasks to `count` processes, one at a time, and waits for all."""
    waiting = list(reversed(tasks))
    attempts = dict.fromkeys(tasks, 0)
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.task for worker in workers):
            while waiting and len(workers) < count:
                workers.append(_start(suite, settings))
            for worker in workers:
                if waiting and worker.task is None:
                    worker.task = waiting.pop()
                    attempts[worker.task] += 1
                    with contextlib.suppress(OSError):  # it died; the wait below finds out
                        worker.line.send(worker.task)
            for worker in _ready([worker for worker in workers if worker.task]):
                if not _listen(worker, progress):
                    workers.remove(worker)
                    task, code = worker.task, _end(worker)
                    assert task is not None
                    if attempts[task] >= ATTEMPTS:
                        raise SuiteError(
                            f"the process that made demonstrations of {suite.name} task {task.name!r} died twice "
                            f"(exit code {code}): look for a crash of the simulator or too little memory"
                        )
                    waiting.append(task)
    finally:
        for worker in workers:  # a closed line ends a process at its next episode, and it tidies up
            worker.line.close()
        for worker in workers:
            _end(worker)


def _start(suite: Suite, settings: DemonstrationSettings) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, suite, settings), name="skilltokens-demonstrations", daemon=True
    )
    try:
        with child_conditions():
            process.start()
    except (PicklingError, TypeError, AttributeError) as problem:
        ours.close()
        raise SuiteError(
            f"suite {suite.name!r} cannot be sent to other processes ({problem}): define its classes at the top of a "
            "module, or make the demonstrations with 0 workers"
        ) from problem
    finally:
        theirs.close()
    return _Worker(process, ours)


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Those with news or at their end; waits for one."""
    lines = {line: worker for worker in workers for line in (worker.line, worker.process.sentinel)}
    return list(dict.fromkeys(lines[line] for line in connection.wait(list(lines))))


def _listen(worker: _Worker, progress: _Tally) -> bool:
    """Takes one piece of news; False if the process has died."""
    assert worker.task is not None
    try:
        if not worker.line.poll() and not worker.process.is_alive():
            return False
        news = worker.line.recv()
    except (EOFError, OSError):
        return False
    if isinstance(news, SkilltokensError):
        raise news
    if news is None:
        worker.task = None
    else:
        progress.tell(worker.task.name, news)
    return True


def _end(worker: _Worker) -> int | None:
    worker.line.close()
    worker.process.join(PATIENCE)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    return worker.process.exitcode


def _serve(line: connection.Connection, suite: Suite, settings: DemonstrationSettings) -> None:
    """A process: makes the tasks that come; sends numbers of episodes, None at a task's end, or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the line
    leave_with_parent(PATIENCE)

    def told(done: int) -> None:
        try:
            line.send(done)
        except OSError as problem:
            raise _Abandoned from problem

    with contextlib.suppress(EOFError, OSError, _Abandoned):
        while True:
            task = line.recv()
            try:
                make(suite, task, settings, told)
                line.send(None)
            except SkilltokensError as problem:
                line.send(problem)
