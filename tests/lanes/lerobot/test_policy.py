"""A library as a LeRobot policy: each row of a batch calls its own skill and gets that skill's very actions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.envs import preprocess_observation
from lerobot.policies import make_pre_post_processors
from tests.pictured import TOP, Pictured
from tests.toy import TASKS, Toy

from lerobot_policy_skilltokens.modeling_skilltokens import SkilltokensPolicy
from lerobot_policy_skilltokens.readings import observation_of
from skilltokens.model.actor import PolicyActor
from skilltokens.model.ahead import Ahead
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    Array,
    Feature,
    NoSkillError,
    Observation,
    ObservationError,
    SettingError,
)

RED, BLUE = (task.instruction for task in TASKS[:2])


@pytest.fixture
def policy(toy_library: Path) -> SkilltokensPolicy:
    return SkilltokensPolicy.from_pretrained(toy_library)


def observations(steps: int, rows: int) -> list[dict[str, Array]]:
    """What some episodes of the toy robot look like; they stand still."""
    random = np.random.default_rng(0)
    shapes = {STATE: 2, ENVIRONMENT_STATE: 4}
    return [{n: random.uniform(-1, 1, (rows, k)).astype(np.float32) for n, k in shapes.items()} for _ in range(steps)]


def batch(observation: Observation, task: Any) -> dict[str, Any]:
    return {**{name: torch.from_numpy(values) for name, values in observation.items()}, "task": task}


def alone(library: SkillLibrary, skill: str, seen: list[dict[str, Array]]) -> list[Array]:
    """The actions of one skill's actor on these observations."""
    actor: PolicyActor = library.actor_of(skill)
    memory = actor.start(len(seen[0][STATE]))
    return [actor.act(observation, memory) for observation in seen]


def test_each_row_has_the_actions_of_its_own_skill(policy: SkilltokensPolicy):
    seen = observations(15, 4)
    sentences = [BLUE, RED, "reach the red marker", BLUE]
    actions = [policy.select_action(batch(observation, sentences)).numpy() for observation in seen]
    red, blue = (alone(policy.library, task.name, seen) for task in TASKS[:2])
    for step, action in enumerate(actions):
        np.testing.assert_array_equal(action[[1, 2]], red[step][[1, 2]])
        np.testing.assert_array_equal(action[[0, 3]], blue[step][[0, 3]])
    assert not np.array_equal(red[0], blue[0])


def test_a_reset_begins_new_episodes(policy: SkilltokensPolicy):
    seen = observations(3, 2)
    first = [policy.select_action(batch(observation, [RED, RED])) for observation in seen]
    assert not torch.equal(policy.select_action(batch(seen[0], [RED, RED])), first[0])  # the memory counts
    policy.reset()
    again = [policy.select_action(batch(observation, [RED, RED])) for observation in seen]
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def test_a_row_whose_instruction_changes_begins_anew_and_the_others_do_not(policy: SkilltokensPolicy):
    seen = observations(6, 3)
    for observation in seen[:3]:
        policy.select_action(batch(observation, [RED, RED, RED]))
    actions = [policy.select_action(batch(observation, [RED, BLUE, RED])).numpy() for observation in seen[3:]]
    red, blue = alone(policy.library, TASKS[0].name, seen)[3:], alone(policy.library, TASKS[1].name, seen[3:])
    for step, action in enumerate(actions):
        np.testing.assert_array_equal(action[[0, 2]], red[step][[0, 2]])
        np.testing.assert_array_equal(action[1], blue[step][1])


def test_one_sentence_is_for_all_rows(policy: SkilltokensPolicy):
    (seen,) = observations(1, 3)
    said = policy.select_action(batch(seen, RED))
    policy.reset()
    assert torch.equal(said, policy.select_action(batch(seen, [RED] * 3)))


def test_an_instruction_that_calls_no_skill_is_said(policy: SkilltokensPolicy):
    (seen,) = observations(1, 2)
    with pytest.raises(NoSkillError, match="bake a cake"):
        policy.select_action(batch(seen, [RED, "bake a cake"]))
    policy.config.threshold = 0.0
    assert policy.select_action(batch(seen, [RED, "bake a cake"])).shape == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": None}, "no 'task'"),
        ({STATE: None}, "'observation.state'"),
        ({STATE: torch.zeros(2, 3)}, r"'observation.state' has shape \(2, 3\)"),
        ({STATE: torch.full((2, 2), torch.nan)}, "'observation.state'"),
        ({"task": [RED]}, "1 instructions and 2 of 'observation"),
    ],
)
def test_what_does_not_fit_is_one_sentence(policy: SkilltokensPolicy, change: dict[str, Any], message: str):
    (seen,) = observations(1, 2)
    changed = {name: value for name, value in {**batch(seen, [RED, RED]), **change}.items() if value is not None}
    with pytest.raises((SettingError, ObservationError), match=message):
        policy.select_action(changed)


def test_without_a_library_there_is_no_policy():
    with pytest.raises(SettingError, match=r"--policy\.path"):
        SkilltokensPolicy(PreTrainedConfig.get_choice_class("skilltokens")(device="cpu"))


def test_a_saved_policy_is_the_same_library(policy: SkilltokensPolicy, tmp_path: Path):
    policy.save_pretrained(tmp_path / "saved")
    again = SkilltokensPolicy.from_pretrained(tmp_path / "saved")
    assert again.library.fingerprints() == policy.library.fingerprints()
    policy.save_pretrained(policy.library.folder)  # onto itself: nothing is lost
    assert SkillLibrary.open(policy.library.folder).fingerprints() == again.library.fingerprints()


def test_training_is_answered_with_the_command_that_grows_a_library(tmp_path: Path):
    words = ["--dataset.repo_id=local/none", "--policy.type=skilltokens", f"--output_dir={tmp_path / 'out'}"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lerobot-train"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    *_, last = done.stderr.strip().splitlines()  # a sentence, and no traceback ends there
    assert last.startswith("lerobot-train does not train a skill library")
    assert "skilltokens learn LIBRARY STORE" in last


# ---------------------------------------------------------------- several actions for a look


def ahead(policy: SkilltokensPolicy, seen: list[dict[str, Array]], skill: str, n: int) -> list[Array]:
    """The actions of a skill that looks at every n-th observation."""
    actor = Ahead(policy.library.actor_of(skill), n)
    plan = actor.start(len(seen[0][STATE]))
    return [actor.act(observation, plan) for observation in seen]


def test_a_look_gives_several_actions(chunked_library: Path):
    policy = SkilltokensPolicy.from_pretrained(chunked_library)
    policy.config.n_action_steps = 3
    seen = observations(8, 2)
    assert policy.predict_action_chunk(batch(seen[0], [RED, BLUE])).shape == (2, 3, 2)
    policy.reset()
    actions = [policy.select_action(batch(observation, [RED, BLUE])).numpy() for observation in seen]
    red, blue = (ahead(policy, seen, task.name, 3) for task in TASKS[:2])
    for step, action in enumerate(actions):
        np.testing.assert_array_equal(action, np.stack([red[step][0], blue[step][1]]))


def test_a_new_instruction_is_heard_before_the_plan_is_done(chunked_library: Path):
    policy = SkilltokensPolicy.from_pretrained(chunked_library)
    policy.config.n_action_steps = 4
    seen = observations(3, 1)
    policy.select_action(batch(seen[0], RED))
    policy.select_action(batch(seen[1], RED))
    heard = policy.select_action(batch(seen[2], BLUE)).numpy()
    np.testing.assert_array_equal(heard, ahead(policy, seen[2:], TASKS[1].name, 4)[0])


def test_a_chunk_that_the_library_does_not_predict_is_refused(policy: SkilltokensPolicy):
    policy.config.n_action_steps = 3
    (seen,) = observations(1, 2)
    with pytest.raises(SettingError, match=r"policy\.chunk"):
        policy.select_action(batch(seen, RED))


# ---------------------------------------------------------------- pictures


BYTES = np.arange(3 * 32 * 40, dtype=np.uint16).astype(np.uint8).reshape(1, 32, 40, 3).repeat(2, 0)
"""Two pictures in which every value comes up."""


def read(values: torch.Tensor, dtype: str = "uint8") -> Array:
    return observation_of({TOP: values}, {TOP: Feature((32, 40, 3), dtype)})[TOP]


def test_every_byte_of_a_picture_comes_back():
    floats = preprocess_observation({"pixels": {"top": BYTES}})[TOP]  # pyright: ignore[reportArgumentType]
    assert floats.shape == (2, 3, 32, 40)
    np.testing.assert_array_equal(read(floats), BYTES)
    np.testing.assert_array_equal(read(torch.from_numpy(BYTES)), BYTES)


def test_a_value_between_two_bytes_becomes_the_nearer_one():
    between = read(torch.full((1, 3, 32, 40), 254.6 / 255))
    assert (between == 255).all()


def test_a_library_of_pictures_in_floats_gets_floats():
    floats = torch.from_numpy(BYTES / np.float32(255))
    np.testing.assert_array_equal(read(floats.permute(0, 3, 1, 2), "float32"), floats.numpy())
    np.testing.assert_array_equal(read(torch.from_numpy(BYTES), "float32"), floats.numpy())


@pytest.mark.parametrize("value", [-0.01, 1.5, 200.0, float("nan")])
def test_a_picture_in_other_units_is_refused(value: float):
    picture = torch.full((1, 3, 32, 40), 0.5)
    picture[0, 0, 0, 0] = value
    with pytest.raises(ObservationError, match="floats in 0 to 1"):
        read(picture)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ObservationError, match=r"32 x 40 pixels in 3 colours"):
        read(torch.zeros(1, 3, 40, 32))


def test_a_policy_sees_what_the_camera_saw(pictured_library: Path):
    policy = SkilltokensPolicy.from_pretrained(pictured_library)
    before, behind = make_pre_post_processors(policy.config, pretrained_path=str(pictured_library))
    table = Pictured().make(TASKS[0])
    raw = [table.reset("test", index) for index in range(3)]
    seen = {name: np.stack([one[name] for one in raw]) for name in raw[0]}
    sent = preprocess_observation({"agent_pos": seen[STATE], "pixels": {"top": seen[TOP]}})
    action = behind(policy.select_action(before({**sent, "task": [TASKS[0].instruction] * 3})))
    actor = policy.library.actor_of(TASKS[0].name)
    np.testing.assert_array_equal(action.numpy(), actor.act(seen, actor.start(3)))


def test_actions_have_the_library_s_width(policy: SkilltokensPolicy):
    (seen,) = observations(1, 2)
    assert policy.predict_action_chunk(batch(seen, RED)).shape == (2, 1, *Toy().features[ACTION].shape)
