"""Motion as numbers: nothing depends on where a body is or which way it faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from skilltokens.suites.bodies.body import AHEAD, COMMAND, HORIZONS, Body, body_of
from skilltokens.suites.bodies.moment import Moment
from skilltokens.types import GOAL, Array, SettingError

STEP = 0.05


def walk(body: Body, steps: int = 80, seed: int = 0) -> tuple[Array, Array]:
    """Smooth made-up motion: states (steps, nq) and (steps, nv) of a body with four joints."""
    generator = np.random.default_rng(seed)
    t = np.arange(steps)[:, None] * STEP
    joints = np.sin(t * generator.uniform(1, 3, 4) + generator.uniform(0, 6, 4)) * 0.5
    velocities = generator.standard_normal((steps, body.root[1] + 4))
    if body.planar:
        return np.concatenate([t * 1.5, 0.1 * np.sin(t), 0.3 * np.cos(t), joints], 1), velocities
    turn = Rotation.from_euler("ZYX", np.concatenate([0.8 * t, 0.2 * np.sin(t), 0.1 * np.cos(t)], 1))
    places = np.concatenate([np.cos(t) * 2, np.sin(t), 0.7 + 0.05 * np.sin(3 * t)], 1)
    return np.concatenate([places, turn.as_quat(scalar_first=True), joints], 1), velocities


def moved(body: Body, qpos: Array, qvel: Array, x: float, y: float, angle: float) -> tuple[Array, Array]:
    """The same motion elsewhere, and turned about the vertical."""
    qpos, qvel = qpos.copy(), qvel.copy()
    if body.planar:
        qpos[:, 0] += x
        return qpos, qvel
    turn = Rotation.from_euler("z", angle)
    qpos[:, :3] = turn.apply(qpos[:, :3]) + np.array([x, y, 0.0])
    qpos[:, 3:7] = (turn * Rotation.from_quat(qpos[:, 3:7], scalar_first=True)).as_quat(scalar_first=True)
    qvel[:, :3] = turn.apply(qvel[:, :3])
    return qpos, qvel


@pytest.mark.parametrize("name", ["halfcheetah", "ant"])
@settings(max_examples=30)
@given(x=st.floats(-50, 50), y=st.floats(-50, 50), angle=st.floats(-3.1, 3.1))
def test_state_and_goals_are_the_same_anywhere(name: str, x: float, y: float, angle: float):
    body = body_of(name)
    one, other = walk(body), moved(body, *walk(body), x, y, angle)
    np.testing.assert_allclose(body.state(*one), body.state(*other), atol=1e-5)
    first, second = body.goals(*one, STEP), body.goals(*other, STEP)
    assert set(first) == set(second)
    for goal in first:
        np.testing.assert_allclose(first[goal], second[goal], atol=1e-4, err_msg=goal)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_a_free_bodys_facing_and_uprightness_are_those_of_its_rotation(quaternion: list[float]):
    body = body_of("ant")
    turn = Rotation.from_quat(quaternion, scalar_first=True)
    qpos = np.concatenate([[1.0, 2.0, 0.5], quaternion])[None]
    forward = turn.apply([1.0, 0.0, 0.0])
    np.testing.assert_allclose(body.up(qpos)[0], turn.inv().apply([0.0, 0.0, 1.0]), atol=1e-12)
    np.testing.assert_allclose(np.hypot(*forward[:2]) * np.cos(body.heading(qpos)), forward[:1], atol=1e-9)
    np.testing.assert_allclose(np.hypot(*forward[:2]) * np.sin(body.heading(qpos)), forward[1:2], atol=1e-9)


@pytest.mark.parametrize("name", ["halfcheetah", "ant"])
@given(row=st.integers(0, 79), seed=st.integers(0, 99), x=st.floats(-9, 9), y=st.floats(-9, 9))
def test_a_body_at_one_moment_has_the_bits_of_its_motion(name: str, row: int, seed: int, x: float, y: float):
    body, (qpos, qvel) = body_of(name), walk(body_of(name), seed=seed)
    qvel = qvel * 20  # some beyond what is clipped
    now = Moment(body, qpos[row], qvel[row])
    vector = np.array([x, y])[: len(now.place)]
    turned = body.turned(np.repeat(vector[None], len(qpos), 0), body.heading(qpos))
    np.testing.assert_array_equal(now.seen(vector), turned[row])
    np.testing.assert_array_equal(now.state(), body.state(qpos, qvel)[row])
    np.testing.assert_array_equal(now.place, body.place(qpos)[row])
    np.testing.assert_array_equal(now.up, body.up(qpos)[row])


@pytest.mark.parametrize("name", ["halfcheetah", "ant"])
def test_a_goal_is_where_the_body_was_later(name: str):
    body, (qpos, qvel) = body_of(name), walk(body_of(name))
    goals = body.goals(qpos, qvel, STEP)
    for horizon in HORIZONS:
        goal = goals[f"{GOAL}pose_{horizon}"]
        assert (goal[: 80 - horizon, 0] == 1).all()
        assert (goal[80 - horizon :] == 0).all()
        ground = 1 if body.planar else 2
        way = body.turned(body.place(qpos[horizon:]) - body.place(qpos[:-horizon]), body.heading(qpos[:-horizon]))
        np.testing.assert_allclose(goal[: 80 - horizon, 1 : 1 + ground], way, atol=1e-5)
        np.testing.assert_allclose(goal[: 80 - horizon, 1 + ground], body.height(qpos[horizon:])[:, 0], atol=1e-6)
    if body.planar:
        np.testing.assert_allclose(goals[COMMAND][: 80 - AHEAD, 1], 1.5, atol=1e-5)


def test_the_command_of_a_body_that_stands_still_is_to_move_nowhere():
    body = body_of("ant")
    qpos, qvel = walk(body)
    still = np.repeat(qpos[:1], 60, 0)
    goals = body.goals(still, np.zeros((60, qvel.shape[1])), STEP)
    np.testing.assert_allclose(goals[COMMAND][:40, 1:], 0, atol=1e-9)


def test_an_unknown_body_gets_the_nearest():
    with pytest.raises(SettingError, match="did you mean 'walker2d'"):
        body_of("walker")
