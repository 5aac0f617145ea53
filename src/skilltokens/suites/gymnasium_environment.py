"""One Gymnasium environment as an environment of a suite, and as one to learn in from reward."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from numpy.typing import NDArray

from skilltokens.suites.gymnasium_actions import ActionRange
from skilltokens.suites.gymnasium_calls import Calls
from skilltokens.suites.gymnasium_flags import Flag
from skilltokens.suites.gymnasium_reading import Reader, feature_space, undotted
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import Array, Observation, Split, SuiteError


class GymnasiumEnvironment:
    """One Gymnasium environment behind the protocol of suites. `raw` is its own latest observation."""

    def __init__(
        self, suite: str, task: str, calls: Calls, reader: Reader, actions: ActionRange, flag: Flag, horizon: int
    ) -> None:
        self.suite, self.task, self.horizon = suite, task, horizon
        self.raw: Any = None
        self._calls, self._reader, self._flag, self.actions = calls, reader, flag, actions
        self.over = True
        """Whether the episode has ended by itself."""
        self.flagged = False
        """Whether the success flag was seen yet."""
        self._steps = horizon

    def reset(self, split: Split, index: int) -> Observation:
        """The first observation of episode `index`: a pure function of (suite, task, split, index)."""
        seed = episode_seed(self.suite, self.task, split, index) % 2**31  # what every generator takes
        self.raw, _ = self._calls.reset(seed)
        self.over, self._steps = False, 0
        return self._reader.read(self.raw)

    def step(self, action: Array) -> tuple[Observation, bool]:
        """Apply one action (A,) in the suite's units, clipped. An environment that has ended stays as it ended.

        Raises:
            SuiteError: the episode is past its limit, or the environment raised or gave something amiss.
        """
        if self._steps >= self.horizon:
            raise SuiteError(
                f"{self.suite} task {self.task!r} was stepped past its limit of {self.horizon} steps: reset it first"
            )
        self._steps += 1
        if self.over:
            return self._reader.read(self.raw), False
        self.raw, _, terminated, truncated, info = self._calls.step(self.actions.executed(action))
        self.over = terminated or truncated
        done = self._flag.read(info, self.over or self._steps == self.horizon, self._calls.name)
        self.flagged |= self._flag.name in info
        return self._reader.read(self.raw), done

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (height, width, 3). Raises SuiteError where the environment gives no such picture."""
        return self._calls.render()

    def close(self) -> None:
        """Closes the environment."""
        self._calls.close()


class FeaturesOnly(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A Gymnasium environment to learn in: a suite's features are observed, actions are in the suite's units, and
    `info` has "is_success". Whatever the environment raises or gives amiss is a SuiteError."""

    def __init__(self, calls: Calls, reader: Reader, actions: ActionRange, flag: Flag) -> None:
        if not isinstance(calls.environment, gymnasium.Env):
            raise SuiteError(
                f"{calls.name} is a {type(calls.environment).__name__} and no gymnasium.Env: make it one to learn in "
                "it from reward"
            )
        super().__init__(calls.environment)
        self._calls, self._reader, self._actions, self._flag = calls, reader, actions, flag
        spaces: dict[str, Any] = {name: feature_space(f.shape, f.dtype) for name, f in reader.features.items()}
        self.observation_space = DictSpace(spaces)
        if actions.units == "normalised":
            self.action_space = Box(-1.0, 1.0, actions.low.shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        raw, info = self._calls.reset(seed, options)
        return self._reader.read(raw), info

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        raw, reward, terminated, truncated, info = self._calls.step(self._actions.executed(action))
        done = self._flag.read(info, terminated or truncated, self._calls.name)
        observation = self._reader.read(raw)
        return observation, self._calls.reward(reward), terminated, truncated, {**info, "is_success": done}

    def render(self) -> Any:
        return self._calls.render()

    def close(self) -> None:
        self._calls.close()


class PlainNames(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Features under names without dots, `observation_state`, which Stable-Baselines3's own policies need: they keep a
    module for each feature, and PyTorch takes no dot in a module's name."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        spaces: Any = env.observation_space
        self.observation_space = DictSpace({undotted(name): space for name, space in spaces.spaces.items()})

    def observation(self, observation: Any) -> dict[str, Array]:
        return {undotted(name): value for name, value in observation.items()}
