"""Environments that are learned in side by side: one that hangs or ends is told, and none is left behind."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.hanging import all_gone, hung, suite_that, wait_until

from skilltokens.behaviour.agents import MlpAgent
from skilltokens.behaviour.environments import SuiteEnvironment, challenge
from skilltokens.behaviour.parallel import Limit
from skilltokens.behaviour.ppo import ppo
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.types import STATE, SuiteError

ROOT = Path(__file__).parents[2]
SETTINGS = PpoSettings(envs=2, rollout=8, batch=8, epochs=1, hidden=(8,), critic_hidden=(8,), workers=True)


def learn(
    folder: Path, how: str, times: int, settings: PpoSettings = SETTINGS, limit: float = 1.0
) -> list[torch.Tensor]:
    """What is learned in 32 steps; a part of 16 is yielded on the way."""
    suite = suite_that(how, folder, times)
    make = functools.partial(SuiteEnvironment, suite, suite.tasks[0], 20)
    agent = MlpAgent({STATE: 2}, 1, settings, torch.Generator().manual_seed(0))
    stops = ppo(agent, make, settings, [16, 32], 0, limit=Limit(limit, "rail/mark"))
    assert len(list(stops)) == 2
    return [value.detach().clone() for value in agent.state_dict().values()]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sleeps", "holds"])
def test_an_environment_that_hangs_is_one_sentence_and_its_processes_end(how: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as raised:
        learn(tmp_path / "hangs", how, 2)
    assert str(raised.value) == (
        "rail/mark: the process of an environment hung: no answer for 5 s (raise adapt.step_limit if it is only "
        "slow); the same command resumes from what was saved last"
    )
    assert len(hung(tmp_path / "hangs")) == 2
    assert all_gone(tmp_path / "hangs")


@pytest.mark.slow
def test_a_limit_and_processes_change_no_number(tmp_path: Path) -> None:
    here = learn(tmp_path / "hangs", "sleeps", 0, replace(SETTINGS, workers=False), limit=0.0)
    assert all(map(torch.equal, here, learn(tmp_path / "hangs", "sleeps", 0, limit=60.0)))


@pytest.mark.parametrize("processes", [False, True])
def test_what_an_environment_raises_is_told_in_its_own_words(processes: bool) -> None:
    """In a process of its own as in this one; and none of its processes is left."""
    task = challenge("tests.strange:Fault-step-v0", horizon=20)
    agent = MlpAgent({STATE: 4}, 2, SETTINGS, torch.Generator().manual_seed(0))
    settings = replace(SETTINGS, workers=processes)
    with pytest.raises(
        SuiteError, match=r"in step 4 after reset\(.*raised ValueError: the gripper is gone \(strange.py"
    ):
        list(ppo(agent, task.make, settings, [32], 0, limit=Limit(60.0, task.name)))


LEARNS = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.behaviour.test_parallel import SETTINGS, learn
if __name__ == "__main__":
    learn(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), replace(SETTINGS, workers=sys.argv[3] == "2"), 0.1)
"""


def start(tmp_path: Path, how: str, hangs: int) -> subprocess.Popen[str]:
    (tmp_path / "script.py").write_text(LEARNS.replace("0.1", "0.0" if hangs == 2 else "0.1"))
    (tmp_path / "hangs").mkdir()
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "hangs"), how, str(hangs)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    parent = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: len(hung(tmp_path / "hangs")) == hangs or parent.poll() is not None)
    assert parent.poll() is None, parent.communicate()[1]
    return parent


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sleeps", "holds"])
def test_environments_that_hang_end_with_a_parent_that_is_killed(how: str, tmp_path: Path) -> None:
    parent = start(tmp_path, how, 2)
    parent.kill()
    parent.communicate()
    assert all_gone(tmp_path / "hangs")


@pytest.mark.slow
def test_a_hang_in_this_process_is_told_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    parent = start(tmp_path, "sleeps", 1)
    assert parent.stderr is not None
    line = parent.stderr.readline()
    assert line.startswith("skilltokens: rail/mark: no answer of an environment for 0.5 s")
    parent.send_signal(signal.SIGINT)
    assert parent.communicate(timeout=60)[1].rstrip().endswith("KeyboardInterrupt")
    for _, child in hung(tmp_path / "hangs"):
        os.kill(child, signal.SIGKILL)
