"""A suite of one task, made of a Gymnasium environment by its id, such as "FetchReach-v4" or "module:Name-v0"."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace

from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.types import STATE, Array, SettingError, Task

FLAGS = ("is_success", "success")
"""The keys of `info` that may say that the task is done."""


def suite_of_id(name: str, instruction: str = "") -> GymnasiumSuite:
    """A suite of one task, made of a Gymnasium environment.

    Raises:
        SettingError: Gymnasium does not know it, or it lacks a limit of steps, a success flag or a fitting space.
    """
    env = environment_of_id(name)
    try:
        features = tuple(env.observation_space.spaces)  # pyright: ignore[reportAttributeAccessIssue]
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
        observation={feature: feature for feature in features},
        success=flag,
        horizon=horizon,
    )


def environment_of_id(name: str) -> gymnasium.Env[Any, Any]:
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


class _Named(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Calls a plain vector `observation.state`."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = DictSpace({STATE: env.observation_space})

    def observation(self, observation: Array) -> dict[str, Array]:
        return {STATE: np.asarray(observation, np.float32)}


def _of_id(name: str, _: str) -> gymnasium.Env[Any, Any]:
    return environment_of_id(name)


def _flag(env: gymnasium.Env[Any, Any], name: str) -> str:
    """The name of the success flag, found by one step."""
    env.reset(seed=0)
    info = env.step(env.action_space.sample() * 0)[-1]
    for flag in FLAGS:
        if flag in info:
            return flag
    raise SettingError(
        f"{name} has no success flag: its info needs {' or '.join(map(repr, FLAGS))} at every step, so that it can "
        "be counted how often the task is done"
    )
