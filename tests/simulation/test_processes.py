"""Worker processes by themselves: what they are given, how they are found dead, and how they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toy import Toy

from skilltokens.simulation import processes
from skilltokens.simulation.processes import Line, ParentGone, WorkerDied, WorkerPool, WorkerProcess, ready
from skilltokens.types import DemonstrationError, Suite, SuiteError


def serve(line: Line, suite: Suite, folder: str) -> None:
    """Does what it is asked; writes a file when its parent has gone."""
    with contextlib.suppress(ParentGone):
        while True:
            request = line.receive()
            if request == "raise":
                line.send(DemonstrationError("the store is full"))
            elif request == "exit":
                os._exit(3)
            elif request == "hang":
                line.send("hanging")
                time.sleep(600)
            elif request == "threads":
                line.send([os.environ.get(name) for name in processes._THREADS])
            else:
                line.send((suite.name, request))
    Path(folder, "tidied").touch()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool[WorkerProcess]]:
    with WorkerPool(lambda: start(tmp_path), 2) as workers:
        yield workers


def start(folder: Path) -> WorkerProcess:
    return WorkerProcess("test", serve, Toy(), str(folder))


def take(pool: WorkerPool[WorkerProcess]) -> WorkerProcess:
    worker = pool.take()
    assert worker is not None
    return worker


def answer(worker: WorkerProcess, request: object) -> object:
    worker.send(request)
    assert ready([worker]) == [worker]
    return worker.receive()


def test_a_process_answers_with_one_thread_and_the_parent_keeps_its_own(pool, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    worker = take(pool)
    assert answer(worker, 5) == ("toy", 5)
    assert answer(worker, "threads") == ["1", "1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_process_is_kept_and_no_more_are_lent_than_there_are(pool) -> None:
    first, second = take(pool), take(pool)
    assert pool.take() is None
    pool.give(first)
    assert pool.take() is first
    assert {child.name for child in multiprocessing.active_children()} == {"test"}
    for worker in (first, second):
        assert answer(worker, 1) == ("toy", 1)


def test_an_error_of_ours_is_raised_as_what_it_is_and_the_process_lives(pool) -> None:
    worker = take(pool)
    with pytest.raises(DemonstrationError, match="the store is full"):
        answer(worker, "raise")
    assert answer(worker, 2) == ("toy", 2)


def test_a_death_is_told_in_words(pool) -> None:
    worker = take(pool)
    with pytest.raises(WorkerDied, match="exit code 3, before its first answer"):
        answer(worker, "exit")
    assert pool.discard(worker) == 3
    worker = take(pool)
    answer(worker, 1)
    with pytest.raises(WorkerDied, match=r"^exit code 3$"):
        answer(worker, "exit")


def test_an_idle_process_tidies_up_and_one_that_hangs_is_killed(tmp_path: Path, monkeypatch) -> None:
    idle = start(tmp_path)
    answer(idle, 1)
    assert idle.close() == 0
    assert (tmp_path / "tidied").exists()
    monkeypatch.setattr(processes, "PATIENCE", 0.1)
    hanging = start(tmp_path)
    assert answer(hanging, "hang") == "hanging"
    assert hanging.close() == -signal.SIGKILL


def test_a_process_that_cannot_be_started_is_reported(pool, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", refuse)
    with pytest.raises(SuiteError, match=r"could not be started \(Resource .*\): use fewer workers"):
        pool.take()
    assert not multiprocessing.active_children()
