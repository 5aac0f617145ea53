"""Environments to learn in from reward, by name, and the suite that measures what was learned.

Two kinds of names: "SUITE/TASK", any task of any suite; and a Gymnasium id, which ends in a version, with "module:" in
front where a module registers it. Where a suite's environments have no reward of their own, the reward is 1 at success
and 0 before it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from gymnasium.wrappers import RescaleAction, TimeLimit

from skilltokens.suites import load_suite, task_of
from skilltokens.suites.gymnasium import GymnasiumSuite, box
from skilltokens.types import ACTION, STATE, Array, SettingError, Suite, Task, is_over

STEPS = "steps"
"""The key under which an environment that stacks its latest observations says how many of them there are yet."""
FLAGS = ("is_success", "success")
"""Where `info` may say that a task is done."""

Make = Callable[[], gymnasium.Env[Any, Any]]


@dataclass(frozen=True)
class Challenge:
    """An environment to learn in, and the suite and task that measure what was learned."""

    name: str
    make: Make
    suite: Suite
    task: Task
    horizon: int
    """Steps of an episode at most, in learning and in measuring."""


def challenge(name: str, instruction: str = "", horizon: int = 0) -> Challenge:
    """The challenge of that name.

    Args:
        instruction: of an environment that is no suite's.
        horizon: steps of an episode at most; 0: the suite's, or the environment's own.

    Raises:
        SettingError: there is no such environment, or it lacks what learning from reward needs.
    """
    suite_name, _, task_name = name.rpartition("/")
    if suite_name and not re.search(r"-v\d+$", task_name):
        suite = load_suite(suite_name)
        return of_suite(suite, task_of(suite, task_name), horizon=horizon)
    suite = suite_of_id(name, instruction)
    return of_suite(suite, suite.tasks[0], name, horizon)


def of_suite(suite: Suite, task: Task, name: str = "", horizon: int = 0) -> Challenge:
    """A suite's task as a challenge; see `challenge`."""
    steps = horizon or suite.horizon
    if not 1 <= steps <= suite.horizon:
        raise SettingError(f"adapt.horizon {steps} is impossible: {suite.name} allows 1 to {suite.horizon} steps")
    dense = isinstance(suite, GymnasiumSuite) and suite.reward
    make = functools.partial(_dense if dense else SuiteEnvironment, suite, task, steps)
    return Challenge(name or f"{suite.name}/{task.name}", make, suite, task, steps)


def suite_of_id(name: str, instruction: str = "") -> GymnasiumSuite:
    """A suite of one task, made of a Gymnasium environment.

    Raises:
        SettingError: Gymnasium does not know it, or it lacks a limit of steps, a success flag or a fitting space.
    """
    env = made(name)
    try:
        names = tuple(env.observation_space.spaces)  # pyright: ignore[reportAttributeAccessIssue]
        horizon, flag = env.spec.max_episode_steps if env.spec else None, _flag(env, name)
    finally:
        env.close()
    if not horizon:
        raise SettingError(f"{name} has no limit of steps: register it with max_episode_steps")
    short = name.split(":")[-1].split("/")[-1].lower()
    return GymnasiumSuite(
        f"gym:{name}",
        functools.partial(_of_id, name),
        [Task(short, instruction or short.replace("-", " "))],
        observation={each: each for each in names},
        success=flag,
        horizon=horizon,
    )


def made(name: str) -> gymnasium.Env[Any, Any]:
    """An environment with a dictionary of observations; a plain vector is called `observation.state`.

    Raises:
        SettingError: Gymnasium does not know it, or its spaces do not fit.
    """
    try:
        env = gymnasium.make(name)
    except (gymnasium.error.Error, ModuleNotFoundError) as problem:
        raise SettingError(
            f"{name!r} is neither SUITE/TASK nor an environment that Gymnasium knows ({problem}): put module: in front "
            "where a module of yours registers it"
        ) from problem
    if isinstance(env.observation_space, Box):
        env = _Named(env)
    if not isinstance(env.observation_space, DictSpace):
        raise SettingError(f"{name} observes {env.observation_space}: a vector or a dictionary of vectors is needed")
    if not isinstance(env.action_space, Box) or not env.action_space.is_bounded():
        raise SettingError(f"{name} has the action space {env.action_space}: a bounded vector is needed")
    return env


class SuiteEnvironment(gymnasium.Env[Any, Any]):
    """A suite's task as a Gymnasium environment with a sparse reward: 1 at success, which ends it, and 0 before.

    Episodes start from the split "train": nothing is learned on states that anything is measured on. They end where the
    suite's own environment says that they are over (a fall), as in measuring.
    """

    def __init__(self, suite: Suite, task: Task, horizon: int) -> None:
        self.suite, self.task, self.horizon = suite, task, horizon
        features = {name: feature for name, feature in suite.features.items() if name != ACTION}
        self.observation_space = DictSpace({name: box(each.shape, each.dtype) for name, each in features.items()})
        self.action_space = Box(-1.0, 1.0, suite.features[ACTION].shape, np.float32)
        self._environment = suite.make(task)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return dict(self._environment.reset("train", int(self.np_random.integers(1_000_000)))), {}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, success = self._environment.step(action)
        self._steps += 1
        ended = bool(success) or is_over(self._environment)
        late = self._steps >= self.horizon and not ended
        return dict(observation), float(success), ended, late, {"is_success": bool(success)}

    def close(self) -> None:
        self._environment.close()


class Stacked(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows the latest `length` observations of each feature (length, *shape), and under STEPS how many there are."""

    def __init__(self, env: gymnasium.Env[Any, Any], length: int) -> None:
        super().__init__(env)
        self.length = length
        spaces = env.observation_space.spaces  # pyright: ignore[reportAttributeAccessIssue]
        stacked = {name: box((length, *space.shape), str(space.dtype)) for name, space in spaces.items()}
        self.observation_space = DictSpace({**stacked, STEPS: Box(0, length, (1,), np.float32)})
        self._rows: list[Mapping[str, Array]] = []

    def reset(self, **others: Any) -> Any:
        self._rows = []
        return super().reset(**others)

    def observation(self, observation: Mapping[str, Array]) -> dict[str, Array]:
        self._rows = [*self._rows, observation][-self.length :]
        rows = [self._rows[0]] * (self.length - len(self._rows)) + self._rows
        found = {
            name: np.stack([row[name] for row in rows]).astype(space.dtype, copy=False)
            for name, space in self.observation_space.spaces.items()  # pyright: ignore[reportAttributeAccessIssue]
            if name != STEPS
        }
        return {**found, STEPS: np.array([len(self._rows)], np.float32)}


class Staggered(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Cuts the first episode after each seeded reset short, after `first` steps, and says so in `info`.

    Environments that are stepped side by side and never end early would all be at the same step of their episodes, and
    each update of PPO would see one phase of the task only; with first episodes of different lengths it sees all.
    """

    CUT = "staggered"
    """Where `info` says that an episode was cut."""

    def __init__(self, env: gymnasium.Env[Any, Any], first: int) -> None:
        super().__init__(env)
        self.first, self._left = first, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._left = self.first if seed is not None else 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, ended, late, info = self.env.step(action)
        self._left -= 1
        if self._left == 0 and not (ended or late):
            return observation, reward, ended, True, {**info, self.CUT: True}
        return observation, reward, ended, late, info


class _Named(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Calls a plain vector `observation.state`."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = DictSpace({STATE: env.observation_space})

    def observation(self, observation: Array) -> dict[str, Array]:
        return {STATE: np.asarray(observation, np.float32)}


def _dense(suite: GymnasiumSuite, task: Task, horizon: int) -> gymnasium.Env[Any, Any]:
    """A suite's own Gymnasium environment, with its reward; actions in [-1, 1]."""
    return TimeLimit(RescaleAction(suite.rewarded(task), np.float32(-1.0), np.float32(1.0)), horizon)


def _of_id(name: str, _: str) -> gymnasium.Env[Any, Any]:
    return made(name)


def _flag(env: gymnasium.Env[Any, Any], name: str) -> str:
    """The name of the success flag, found by one step."""
    env.reset(seed=0)
    info = env.step(env.action_space.sample() * 0)[-1]
    for flag in FLAGS:
        if flag in info:
            return flag
    raise SettingError(
        f"{name} has no success flag: its info needs {' or '.join(map(repr, FLAGS))} at every step, so that it can be "
        "said how often the task is done"
    )
