"""Bodies with tasks in them: rewards, success, and what the simulator was changed in."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from skilltokens.behaviour.environments import challenge
from skilltokens.suites import load_suite, task_of
from skilltokens.suites.bodies import BODIES, body_suite, make_body
from skilltokens.suites.bodies.body import COMMAND
from skilltokens.suites.bodies.tasks import Jump, Reach, Strike, tasks_of
from skilltokens.suites.conformance import check_suite
from skilltokens.types import ENVIRONMENT_STATE, GOAL, STATE, SettingError

EVERY = [(body.name, task) for body in BODIES.values() for task in tasks_of(body)]


def still(env) -> np.ndarray:
    return np.zeros(env.action_space.shape)


@pytest.mark.parametrize("name", ["halfcheetah", "ant"])
def test_an_episode_is_a_pure_function_of_its_number(name: str):
    check_suite(body_suite(name))


@pytest.mark.parametrize(("name", "task"), EVERY)
def test_every_task_runs_and_shows_what_it_declares(name: str, task: str):
    env = make_body(name, task, command=True)
    observation, _ = env.reset(seed=1)
    for _ in range(5):
        for feature, space in env.observation_space.spaces.items():  # pyright: ignore[reportAttributeAccessIssue]
            assert observation[feature].shape == space.shape
            assert np.isfinite(observation[feature]).all()
        observation, reward, _, _, info = env.step(env.action_space.sample())
        assert np.isfinite(reward)
        assert isinstance(info["is_success"], bool)
    goals = [goal for goal in observation if goal.startswith(GOAL) and observation[goal][0] == 1]
    assert goals == [COMMAND]
    env.close()


@pytest.mark.parametrize("name", ["halfcheetah", "ant"])
def test_the_body_weighs_what_it_weighs_without_the_tasks_things(name: str):
    alone, beside = make_body(name, "direction"), make_body(name, "strike")
    for body in range(1, alone.model.nbody):
        here = alone.model.body(body)
        assert beside.model.body(here.name or body).mass == pytest.approx(here.mass)
    assert beside.model.body("post").mass == pytest.approx(Strike.MASS)


def test_the_post_stands_by_itself_and_counts_when_it_lies():
    env = make_body("halfcheetah", "strike")
    env.reset(seed=0)
    for _ in range(60):
        info = env.step(still(env))[-1]
        assert not info["is_success"]
    env.data.joint("post_tilt").qpos[0] = 1.5
    assert env.step(still(env))[-1]["is_success"]


def test_a_place_is_reached_after_a_second_at_it_and_not_before():
    env = make_body("halfcheetah", "reach")
    env.reset(seed=0)
    assert isinstance(env.task, Reach)
    for _ in range(30):  # it lands and lies still
        env.step(still(env))
    env.task.goal = env.now.place
    flags = [env.step(still(env))[-1]["is_success"] for _ in range(25)]
    assert flags.index(True) == 19
    env.task.goal = env.now.place + 0.5
    assert not env.step(still(env))[-1]["is_success"]


def test_a_long_jump_is_measured_from_the_last_contact():
    env = make_body("halfcheetah", "jump")
    env.reset(seed=0)
    task = env.task
    assert isinstance(task, Jump)
    for _ in range(20):
        env.step(still(env))
    assert task.flight.length == 0
    env.data.qpos[1] += 1.5  # thrown into the air, forwards
    env.data.qvel[0], env.data.qvel[1] = 4.0, 3.0
    flags = [env.step(still(env))[-1]["is_success"] for _ in range(16)]
    assert any(flags)
    assert not flags[0]


def test_the_reward_of_a_direction_is_best_at_the_target_speed():
    env = make_body("halfcheetah", "direction")
    env.reset(seed=3)
    target = env.task.target[0]  # pyright: ignore[reportAttributeAccessIssue]

    def reward(speed: float) -> float:
        env.set_state(env.data.qpos, np.append(speed, env.data.qvel[1:]))
        env.task.after(env)
        return env.task.reward(env)

    assert reward(target) == pytest.approx(1.0)
    assert reward(target * 0.8) < reward(target * 0.9) < reward(target)
    assert reward(-target) < 0.01


def test_a_free_body_goes_at_a_velocity_on_the_average_of_its_strides_and_nearly_along_the_way():
    env = make_body("ant", "direction")
    env.reset(seed=3)
    task: Any = env.task
    across = np.array([-task.target[1], task.target[0]])

    def after(seconds: float, *velocities: np.ndarray) -> tuple[float, bool]:
        for step in range(round(seconds / env.dt)):
            qvel = env.data.qvel.copy()
            qvel[:2] = velocities[step % len(velocities)]
            env.set_state(env.data.qpos, qvel)
            task.after(env)
        return task.reward(env), task.success(env)

    assert after(2.0, task.target) == (pytest.approx(1.0), True)
    assert after(2.0, 2 * task.target, 0 * task.target) == (pytest.approx(1.0), True)  # swinging about it
    good, success = after(2.0, task.target + 0.4 * across)
    bad, failure = after(2.0, task.target + 0.6 * across)
    assert success
    assert not failure
    assert bad < good < 0.9
    assert not after(2.0, 0.75 * task.target)[1]


def test_gravity_and_friction_are_factors():
    plain, changed = make_body("walker2d", "reach"), make_body("walker2d", "reach", gravity=1.5, friction=0.4)
    assert changed.model.opt.gravity[2] == pytest.approx(1.5 * plain.model.opt.gravity[2])
    np.testing.assert_allclose(changed.model.geom_friction[:, 0], 0.4 * plain.model.geom_friction[:, 0])


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("halfcheetah", "HalfCheetah-v5"), ("walker2d", "Walker2d-v5"), ("ant", "Ant-v5"), ("humanoid", "Humanoid-v5")],
)
def test_an_episode_begins_where_the_bodys_own_model_stands(name: str, theirs: str):
    env, known = make_body(name, "direction"), gymnasium.make(theirs)
    start: Any = known.unwrapped
    np.testing.assert_array_equal(env.init_qpos[: start.model.nq], start.init_qpos)
    env.reset(seed=0)
    np.testing.assert_allclose(env.data.body("torso").xpos, start.model.body("torso").pos, atol=0.05)
    assert not any(env.step(still(env))[2] for _ in range(5))


def test_a_body_that_falls_ends_its_episode_without_success():
    env = make_body("walker2d", "reach")
    env.reset(seed=0)
    over = [env.step(still(env)) for _ in range(200)]
    fallen = next(i for i, step in enumerate(over) if step[2])
    assert over[fallen][4] == {"is_success": False, "fallen": True}


def test_goals_are_seen_only_where_a_command_is_given():
    assert set(body_suite("halfcheetah").features) == {STATE, ENVIRONMENT_STATE, "action"}
    commanded = body_suite("halfcheetah", command=True)
    assert set(commanded.features) == {STATE, ENVIRONMENT_STATE, COMMAND, "action"}
    fixed = make_body("halfcheetah", "reach", command={COMMAND: np.array([1.0, 2.0], np.float32)})
    observation: Any = fixed.reset(seed=0)[0]
    assert observation[COMMAND].tolist() == [1.0, 2.0]


def test_gymnasium_knows_the_tasks_by_their_ids():
    env = gymnasium.make("skilltokens.suites.bodies:skilltokens/HalfCheetah-Reach-v0")
    assert env.spec is not None
    assert env.spec.max_episode_steps == 160
    steering = challenge("skilltokens.suites.bodies:skilltokens/Ant-Steering-v0", "turn")
    assert steering.task.instruction == "turn"


def test_tasks_that_make_no_sense_for_a_body_are_not_there():
    assert "steering" not in [task.name for task in load_suite("halfcheetah").tasks]
    with pytest.raises(SettingError, match="no task 'steering'"):
        task_of(load_suite("halfcheetah"), "steering")
