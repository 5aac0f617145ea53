"""One Gymnasium environment as an environment of a suite, and its observations as features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from numpy.typing import NDArray

from skilltokens.demos.kinds import wrong_observation
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import Array, Feature, Observation, Split, SuiteError, nearest

Part = slice | str
"""Which part of the environment's observation makes a feature: entries of a vector, or a key of a dictionary."""


class GymnasiumEnvironment:
    """One Gymnasium environment behind the protocol of suites. `raw` is its own latest observation."""

    def __init__(
        self,
        suite: str,
        task: str,
        environment: gymnasium.Env[Any, Any],
        parts: Mapping[str, Part],
        features: Mapping[str, Feature],
        success: str,
        horizon: int,
    ) -> None:
        self.suite, self.task, self.horizon = suite, task, horizon
        self.raw: Any = None
        self._environment, self._parts, self._features, self._success = environment, parts, features, success
        space = environment.action_space
        assert isinstance(space, Box)
        self._low, self._high = space.low.astype(np.float64), space.high.astype(np.float64)
        self._dtype = space.dtype
        self.over = True
        """Whether the episode has ended by itself."""
        self._steps = horizon

    def reset(self, split: Split, index: int) -> Observation:
        """The first observation of episode `index`: a pure function of (suite, task, split, index)."""
        seed = episode_seed(self.suite, self.task, split, index) % 2**31  # what every generator takes
        self.raw, _ = self._environment.reset(seed=seed)
        self.over, self._steps = False, 0
        return self._observation()

    def step(self, action: Array) -> tuple[Observation, bool]:
        """Apply one action (A,), clipped to [-1, 1]. An environment that has ended by itself stays as it ended.

        Raises:
            SuiteError: the episode is past its limit, or `info` lacks the success flag.
        """
        if self._steps >= self.horizon:
            raise SuiteError(
                f"{self.suite} task {self.task!r} was stepped past its limit of {self.horizon} steps: reset it first"
            )
        self._steps += 1
        if self.over:
            return self._observation(), False
        share = (np.clip(np.asarray(action, dtype=np.float64), -1, 1) + 1) / 2
        scaled = (self._low + share * (self._high - self._low)).astype(self._dtype)
        self.raw, _, terminated, truncated, info = self._environment.step(scaled)
        if self._success not in info:
            raise SuiteError(
                f"{self.suite} task {self.task!r} has no {self._success!r} in its info: "
                f"{nearest(self._success, list(info)) if info else 'info is empty; add the flag at every step'}"
            )
        self.over = bool(terminated or truncated)
        return self._observation(), bool(info[self._success])

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (height, width, 3). Raises SuiteError where the environment gives no such picture."""
        try:
            picture = self._environment.render()
        except NotImplementedError:
            picture = None
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
            raise SuiteError(
                f"{self.suite} task {self.task!r} renders no picture: make the environment with render_mode='rgb_array'"
            )
        return picture.astype(np.uint8, copy=False)

    def close(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def _observation(self) -> dict[str, Array]:
        return features_of(self.raw, self._parts, self._features, f"{self.suite} task {self.task!r}")


class FeaturesOnly(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A Gymnasium environment that observes a suite's features instead of its own observation."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], parts: Mapping[str, Part], features: Mapping[str, Feature], where: str
    ) -> None:
        super().__init__(env)
        self._parts, self._features, self._where = parts, features, where
        spaces: dict[str, Any] = {name: feature_space(features[name].shape, features[name].dtype) for name in parts}
        self.observation_space = DictSpace(spaces)

    def observation(self, observation: Any) -> dict[str, Array]:
        return features_of(observation, self._parts, self._features, self._where)


def feature_space(shape: tuple[int, ...], dtype: str) -> Box:
    """The Gymnasium space of a feature: a picture in uint8, and stacked ones; all else are numbers without bounds."""
    picture = dtype == "uint8" and len(shape) > 2
    return Box(0, 255, shape, np.uint8) if picture else Box(-np.inf, np.inf, shape, np.float32)


def features_of(raw: Any, parts: Mapping[str, Part], features: Mapping[str, Feature], where: str) -> dict[str, Array]:
    """The features of a suite, cut out of an environment's own observation `raw`.

    Raises:
        SuiteError: a part has another shape than its feature, a dtype that is not its own, or a number that is not
            finite; `where` names the suite and task in the message.
    """
    observation: dict[str, Array] = {}
    for name, part in parts.items():
        given = np.asarray(raw[part])
        if given.shape != features[name].shape:
            raise SuiteError(
                f"{where} observes {name} of shape {given.shape} where the first task has {features[name].shape}: all "
                "tasks of a suite need the same observations"
            )
        problem = wrong_observation(given, features[name])
        if problem is not None:
            raise SuiteError(f"{where}: {name} {problem}")
        observation[name] = np.array(given, dtype=features[name].dtype)  # a copy: environments reuse arrays
    return observation


def part_space(space: gymnasium.Space[Any], part: Part, suite: str) -> Box:
    """The space of one part of an observation space.

    Raises:
        SuiteError: there is no such part.
    """
    if isinstance(part, str) and isinstance(space, DictSpace):
        if part not in space.spaces:
            raise SuiteError(f"suite {suite!r}: there is no observation {part!r}: {nearest(part, list(space.spaces))}")
        box = space.spaces[part]
    elif isinstance(part, slice) and isinstance(space, Box):
        box = Box(space.low[part], space.high[part], dtype=space.dtype.type)
    else:
        box = space
    if not isinstance(box, Box) or isinstance(space, DictSpace) != isinstance(part, str) or 0 in box.shape:
        raise SuiteError(
            f"suite {suite!r}: the observation space {space} has no part {part!r}: use a slice for a vector, a key for "
            "a dictionary of vectors and images"
        )
    return box
