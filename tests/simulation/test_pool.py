"""Simulators in processes of their own: broken ones, workers that die, and what outlives a parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.faults import Faulty
from tests.toy import TASKS, Still, Table, Toy, ToyExpert

from skilltokens.simulation.rollout import Pool, evaluate
from skilltokens.types import Array, Observation, Progress, SkilltokensError, SuiteError, Task

SUITE, TASK = Toy(), TASKS[0]
EXPERT = ToyExpert(TASK)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reset raises", "faulty task 'reach-red', episode 3 of split 'test': .*ValueError: the table has three legs"),
        ("step raises", "faulty task 'reach-red', episode 3 of split 'test': .*ValueError: the table has three legs"),
        ("nan", "episode 3 .*'observation.state' is not finite"),
        ("wrong shape", r"episode 3 .*'observation.state' has shape \(3,\) where the suite declares \(2,\)"),
        ("words", "episode 3 .*'observation.state' is <U1 where the suite declares float32"),
        ("missing", "episode 3 .*the observation lacks 'observation.state'"),
        ("not installed", "the simulator is not installed: pip install it"),
    ],
)
def test_a_broken_simulator_is_reported_in_its_own_words(fault: str, message: str, workers: int) -> None:
    suite = Faulty(fault=fault)
    with Pool(suite, workers) as pool:
        for _ in range(2):  # the pool goes on to work, and no stale reply is taken for a new one
            with pytest.raises(SuiteError, match=message):
                evaluate(EXPERT, suite, TASK, "test", range(9), group=3, pool=pool)
        if fault != "not installed":
            healthy = evaluate(EXPERT, SUITE, TASK, "test", [0, 6, 7], group=3)
            assert evaluate(EXPERT, suite, TASK, "test", [0, 6, 7], group=3, pool=pool) == healthy


def test_an_error_of_the_policy_leaves_no_stale_reply_in_the_pool() -> None:
    expected = evaluate(EXPERT, SUITE, TASK, "test", range(8), group=2)
    with Pool(SUITE, 2) as pool:
        with pytest.raises(SkilltokensError):
            evaluate(Still(np.inf, after=1), SUITE, TASK, "test", range(8), group=2, pool=pool)
        assert evaluate(EXPERT, SUITE, TASK, "test", range(8), group=2, pool=pool) == expected


def test_a_simulator_that_will_not_close_does_not_hide_what_went_wrong_before() -> None:
    suite = Faulty(fault="close raises")
    with pytest.raises(SkilltokensError, match="not finite"), Pool(suite) as pool:
        evaluate(Still(np.nan), suite, TASK, "test", [0], pool=pool)
    with Pool(suite, 1) as pool:
        evaluate(EXPERT, suite, TASK, "test", [0], pool=pool)
        with pytest.raises(SuiteError, match="would not close"):
            evaluate(ToyExpert(TASKS[1]), suite, TASKS[1], "test", [0], pool=pool)


class Hesitant(ToyExpert):
    """Pushes harder from step to step, so that its memory matters."""

    def act(self, observation: Observation, memory: list[int]) -> Array:
        return super().act(observation, memory) * min(1.0, 0.2 * memory[0])


def test_episodes_of_a_worker_that_dies_once_are_run_again_from_their_start(tmp_path: Path) -> None:
    actor = Hesitant(TASK)
    healthy = evaluate(actor, SUITE, TASK, "test", range(9), group=3)
    suite = Faulty(fault="exits once", folder=str(tmp_path), at=healthy[3].steps)
    assert healthy[3].steps > min(healthy[4].steps, healthy[5].steps), "one has ended before the worker dies"
    news: list[Progress] = []
    with Pool(suite, 2) as pool:
        assert evaluate(actor, suite, TASK, "test", range(9), group=3, pool=pool, report=news.append) == healthy
    assert len(list(tmp_path.iterdir())) == 2
    assert [one.note for one in news if "exit code 7" in one.note]
    assert news[-1].done == news[-1].total == 9


@pytest.mark.parametrize(
    ("fault", "how"), [("exits always", "exit code 7"), ("killed always", "exit code -9, SIGKILL")]
)
def test_a_worker_that_always_dies_is_reported(fault: str, how: str, tmp_path: Path) -> None:
    suite = Faulty(fault=fault, folder=str(tmp_path))
    message = (
        rf"faulty task 'reach-red', episodes 3, 4, 5 of split 'test': the simulator process died 2 times \({how}\)"
    )
    with Pool(suite, 2) as pool:
        with pytest.raises(SuiteError, match=message):
            evaluate(EXPERT, suite, TASK, "test", range(9), group=3, pool=pool)
        assert len(list(tmp_path.iterdir())) == 2
        assert len(evaluate(EXPERT, suite, TASK, "test", [0, 6], group=3, pool=pool)) == 2


def test_a_worker_that_dies_while_idle_is_replaced() -> None:
    with Pool(SUITE, 1) as pool:
        before = evaluate(EXPERT, SUITE, TASK, "test", range(3), pool=pool)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        assert evaluate(EXPERT, SUITE, TASK, "test", range(3), pool=pool) == before


def test_a_worker_ignores_ctrl_c_which_is_for_its_parent() -> None:
    with Pool(SUITE, 1) as pool:
        evaluate(EXPERT, SUITE, TASK, "test", range(3), pool=pool)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid or 0, signal.SIGINT)
        evaluate(EXPERT, SUITE, TASK, "test", range(3), pool=pool)
        assert multiprocessing.active_children() == [worker]


def test_environments_are_kept_within_a_task_and_closed_with_it() -> None:
    tables: list[Table] = []

    class Counting(Toy):
        def make(self, task: Task) -> Table:
            tables.append(super().make(task))
            return tables[-1]

    suite = Counting()
    with Pool(suite) as pool:
        evaluate(EXPERT, suite, TASK, "test", range(8), group=4, pool=pool)
        evaluate(EXPERT, suite, TASK, "validation", range(3), group=4, pool=pool)
        assert len(tables) == 4
        evaluate(ToyExpert(TASKS[1]), suite, TASKS[1], "test", range(3), group=4, pool=pool)
        assert [table.closed for table in tables] == [True] * 4 + [False] * 3
    assert all(table.closed for table in tables)


def test_a_suite_that_cannot_be_sent_to_a_worker_is_reported() -> None:
    class Local(Toy):
        pass

    with Pool(Local(), 1) as pool, pytest.raises(SuiteError, match="cannot be sent to worker processes"):
        evaluate(EXPERT, Local(), TASK, "test", [0], pool=pool)


LONG = """
import multiprocessing, sys
from skilltokens.simulation.rollout import Pool, evaluate
from tests.faults import Faulty
from tests.toy import TASKS, Still

class Telling(Still):
    acts = 0
    def act(self, observation, memory):
        Telling.acts += 1
        if Telling.acts == 9:
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        return super().act(observation, memory)

if __name__ == "__main__":
    suite = Faulty(fault="slow", horizon=10**6)
    with Pool(suite, 2) as pool:
        evaluate(Telling(), suite, TASKS[0], "test", range(4), group=2, pool=pool)
"""


def start_long_evaluation(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    script = folder / "long.py"
    script.write_text(LONG)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2, parent.communicate()[1]
    return parent, workers


def gone(pid: int) -> bool:
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent, workers = start_long_evaluation(tmp_path)
    parent.kill()
    _, errors = parent.communicate()
    assert all(gone(pid) for pid in workers)
    assert errors == ""


def test_ctrl_c_ends_the_evaluation_and_its_workers_quietly(tmp_path: Path) -> None:
    parent, workers = start_long_evaluation(tmp_path)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to all processes at once
    _, errors = parent.communicate(timeout=60)
    assert all(gone(pid) for pid in workers)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
