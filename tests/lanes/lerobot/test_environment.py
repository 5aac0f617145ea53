"""skilltokens' suites as LeRobot's environments, and libraries evaluated in them by LeRobot's own loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from lerobot.envs import (
    close_envs,
    env_to_policy_features,
    make_env,
    make_env_pre_post_processors,
    preprocess_observation,
)
from lerobot.policies import make_pre_post_processors
from lerobot.scripts.lerobot_eval import eval_policy_all
from tests.pictured import TOP
from tests.toy import TASKS, Toy, ToyExpert

from lerobot_policy_skilltokens.env_skilltokens import SkilltokensEnvConfig, SuiteEnvironment
from lerobot_policy_skilltokens.modeling_skilltokens import SkilltokensPolicy
from skilltokens.simulation.rollout import evaluate
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite, task_of
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, SettingError, Suite, SuiteError

TOY, PICTURED = "tests.toy:Toy", "tests.pictured:Pictured"


def limited() -> Toy:
    """The toy robot with five episodes of every split."""
    toy = Toy()
    toy.episodes = lambda split: 5  # pyright: ignore[reportAttributeAccessIssue]
    return toy


def lerobot_eval(folder: Path, *words: str) -> dict[str, Any]:
    """What `lerobot-eval` counted."""
    command = [str(Path(sys.executable).parent / "lerobot-eval"), f"--output_dir={folder}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "eval_info.json").read_text())


def successes(library: Path, suite: Suite, task: str, episodes: int, group: int) -> list[bool]:
    """What `skilltokens evaluate` counts."""
    actor = SkillLibrary.open(library).actor(task_of(suite, task).instruction)
    return [o.success for o in evaluate(actor, suite, task_of(suite, task), "test", range(episodes), group=group)]


def frames_of(film: Path) -> list[Array]:
    with av.open(str(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_seed_is_the_episode_whatever_ran_before():
    environment = SuiteEnvironment(TOY, TASKS[0].name, split="validation")
    environment.reset(seed=3)
    environment.step(np.zeros(2, np.float32))
    observed, info = environment.reset(seed=7)
    expected = Toy().make(TASKS[0]).reset("validation", 7)
    np.testing.assert_array_equal(observed["agent_pos"], expected[STATE])
    np.testing.assert_array_equal(observed["environment_state"], expected[ENVIRONMENT_STATE])
    assert info == {"is_success": False}


def test_without_seeds_rows_share_the_episodes_out():
    toy, seen = Toy().make(TASKS[0]), []
    for row in range(2):
        environment = SuiteEnvironment(TOY, TASKS[0].name, row=row, rows=2)
        seen += [environment.reset()[0]["agent_pos"] for _ in range(2)]
    for index, observed in zip((0, 2, 1, 3), seen, strict=True):
        np.testing.assert_array_equal(observed, toy.reset("test", index)[STATE])


def test_success_ends_an_episode_and_the_limit_cuts_it():
    environment = SuiteEnvironment(TOY, TASKS[0].name, horizon=3)
    environment.reset(seed=0)
    steps = [environment.step(np.zeros(2, np.float32))[1:] for _ in range(3)]
    assert [(reward, ended, cut) for reward, ended, cut, _ in steps] == [(0, False, False)] * 2 + [(0, False, True)]
    environment, expert = SuiteEnvironment(TOY, TASKS[0].name), ToyExpert(TASKS[0])
    observed, _ = environment.reset(seed=0)
    ended, steps = False, 0
    while not ended:
        named = {STATE: observed["agent_pos"][None], ENVIRONMENT_STATE: observed["environment_state"][None]}
        observed, reward, ended, cut, info = environment.step(expert.act(named, [0])[0])
        assert (reward, info["is_success"], cut) == (float(ended), ended, False)


def test_lerobot_makes_its_own_names_of_the_features():
    config = SkilltokensEnvConfig(suite=PICTURED, task=TASKS[0].name)
    features = env_to_policy_features(config)
    shapes = {name: feature.shape for name, feature in features.items()}
    assert shapes == {STATE: (2,), TOP: (3, 40, 40), "action": (2,)}
    (environment,) = make_env(config, n_envs=2)["pictured"].values()
    seen = preprocess_observation(environment.reset(seed=[0, 1])[0])
    assert seen.keys() == {STATE, TOP}
    picture = Toy.__subclasses__()[0]().make(TASKS[0]).reset("test", 1)[TOP]
    np.testing.assert_array_equal((seen[TOP][1] * 255).round().numpy().astype(np.uint8), picture.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"suite": "metawrld"}, "did you mean 'metaworld'"),
        ({"split": "tests"}, "--env.split=tests is unknown"),
        ({"context": "place"}, "--env.context=place is unknown"),
        ({"suite": TOY, "horizon": 99}, "allows 1 to 40"),
    ],
)
def test_settings_that_are_impossible_are_said(words: dict[str, Any], message: str):
    with pytest.raises(SettingError, match=message):
        SkilltokensEnvConfig(**words)


def test_unknown_tasks_and_episodes_that_are_not_there_are_said():
    with pytest.raises(SettingError, match="no task 'reach-rd'"):
        make_env(SkilltokensEnvConfig(suite=TOY, task="reach-red, reach-rd"))
    environment = SuiteEnvironment(f"{__name__}:limited", TASKS[0].name)
    environment.reset(seed=4)
    with pytest.raises(SettingError, match="5 different episodes"):
        environment.reset(seed=1000)


def test_a_picture_that_lerobot_has_no_name_for_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.pictured.TOP", "observation.top")
    with pytest.raises(SuiteError, match=r"observation\.images\.CAMERA"):
        SkilltokensEnvConfig(suite=PICTURED)


def counted(library: Path, envs: dict[str, dict[int, Any]], config: SkilltokensEnvConfig, episodes: int) -> list[Any]:
    """What LeRobot's own loop counts of each task: a flag for every episode."""
    policy = SkilltokensPolicy.from_pretrained(library)
    before, behind = make_pre_post_processors(policy.config, pretrained_path=str(library))
    around = make_env_pre_post_processors(config, policy.config)
    info = eval_policy_all(envs, policy, *around, before, behind, n_episodes=episodes, start_seed=0)
    close_envs(envs)
    return [task["metrics"]["successes"] for task in info["per_task"]]


def test_lerobot_counts_what_evaluate_counts(toy_library: Path):
    """Ten episodes of each task, six side by side: the last batch is filled up and cut."""
    config = SkilltokensEnvConfig(suite=TOY, task=f"{TASKS[0].name},{TASKS[1].name}")
    flags = counted(toy_library, make_env(config, n_envs=6), config, 10)
    assert flags == [successes(toy_library, Toy(), task.name, 10, group=6) for task in TASKS[:2]]
    assert len({flag for task in flags for flag in task}) == 2, "no difference could be seen"


def test_environments_in_processes_of_their_own_are_the_same():
    config = SkilltokensEnvConfig(suite="metaworld", task="window-close", horizon=3)
    beside, here = (make_env(config, n_envs=2, use_async_envs=flag) for flag in (True, False))
    seen = [envs["metaworld"][0].reset(seed=[4, 5])[0] for envs in (beside, here)]
    for name, values in seen[0].items():
        np.testing.assert_array_equal(values, seen[1][name])
    close_envs(beside)
    close_envs(here)


def test_a_library_acts_in_metaworld_and_is_filmed(arm_library: Path, tmp_path: Path):
    info = lerobot_eval(
        tmp_path / "out",
        f"--policy.path={arm_library}",
        "--env.type=skilltokens",
        "--env.task=window-close",
        "--env.horizon=150",
        "--eval.n_episodes=2",
        "--eval.batch_size=2",
        "--eval.use_async_envs=false",
        "--seed=0",
    )
    (task,) = info["per_task"]
    assert task["metrics"]["successes"] == successes(arm_library, load_suite("metaworld"), "window-close", 2, group=2)
    films = [Path(path) for path in task["metrics"]["video_paths"]]
    assert len(films) == 2
    for frames in map(frames_of, films):
        assert len(frames) > 10
        assert frames[0].shape == (160, 160, 3)
        moved = np.abs(frames[0].astype(int) - frames[-1].astype(int))
        assert moved.max() > 60, "the same picture again and again"
