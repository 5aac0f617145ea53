"""Environments to learn in from reward, by name, and the suite that measures what was learned.

Two kinds of names: "SUITE/TASK", any task of any suite; and a Gymnasium id, with "module:" in front where a module
registers it (`suites.registry.place_of`). Where a suite's environments have no reward of their own, the reward is 1 at
success and 0 before it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from gymnasium.wrappers import TimeLimit, TransformAction

from skilltokens.model.policy import Policy
from skilltokens.model.trunks.trunk import FrozenTrunk
from skilltokens.simulation.blame import blaming
from skilltokens.simulation.simulators import checked
from skilltokens.suites import suite_and_task
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.suites.gymnasium_environment import PlainNames
from skilltokens.suites.gymnasium_reading import feature_space
from skilltokens.suites.limits import check_horizon
from skilltokens.suites.registry import GYM
from skilltokens.types import ACTION, LIMIT, Array, Scale, SettingError, Suite, Task, is_over

STEPS = "steps"
"""The key under which an environment that stacks its latest observations says how many of them there are yet."""
AXES = "height", "width", "colours"
"""Of a picture; of what a trunk makes of it: rows, columns, channels."""

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

    def plain(self) -> gymnasium.Env[Any, Any]:
        """A new environment for learners of your own: actions in [-1, 1], and features by names that
        Stable-Baselines3's policies can take, such as `observation_state`."""
        return PlainNames(self.make())


def challenge(name: str, instruction: str = "", horizon: int = 0) -> Challenge:
    """The challenge of that name.

    Args:
        instruction: of an environment that is no suite's.
        horizon: steps of an episode at most; 0: the suite's, or the environment's own.

    Raises:
        SettingError: there is no such environment, or it lacks what learning from reward needs.
    """
    suite, task = suite_and_task(name, instruction)
    return of_suite(suite, task, name if suite.name.startswith(GYM) else "", horizon)


def of_suite(suite: Suite, task: Task, name: str = "", horizon: int = 0) -> Challenge:
    """A suite's task as a challenge; see `challenge`."""
    steps = horizon or suite.horizon
    check_horizon(suite, steps)
    if not 1 <= steps <= suite.horizon:
        raise SettingError(f"adapt.horizon {steps} is impossible: {suite.name} allows 1 to {suite.horizon} steps")
    dense = isinstance(suite, GymnasiumSuite) and suite.reward
    make = functools.partial(_dense if dense else SuiteEnvironment, suite, task, steps)
    return Challenge(name or f"{suite.name}/{task.name}", make, suite, task, steps)


class SuiteEnvironment(gymnasium.Env[Any, Any]):
    """A suite's task as a Gymnasium environment with a sparse reward: 1 at success, which ends it, and 0 before.

    Episodes start from the split "train": nothing is learned on states that anything is measured on. They end where the
    suite's own environment says that they are over (a fall), as in measuring.
    """

    def __init__(self, suite: Suite, task: Task, horizon: int) -> None:
        self.suite, self.task, self.horizon = suite, task, horizon
        features = {name: feature for name, feature in suite.features.items() if name != ACTION}
        self._features = features
        spaces: dict[str, Any] = {
            name: feature_space(feature.shape, feature.dtype) for name, feature in features.items()
        }
        self.observation_space = DictSpace(spaces)
        self._units = suite.scales.get(ACTION)
        self.action_space = learned_space(suite.features[ACTION].shape, self._units)
        self._where = f"{suite.name} task {task.name!r}"
        with blaming(f"{self._where}, when it was made"):
            self._environment = suite.make(task)
        self._steps, self._index = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps, self._index = 0, int(self.np_random.integers(1_000_000))
        with blaming(f"{self._where}, in the reset to episode {self._index} of split 'train'"):
            return dict(checked(self._environment.reset("train", self._index), self._features)), {}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        with blaming(f"{self._where}, in step {self._steps} of episode {self._index} of split 'train'"):
            observation, success = self._environment.step(own_units(action, self._units))
            ended = bool(success) or is_over(self._environment)
        late = self._steps >= self.horizon and not ended
        return dict(checked(observation, self._features)), float(success), ended, late, {"is_success": bool(success)}

    def close(self) -> None:
        with blaming(f"{self._where}, in close"):
            self._environment.close()


class Stacked(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows the latest `length` observations of each feature (length, *shape), and under STEPS how many there are."""

    def __init__(self, env: gymnasium.Env[Any, Any], length: int) -> None:
        super().__init__(env)
        self.length = length
        spaces = env.observation_space.spaces  # pyright: ignore[reportAttributeAccessIssue]
        stacked = {name: feature_space((length, *space.shape), str(space.dtype)) for name, space in spaces.items()}
        self.observation_space = DictSpace({**stacked, STEPS: Box(0, length, (1,), np.float32)})
        self._rows: list[Mapping[str, Array]] = []

    def reset(self, **others: Any) -> Any:
        self._rows = []
        return super().reset(**others)

    def observation(self, observation: Mapping[str, Array]) -> dict[str, Array]:
        self._rows = [*self._rows, observation][-self.length :]
        rows = [self._rows[0]] * (self.length - len(self._rows)) + self._rows
        stacked = {
            name: np.stack([row[name] for row in rows]).astype(space.dtype, copy=False)
            for name, space in self.observation_space.spaces.items()  # pyright: ignore[reportAttributeAccessIssue]
            if name != STEPS
        }
        return {**stacked, STEPS: np.array([len(self._rows)], np.float32)}


class Through(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows what a frozen trunk makes of each picture, (rows, columns, channels), in its place: computed once, where
    PPO's updates look at it many times."""

    def __init__(self, env: gymnasium.Env[Any, Any], trunk: FrozenTrunk) -> None:
        super().__init__(env)
        self._trunk = trunk
        spaces = env.observation_space.spaces  # pyright: ignore[reportAttributeAccessIssue]
        self._pictures = [name for name, space in spaces.items() if len(space.shape) == len(AXES)]
        seen = {name: (*trunk.grid(*spaces[name].shape[:2]), trunk.channels) for name in self._pictures}
        features = {name: feature_space(shape, "float32") for name, shape in seen.items()}
        self.observation_space = DictSpace({**spaces, **features})

    def observation(self, observation: Mapping[str, Array]) -> dict[str, Array]:
        features = {
            name: self._trunk.look(torch.from_numpy(np.ascontiguousarray(observation[name]))[None])[0].float().numpy()
            for name in self._pictures
        }
        return {**observation, **features}


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


def _dense(suite: GymnasiumSuite, task: Task, horizon: int) -> gymnasium.Env[Any, Any]:
    """A suite's own Gymnasium environment, with its reward; actions in [-1, 1], or in units of its constants."""
    env, units = suite.rewarded(task), suite.scales.get(ACTION)
    if units is None:
        return TimeLimit(env, horizon)
    space = learned_space(suite.features[ACTION].shape, units)
    return TimeLimit(TransformAction(env, functools.partial(own_units, units=units), space), horizon)


def learned_space(shape: tuple[int, ...], units: Scale | None) -> Box:
    """The space of what PPO gives: actions in [-1, 1], or as far as a suite's constants reach, in their units."""
    reach = 1.0 if units is None else LIMIT
    return Box(-reach, reach, shape, np.float32)


def own_units(action: Array, units: Scale | None) -> Array:
    """What the suite takes for what PPO gives (A,)."""
    if units is None:
        return action
    return (np.asarray(units.center) + np.asarray(units.unit) * action).astype(np.float32)


def check_units(policy: Policy, suite: Suite) -> None:
    """Raises SettingError where a policy's actions are of another width than a suite's, or in other units: PPO learns
    in those of both."""
    width = suite.features[ACTION].shape[0]
    if policy.shape.actions != width:
        raise SettingError(
            f"suite {suite.name!r} takes {width} actions where the policy gives {policy.shape.actions}: it is of "
            "another robot"
        )
    if policy.shape.action != suite.scales.get(ACTION):
        raise SettingError(
            f"the library's constants of {ACTION!r} are not those of suite {suite.name!r}: learn the library's first "
            "skill from the suite's own demonstrations"
        )
