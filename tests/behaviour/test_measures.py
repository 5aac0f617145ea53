"""What is measured beside success: how close to the experts a body moves, how fast, and how goals are followed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from skilltokens.behaviour.closeness import closeness, speeds, visited
from skilltokens.behaviour.environments import of_suite
from skilltokens.behaviour.tracking import masks, tracking
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.suites.bodies import body_of, body_suite, make_body
from skilltokens.types import ACTION, GOAL, SIMULATOR, STATE, Array, Episode, Feature, Observation, Scale, Task

CHEETAH = body_of("halfcheetah")


class Shaking:
    """Moves every joint to and fro, at its own pace; forgets nothing but time."""

    def __init__(self, pace: float = 0.5) -> None:
        self.pace = pace

    def start(self, batch: int) -> list[int]:
        return [0]

    def act(self, observation: Observation, memory: list[int]) -> Array:
        memory[0] += 1
        action = 0.6 * np.sin(self.pace * memory[0] + np.arange(6))
        return np.tile(action, (len(observation[STATE]), 1)).astype(np.float32)


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> DemonstrationStore:
    """Motion of a body that shakes."""
    env = make_body("halfcheetah", "direction")
    features = {name: Feature((n,)) for name, n in env.widths.items()}
    features |= {ACTION: Feature((6,)), f"{SIMULATOR}state": Feature((18,))}

    def episodes():
        for seed in range(12):
            env.reset(seed=seed)
            actor = Shaking()
            memory, states, actions = actor.start(1), [], []
            for _ in range(150):
                states.append(np.concatenate([env.now.qpos, env.now.qvel]))
                actions.append(actor.act({STATE: np.zeros((1, 18))}, memory)[0])
                env.step(actions[-1])
            rows = np.stack(states)
            observations = {
                STATE: CHEETAH.state(rows[:, :9], rows[:, 9:]),
                **CHEETAH.goals(rows[:, :9], rows[:, 9:], env.dt),
            }
            yield Episode({**observations, ACTION: np.stack(actions), f"{SIMULATOR}state": rows.astype(np.float32)})

    path = tmp_path_factory.mktemp("motion") / "store"
    return write_store(
        path, episodes(), task=Task("motion", "shake"), features=features, source="scripted", suite="halfcheetah"
    )


def test_who_moves_like_the_motion_is_close_to_it_and_who_does_not_is_far(motion: DemonstrationStore):
    suite = body_suite("halfcheetah")
    same, other = (closeness(visited(Shaking(pace), suite, suite.tasks[0], "test", 6), motion) for pace in (0.5, 2.6))
    assert same["neighbour"] < 2
    assert other["neighbour"] > 1.5 * same["neighbour"]
    assert other["discriminator"] > 0.9
    assert other["discriminator"] > same["discriminator"]


def test_speeds_are_those_of_the_body():
    env = make_body("halfcheetah", "direction")
    env.reset(seed=0)
    qpos, qvel = env.now.qpos[None], env.now.qvel[None]
    qvel[:, 0] = 2.5
    assert speeds(CHEETAH.state(qpos, qvel), CHEETAH) == pytest.approx(2.5)
    ant = make_body("ant", "direction")
    ant.reset(seed=0)
    qpos, qvel = ant.now.qpos[None], ant.now.qvel[None]
    qvel[:, :2] = [3.0, 4.0]
    assert speeds(body_of("ant").state(qpos, qvel), body_of("ant")) == pytest.approx(5.0, abs=1e-3)


def test_states_after_an_episodes_end_are_not_counted():
    suite = body_suite("walker2d")
    fallen = visited(Shaking(), suite, suite.tasks[0], "test", 3)
    assert len(fallen) < 3 * suite.horizon / 2
    assert (fallen[1:] != fallen[:-1]).any(1).all()


def test_tracking_has_a_row_for_every_mask_and_says_how_far_the_recording_went(motion: DemonstrationStore):
    scales = {n: Scale((0.0,) * f.shape[0], (1.0,) * f.shape[0]) for n, f in motion.features.items() if n != ACTION}
    settings = PolicySettings(width=32, layers=1, history=1, maps="linear", step="separate")
    model = Policy(Shape.of(motion.features, scales, 8), settings)
    rows = tracking(model, np.zeros(8, np.float32), CHEETAH, motion, range(3))
    assert [row["goals"] for row in rows] == list(masks())
    assert len({row["moved"] for row in rows}) == 1
    assert all(row["way"] >= 0 and row["joints"] > 0 for row in rows)
    every = masks()["all"]
    assert set(every) == {name for name in motion.features if name.startswith(GOAL)}


def test_a_speed_is_asked_for_on_the_tasks_way():
    slow, fast = (make_body("halfcheetah", "reach", command=share) for share in (0.2, 0.9))
    asked = []
    for env in (slow, fast):
        observation: Any = env.reset(seed=5)[0]
        asked.append(observation[f"{GOAL}command"])
    assert asked[0][0] == asked[1][0] == 1
    assert abs(asked[1][1]) > 2 * abs(asked[0][1])
    assert np.sign(asked[0][1]) == np.sign(asked[1][1])


def test_actions_are_shares_of_the_motors_strength_in_every_way_to_act():
    suite, action = body_suite("humanoid"), np.full(17, 0.5)
    raw, measured, learned = make_body("humanoid", "reach"), suite.make(suite.tasks[0]), of_suite(suite, suite.tasks[0])
    raw.reset(seed=0)
    raw.step(action)
    measured.reset("test", 0)
    measured.step(action)
    env: Any = learned.make()
    env.reset(seed=0)
    env.step(action.astype(np.float32))
    inner: Any = measured._calls.environment.unwrapped
    for body in (raw, inner, env.unwrapped):
        np.testing.assert_allclose(body.data.ctrl, 0.5 * 0.4, atol=1e-6)


def test_a_picture_shows_the_mark_where_it_is():
    env = make_body("halfcheetah", "reach", picture=True)
    observation: Any = env.reset(seed=0)[0]
    picture = observation["observation.images.side"].astype(int)
    green = picture[..., 1] - picture[..., [0, 2]].max(-1) > 25
    columns = np.flatnonzero(green.any(0))
    assert len(columns)
    way = env.task.goal[0] - env.now.qpos[0]  # pyright: ignore[reportAttributeAccessIssue]
    assert (columns.mean() - 47.5) * 14 / 96 == pytest.approx(way, abs=0.5)
