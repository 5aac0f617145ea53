"""A user's own Gymnasium environments as a suite, and the code of docs/adding-a-suite.md."""

from __future__ import annotations

import importlib
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.spaces import Dict as DictSpace
from tests.toy import Still

from skilltokens.behaviour.environments import of_suite
from skilltokens.demos import write_store
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites import load_suite
from skilltokens.suites.conformance import check_suite
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    Array,
    DemonstrationError,
    Episode,
    Feature,
    Outcome,
    Suite,
    SuiteError,
    Task,
)

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-suite.md"
IMAGE = "observation.images.top"


class Rail(gymnasium.Env[Any, Any]):
    """A cart on a rail, -1 to 1 m, that has to stop at a mark. Action: velocity of -0.1 to 0.3 m a step."""

    def __init__(self, side: float = 1.0, fault: str = "") -> None:
        self.side, self.fault = side, fault
        self.observation_space = Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = Discrete(3) if fault == "discrete" else Box(-0.1, 0.3, (1,), np.float32)
        self.cart, self.mark, self.given = 0.0, 0.0, np.zeros(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=None if self.fault == "unseeded" else seed)
        if self.fault != "remembers":
            self.cart = 0.0
        self.mark = self.side * (0.8 if self.fault == "fixed" else self.np_random.uniform(0.4, 0.9))
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.given = np.asarray(action)
        self.cart = float(np.clip(self.cart + self.given[0], -1, 1))
        done = abs(self.cart - self.mark) < 0.06
        fell = self.fault == "falls" and self.cart > 0.2
        info = {} if self.fault == "no flag" else {"is_success": done}
        return self._observe(), 0.0, fell or (done and not self.fault), False, info

    def _observe(self) -> Any:
        if self.fault == "diverges":
            return np.array([np.nan, self.mark], np.float32)
        return np.array([self.cart, self.mark], np.float64 if self.fault == "wide" else np.float32)


class Pictured(Rail):
    """The same with a dictionary of observations, one of them a picture."""

    def __init__(self, side: float = 1.0) -> None:
        super().__init__(side)
        self.observation_space = DictSpace(
            {"cart": Box(-1, 1, (1,), np.float32), "top": Box(0, 255, (8, 8, 3), np.uint8)}
        )

    def _observe(self) -> Any:
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[int(self.cart * 3.9 + 4)] = 255
        picture[:, :, 0] = int(self.mark * 100 + 100)
        return {"cart": np.array([self.cart], np.float32), "top": picture}

    def render(self) -> Any:
        return self._observe()["top"]


def make(task: str) -> Rail:
    return Rail(1.0 if task == "right" else -1.0, "" if task in ("left", "right") else task)


def make_pictured(task: str) -> Pictured:
    return Pictured()


def expert(task: str):
    return lambda raw: ((raw[1:] - raw[:1]) - 0.1) / 0.2


INSTRUCTIONS = {"right": "drive to the mark on the right", "left": "drive to the mark on the left"}


def rail(**changes: Any) -> GymnasiumSuite:
    return GymnasiumSuite(
        "rail", changes.pop("make", make), changes.pop("tasks", INSTRUCTIONS), **{"horizon": 40, **changes}
    )


def faulty(fault: str) -> GymnasiumSuite:
    return rail(tasks={fault: "drive on"})


def test_environments_become_a_suite() -> None:
    suite = rail(expert=expert)
    assert isinstance(suite, Suite)
    assert {name: (feature.shape, feature.dtype) for name, feature in suite.features.items()} == {
        STATE: ((2,), "float32"),
        ACTION: ((1,), "float32"),
    }
    assert pickle.loads(pickle.dumps(suite)).tasks == suite.tasks  # noqa: S301 (what worker processes are given)
    check_suite(suite)


@pytest.mark.parametrize("reward", [True, False])
def test_who_learns_from_reward_sees_the_suites_features(reward: bool) -> None:
    suite = rail(observation={STATE: slice(0, 1), ENVIRONMENT_STATE: slice(1, 2)}, reward=reward)
    env: Any = of_suite(suite, suite.tasks[0]).make()
    seen, _ = env.reset(seed=0)
    assert {name: value.shape for name, value in seen.items()} == {STATE: (1,), ENVIRONMENT_STATE: (1,)}
    assert env.observation_space.contains(seen)
    done, steps, paid = False, 0, 0.0
    while not done and steps < 40:
        velocity = seen[ENVIRONMENT_STATE][0] - seen[STATE][0]
        seen, gain, _, _, info = env.step(np.array([(velocity - 0.1) / 0.2], np.float32).clip(-1, 1))
        done, steps, paid = info["is_success"], steps + 1, paid + gain
    assert done
    assert paid == (0.0 if reward else 1.0)  # the rail's own reward is 0 always


def test_pictures_and_vectors_of_a_dictionary_become_features() -> None:
    suite = rail(make=make_pictured, observation={STATE: "cart", IMAGE: "top"})
    assert suite.features[IMAGE].dtype == "uint8"
    check_suite(suite)
    environment = suite.make(suite.tasks[0])
    assert environment.reset("test", 0)[IMAGE].shape == (8, 8, 3)
    assert environment.render().shape == (8, 8, 3)


class Counting(Pictured):
    """The same with small whole numbers, a set, and a picture that may be in floats."""

    def __init__(self, floats: bool = False) -> None:
        super().__init__()
        self.floats = floats
        spaces = {"level": Box(0, 9, (2,), np.uint8), "things": Box(-1, 1, (2, 3), np.float32)}
        self.observation_space = DictSpace({**self.observation_space.spaces, **spaces})  # type: ignore

    def _observe(self) -> Any:
        seen = super()._observe()
        things = np.array([[1, self.cart, self.mark], [0, 0, 0]], np.float32)
        seen |= {"level": np.array([3, 200], np.uint8), "things": things}
        return {**seen, "top": seen["top"] / 255} if self.floats else seen


def make_counting(task: str) -> Counting:
    return Counting(floats=task == "floats")


LEVEL, THINGS = "observation.level", "observation.things"
PARTS = {STATE: "cart", IMAGE: "top", LEVEL: "level", THINGS: "things"}


def test_whole_numbers_and_sets_are_numbers(tmp_path: Path) -> None:
    suite = rail(make=make_counting, observation=PARTS)
    assert suite.features[LEVEL] == Feature((2,))
    assert {name: len(scale.center) for name, scale in suite.scales.items()} == {STATE: 1, LEVEL: 2, THINGS: 3}
    check_suite(suite)
    env: Any = of_suite(suite, suite.tasks[0]).make()
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    assert seen[LEVEL].tolist() == [3.0, 200.0]
    features = {**suite.features, LEVEL: Feature((2,), "uint8")}  # the same numbers to a policy
    values = {name: np.zeros((4, *feature.shape), feature.dtype) for name, feature in features.items()}
    values[LEVEL][:] = (3, 200)
    episode, task = Episode(values), suite.tasks[0]
    write_store(tmp_path / task.name, [episode], task=task, features=features, source="human", suite="rail")
    scales = rail(make=make_counting, observation=PARTS, demonstrations=tmp_path).scales
    assert scales[LEVEL].center == (3.0, 200.0)
    assert (scales[THINGS].center[0], scales[THINGS].unit[0]) == (0.0, 1.0)


def test_a_picture_in_floats_where_bytes_are_declared_is_not_taken_for_black() -> None:
    suite = rail(make=make_counting, observation=PARTS, tasks={"right": "go right", "floats": "go right too"})
    suite.make(suite.tasks[0]).reset("test", 0)
    message = "task 'floats': observation.images.top is float64 where the suite declares uint8; .*np.round"
    with pytest.raises(SuiteError, match=message):
        suite.make(suite.tasks[1]).reset("test", 0)


def test_actions_are_mapped_to_the_environments_bounds() -> None:
    suite = rail()
    environment = suite.make(suite.tasks[0])
    for action, given in ((-1.0, -0.1), (0.0, 0.1), (1.0, 0.3), (7.0, 0.3)):
        environment.reset("test", 0)
        environment.step(np.array([action]))
        np.testing.assert_allclose(environment._calls.environment.unwrapped.given, [given], atol=1e-7)  # type: ignore


def test_an_expert_demonstrates(tmp_path: Path) -> None:
    suite = rail(expert=expert)
    settings = DemonstrationSettings(episodes=4, noise=0.05, folder=str(tmp_path))
    here = demonstrations(suite, suite.tasks, settings, workers=0)
    assert [store.episodes for store in here] == [4, 4]
    for store in here:
        store.verify()
        expected = ((store[STATE][:, 1:] - store[STATE][:, :1]) - 0.1) / 0.2
        np.testing.assert_allclose(store[ACTION], np.clip(expected, -1, 1), atol=1e-6)


def test_an_expert_that_fails_is_reported() -> None:
    suite = rail(expert=lambda task: lambda raw: np.zeros(1), horizon=2)
    with pytest.raises(SuiteError, match="fails too often"):
        list(suite.demonstrate(suite.tasks[0], 2, 0, 0.0))


def test_a_folder_of_demonstrations_is_used_as_it_is(tmp_path: Path) -> None:
    maker = rail(expert=expert)
    for task in maker.tasks:
        write_store(
            tmp_path / task.name,
            maker.demonstrate(task, 3, 0, 0.0),
            task=task,
            features=maker.features,
            source="human",
            suite="rail",
        )
    suite = rail(demonstrations=tmp_path)
    stores = demonstrations(suite, suite.tasks, DemonstrationSettings(folder=str(tmp_path / "unused")))
    assert [(store.path, store.episodes, store.source) for store in stores] == [
        (tmp_path / task.name, 3, "human") for task in suite.tasks
    ]
    assert not (tmp_path / "unused").exists()
    centers, units = np.array(suite.scales[STATE].center), np.array(suite.scales[STATE].unit)
    scaled = (np.concatenate([store[STATE] for store in stores]) - centers) / units
    assert np.abs(scaled).max() < 3
    assert len(list(suite.demonstrate(suite.tasks[0], 2, 0, 0.0))) == 2
    with pytest.raises(SuiteError, match="has 3 demonstrations of 'right' where 9 are needed"):
        list(suite.demonstrate(suite.tasks[0], 9, 0, 0.0))


def test_missing_demonstrations_are_reported(tmp_path: Path) -> None:
    suite = rail(demonstrations=tmp_path / "none")
    with pytest.raises(DemonstrationError, match="does not exist"):
        demonstrations(suite, suite.tasks, DemonstrationSettings(folder=str(tmp_path)))


def test_demonstrations_of_another_robot_are_reported(tmp_path: Path) -> None:
    other = rail(
        make=make_pictured, observation={STATE: "cart", IMAGE: "top"}, expert=lambda task: lambda raw: np.ones(1)
    )
    task = other.tasks[0]
    write_store(
        tmp_path / task.name,
        other.demonstrate(task, 1, 0, 0.0),
        task=task,
        features=other.features,
        source="human",
        suite="rail",
    )
    with pytest.raises(SuiteError, match="make both the same"):
        rail(demonstrations=tmp_path)


def test_an_environment_that_ended_by_itself_has_failed() -> None:
    suite = faulty("falls")
    environment = suite.make(suite.tasks[0])
    environment.reset("test", 0)
    seen = [environment.step(np.ones(1)) for _ in range(6)]
    assert not any(success for _, success in seen)
    np.testing.assert_array_equal(seen[-1][0][STATE], seen[0][0][STATE])


def test_an_episode_that_ended_by_itself_is_not_stepped_on() -> None:
    suite = faulty("falls")
    outcomes = evaluate(Still(1.0, width=1), suite, suite.tasks[0], "test", range(3))
    assert outcomes == [Outcome(False, 1)] * 3  # one step of 0.3 m is beyond the edge
    standing = evaluate(Still(-0.5, width=1), suite, suite.tasks[0], "test", range(1))
    assert standing == [Outcome(False, suite.horizon)]


def test_the_limit_is_kept() -> None:
    suite = rail(horizon=2)
    environment = suite.make(suite.tasks[0])
    environment.reset("test", 0)
    environment.step(np.zeros(1))
    environment.step(np.zeros(1))
    with pytest.raises(SuiteError, match="limit of 2 steps"):
        environment.step(np.zeros(1))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unseeded", "is not repeatable"),
        ("remembers", "is not repeatable"),
        ("fixed", "starts every episode in the same state"),
        ("no flag", "has no success flag"),
        ("diverges", "is not finite"),
    ],
)
def test_the_check_finds_what_would_spoil_an_experiment(fault: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        check_suite(faulty(fault))


def test_the_check_refuses_what_cannot_be_sent_to_workers() -> None:
    with pytest.raises(SuiteError, match="top of a module"):
        check_suite(rail(make=lambda task: Rail()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rail(tasks={}), "has no tasks"),
        (lambda: rail(horizon=None), "has no limit of steps"),
        (lambda: rail(horizon=-3), "has no limit of steps"),
        (lambda: faulty("discrete"), "bounded vector is needed"),
        (lambda: rail(observation={STATE: "cart"}), "has no part 'cart'"),
        (lambda: rail(observation={STATE: slice(5, 7)}), "has no part"),
        (lambda: rail(make=make_pictured), "use a slice for a vector, a key for a dictionary"),
        (lambda: rail(make=make_pictured, observation={STATE: "cat"}), "did you mean 'cart'"),
    ],
)
def test_spaces_that_do_not_fit_are_named(call, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        call()


def test_an_environment_without_pictures_is_named() -> None:
    suite = rail()
    environment = suite.make(suite.tasks[0])
    environment.reset("test", 0)
    with pytest.raises(SuiteError, match="rgb_array"):
        environment.render()


def test_the_horizon_comes_from_the_environment() -> None:
    class Limited(Rail):
        spec = EnvSpec("Rail-v0", max_episode_steps=17)

    assert rail(make=lambda task: Limited(), horizon=None).horizon == 17


class Pusher:
    """An actor that reads the button from the observation of docs/adding-a-suite.md."""

    def start(self, batch: int) -> None: ...

    def act(self, observation: Any, memory: Any) -> Array:
        return np.clip(10 * (observation[ENVIRONMENT_STATE] - observation[STATE]), -1, 1)


def test_the_guides_code_runs(tmp_path: Path, monkeypatch) -> None:
    environment, suite_code, check_code, record_code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len([line for line in suite_code.splitlines() if line]) <= 30
    (tmp_path / "my_robot.py").write_text(environment + suite_code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    names: dict[str, Any] = {}
    exec(check_code, names)
    module = importlib.import_module("my_robot")
    exec(record_code, names | vars(module))
    suite = load_suite("my_robot:suite")
    stores = demonstrations(suite, suite.tasks, DemonstrationSettings())
    assert [store.task for store in stores] == list(suite.tasks)
    for store in stores:
        store.verify()
    task: Task = suite.tasks[1]
    assert all(outcome.success for outcome in evaluate(Pusher(), suite, task, "test", range(4), group=2))
