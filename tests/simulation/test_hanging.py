"""A simulator that hangs, in Python or in C: ended, tried once more, told in a sentence, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hanging import Drive, all_gone, hung, suite_that, wait_until

from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.simulation.rollout import Pool, evaluate
from skilltokens.types import Outcome, Progress, SettingError, SuiteError

ROOT = Path(__file__).parents[2]
HOW = pytest.mark.parametrize("how", ["sleeps", "holds"])


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    suite = suite_that("sleeps", tmp_path_factory.mktemp("healthy") / "hangs", times=0)
    return evaluate(Drive(), suite, suite.tasks[0], "test", range(4), group=2)


@HOW
def test_a_step_that_hangs_once_is_tried_again_and_changes_no_result(how: str, tmp_path: Path, healthy) -> None:
    suite, news = suite_that(how, tmp_path / "hangs"), list[Progress]()
    with Pool(suite, 2, limit=1.0) as pool:
        outcomes = evaluate(Drive(), suite, suite.tasks[0], "test", range(4), group=2, pool=pool, report=news.append)
        assert all_gone(tmp_path / "hangs"), "also what the simulator had started"
    assert outcomes == healthy
    assert len(hung(tmp_path / "hangs")) == 1
    (note,) = {one.note for one in news if "hung" in one.note}
    assert note == (
        "mark: a simulator process hung at step 4, no sign of life for 1 s, and was ended; its episodes are run again"
    )


@HOW
def test_a_step_that_always_hangs_is_one_sentence(how: str, tmp_path: Path) -> None:
    suite = suite_that(how, tmp_path / "hangs", times=9)
    with Pool(suite, 1, limit=1.0) as pool, pytest.raises(SuiteError) as told:
        evaluate(Drive(), suite, suite.tasks[0], "test", range(5, 7), group=10, pool=pool)
    assert str(told.value) == (
        "rail task 'mark', episodes 5, 6 of split 'test': the simulator process hung at step 4 when tried once more "
        "(no sign of life for 1 s): raise step_limit if it is only slow"
    )
    assert len(hung(tmp_path / "hangs")) == 2
    assert all_gone(tmp_path / "hangs")


def test_a_slow_group_does_not_hang_as_long_as_each_step_ends_in_time(tmp_path: Path) -> None:
    suite = suite_that("slow", tmp_path / "hangs")  # a request to five episodes takes 2 s
    with Pool(suite, 1, limit=1.5) as pool:
        outcomes = evaluate(Drive(), suite, suite.tasks[0], "test", range(5), group=5, pool=pool, horizon=2)
    assert [outcome.steps for outcome in outcomes] == [2] * 5


@pytest.mark.parametrize(("workers", "limit"), [(0, 0.0), (1, 0.0), (1, 1e9), (1, float("inf"))])
def test_results_do_not_depend_on_the_limit(workers: int, limit: float, tmp_path: Path, healthy) -> None:
    suite = suite_that("sleeps", tmp_path / "hangs", times=0)
    with Pool(suite, workers, limit=limit) as pool:
        assert evaluate(Drive(), suite, suite.tasks[0], "test", range(4), group=2, pool=pool) == healthy


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_an_impossible_limit_is_refused(limit: float, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="step_limit"):
        Pool(suite_that("sleeps", tmp_path / "hangs"), 1, limit=limit)


@HOW
def test_demonstrations_whose_simulator_hangs_once_are_the_same(how: str, tmp_path: Path) -> None:
    whole = suite_that("sleeps", tmp_path / "none", times=0)
    settings = DemonstrationSettings(episodes=3, folder=str(tmp_path / "whole"))
    (expected,) = demonstrations(whole, whole.tasks, settings, workers=0)
    suite = suite_that(how, tmp_path / "hangs")
    settings = DemonstrationSettings(episodes=3, folder=str(tmp_path / "demos"))
    (store,) = demonstrations(suite, suite.tasks, settings, workers=1, limit=0.3)
    assert store.digest == expected.digest
    assert len(hung(tmp_path / "hangs")) == 1
    assert all_gone(tmp_path / "hangs")


def test_demonstrations_whose_simulator_always_hangs_are_one_sentence(tmp_path: Path) -> None:
    suite = suite_that("holds", tmp_path / "hangs", times=9)
    settings = DemonstrationSettings(episodes=3, folder=str(tmp_path / "demos"))
    with pytest.raises(SuiteError) as told:
        demonstrations(suite, suite.tasks, settings, workers=1, limit=0.3)
    assert str(told.value) == (
        "the process that made demonstrations of rail task 'mark' hung after 0 of them when tried once more (no sign "
        "of life for 1.5 s): raise step_limit if the simulator is only slow, 5 times as much is allowed"
    )
    assert all_gone(tmp_path / "hangs")


EVALUATES = """
import sys
from pathlib import Path
from tests.hanging import Drive, suite_that
from skilltokens.simulation.rollout import Pool, evaluate
if __name__ == "__main__":
    suite = suite_that(sys.argv[1], Path(sys.argv[2]), times=2)
    with Pool(suite, int(sys.argv[3]), limit=float(sys.argv[4])) as pool:
        evaluate(Drive(), suite, suite.tasks[0], "test", range(4), group=2, pool=pool)
"""

DEMONSTRATES = """
import sys
from pathlib import Path
from tests.hanging import suite_that
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
if __name__ == "__main__":
    suite = suite_that(sys.argv[1], Path(sys.argv[2]), times=2)
    settings = DemonstrationSettings(folder=sys.argv[2] + "-demos")
    demonstrations(suite, suite.tasks, settings, workers=int(sys.argv[3]), limit=float(sys.argv[4]))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    """Starts a script whose simulator hangs in so many processes, and waits until it does."""
    parents: list[subprocess.Popen[str]] = []

    def started(script: str, how: str, workers: int, limit: float, hangs: int) -> subprocess.Popen[str]:
        (tmp_path / "script.py").write_text(script)
        (tmp_path / "hangs").mkdir()
        words = [sys.executable, str(tmp_path / "script.py"), how, str(tmp_path / "hangs"), str(workers), str(limit)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        parent = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
        parents.append(parent)
        assert wait_until(lambda: len(hung(tmp_path / "hangs")) == hangs or parent.poll() is not None)
        assert parent.poll() is None, parent.communicate()[1]
        return parent

    yield started
    for parent in parents:
        parent.kill()
        parent.communicate()
    for _, child in hung(tmp_path / "hangs"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@HOW
@pytest.mark.parametrize(("script", "workers"), [(EVALUATES, 2), (DEMONSTRATES, 1)])
def test_workers_that_hang_end_with_a_parent_that_is_killed(start, how: str, script: str, workers: int, tmp_path: Path):
    parent = start(script, how, workers, 0.0, hangs=workers)
    parent.kill()
    parent.wait()
    assert all_gone(tmp_path / "hangs")


@pytest.mark.parametrize(
    ("script", "where"),
    [
        (EVALUATES, "rail task 'mark', episode 0 of split 'test', step 4: no answer for 0.5 s"),
        (DEMONSTRATES, "rail task 'mark', after 0 demonstrations: no step for 2.5 s"),
    ],
)
def test_a_hang_in_this_process_is_told_and_ends_by_ctrl_c(start, script: str, where: str):
    parent = start(script, "sleeps", 0, 0.5, hangs=1)
    line = parent.stderr.readline()
    assert line.startswith(f"skilltokens: {where}")
    assert "Ctrl-C" in line
    parent.send_signal(signal.SIGINT)
    _, rest = parent.communicate(timeout=60)
    assert rest.rstrip().endswith("KeyboardInterrupt")
