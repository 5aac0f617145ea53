"""skilltokens' suites as environments for every LeRobot policy: `--env.type=skilltokens --env.suite=metaworld`.

LeRobot's seed of an episode is skilltokens' number of that episode: the initial state of seed 7 is that of
episode 7 of the split, whatever ran before. So `lerobot-eval --seed=0` runs the episodes of `skilltokens evaluate`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.envs.utils import _LazyAsyncVectorEnv, freeze_after_episode_end
from numpy.typing import NDArray

from skilltokens.demos.kinds import PICTURES, kind_of
from skilltokens.suites import in_context, load_suite, task_of
from skilltokens.suites.context import Context
from skilltokens.suites.limits import check_episodes
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    Array,
    Environment,
    Feature,
    Observation,
    SettingError,
    Split,
    Suite,
    SuiteError,
    is_over,
)

OBSERVATION, IMAGE, IMAGES = "observation.", "observation.image", "observation.images."
PIXELS = "pixels"
KEYS = {STATE: "agent_pos", ENVIRONMENT_STATE: "environment_state", IMAGE: PIXELS}
"""Features that LeRobot makes of an environment's keys; further keys become observation.KEY."""
SPLITS, CONTEXTS = ("train", "validation", "test"), ("none", "scene")


@EnvConfig.register_subclass("skilltokens")
@dataclass
class SkilltokensEnvConfig(EnvConfig):
    """Tasks of a suite. `task` names them, with commas between; all tasks of the suite where it is empty."""

    suite: str = "metaworld"
    """A suite as `skilltokens list suites` names it, gym:ENV-ID, or module:name."""
    task: str | None = None
    split: str = "test"
    """Initial states: train, validation (to choose settings) or test (to report)."""
    context: str = "none"
    """scene: say each task's scene in its instruction, for a library that was learned with --context scene."""
    horizon: int = 0
    """The most steps of an episode; 0: the suite's own limit."""
    fps: int = 0
    """Frames a second of the films; 0: the steps a second of the suite where it says so, else 30."""
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    """Filled from the suite."""
    features_map: dict[str, str] = field(default_factory=dict)
    """Filled from the suite."""

    def __post_init__(self) -> None:
        for name, known in (("split", SPLITS), ("context", CONTEXTS)):
            if getattr(self, name) not in known:
                raise SettingError(f"--env.{name}={getattr(self, name)} is unknown: use {' or '.join(known)}")
        suite = load_suite(self.suite)
        check_episodes(suite, cast(Split, self.split), 0, self.horizon)
        self.fps = self.fps or round(getattr(suite, "frequency", 30))
        for name, feature in suite.features.items():
            key = name if name == ACTION or name.startswith(IMAGES) else key_of(name, feature, suite.name)
            self.features[key] = PolicyFeature(type=_type(name, feature), shape=tuple(feature.shape))
            self.features_map[key] = name

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Empty: Gymnasium's registry is not asked."""
        return {}

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> dict[str, dict[int, Any]]:
        """The suite's name -> number of the task -> its vector environment. Simulators are made as it resets."""
        suite = load_suite(self.suite)
        names = [name.strip() for name in (self.task or "").split(",") if name.strip()]
        tasks = [task_of(suite, name) for name in names] or list(suite.tasks)
        make = functools.partial(
            SuiteEnvironment,
            self.suite,
            split=cast(Split, self.split),
            context=cast(Context, self.context),
            horizon=self.horizon,
            fps=self.fps,
            rows=n_envs,
        )
        environments: dict[int, Any] = {}
        for number, task in enumerate(tasks):
            makers: list[Any] = [functools.partial(make, task.name, row=row) for row in range(n_envs)]
            if use_async_envs and n_envs > 1:
                first = makers[0]()
                environments[number] = _LazyAsyncVectorEnv(
                    makers, first.observation_space, first.action_space, metadata=first.metadata
                )
            else:
                environments[number] = gymnasium.vector.SyncVectorEnv(
                    [freeze_after_episode_end(maker) for maker in makers]
                )
        return {suite.name: environments}


class SuiteEnvironment(gymnasium.Env[dict[str, Any], Array]):
    """One task of a suite as LeRobot steps it.

    It terminates at the first success, or where the simulator says that the episode is over, and is truncated after
    `horizon` steps; `info["is_success"]` says which of the first two. The simulator is made at the first reset.

    Args:
        suite: the suite's name.
        task: the task's name.
        row, rows: this environment's place among those that step side by side: without seeds it runs the episodes
            `row`, `row + rows`, `row + 2 * rows`, ...

    Raises:
        SettingError: there is no such suite or task, or the task has no scene to be named.
        SuiteError: a feature has a name that LeRobot's environments cannot hand on.
    """

    def __init__(
        self,
        suite: str,
        task: str,
        *,
        split: Split = "test",
        context: Context = "none",
        horizon: int = 0,
        fps: int = 30,
        row: int = 0,
        rows: int = 1,
    ) -> None:
        self.suite: Suite = load_suite(suite)
        self.split: Split = split
        self._task = task_of(self.suite, task)
        self.task, self.task_description = task, in_context(self.suite, self._task, context).instruction
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps}
        self.render_mode = "rgb_array"
        self._max_episode_steps = horizon or self.suite.horizon
        self.observation_space = observation_space(self.suite)
        self.action_space = _actions(self.suite)
        self._environment: Environment | None = None
        self._picture: NDArray[np.uint8] | None = None
        self._next, self._rows, self._steps = row, rows, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first observation of episode `seed`, or of the next one.

        Raises:
            SettingError: the suite has not as many different episodes of the split.
            SuiteError: the simulator is missing, or failed.
        """
        super().reset(seed=seed)
        episode = self._next if seed is None else seed
        check_episodes(self.suite, self.split, episode + 1)
        self._next, self._steps, self._picture = episode + self._rows, 0, None
        return _sent(self._simulator.reset(self.split, episode)), {"is_success": False}

    def step(self, action: Array) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Applies one action (A,); the reward is 1.0 at success, else 0.0."""
        observation, success = self._simulator.step(np.asarray(action, np.float32))
        self._steps, self._picture = self._steps + 1, None
        ended = bool(success) or is_over(self._simulator)
        late = self._steps >= self._max_episode_steps
        return _sent(observation), float(success), ended, late and not ended, {"is_success": bool(success)}

    def render(self) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The scene now, (height, width, 3); drawn once a step, since LeRobot asks again when the episode has ended."""
        if self._picture is None:
            self._picture = self._simulator.render()
        return self._picture

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    @property
    def _simulator(self) -> Environment:
        if self._environment is None:
            self._environment = self.suite.make(self._task)
        return self._environment


def key_of(name: str, feature: Feature, suite: str) -> str:
    """What a feature is called in a Gymnasium environment, from which LeRobot makes its own name again.

    Raises:
        SuiteError: there is no such key.
    """
    if name in KEYS and (name != IMAGE or feature.dtype == "uint8"):
        return KEYS[name]
    pictured = kind_of(name, feature) in PICTURES
    if name.startswith(IMAGES) and pictured and feature.dtype == "uint8":
        return PIXELS
    if pictured or not name.startswith(OBSERVATION):
        raise SuiteError(
            f"suite {suite!r} observes {name!r} ({feature.dtype}), which LeRobot's environments cannot hand on: call "
            f"pictures {IMAGES}CAMERA and give them in uint8, and call all else {OBSERVATION}NAME"
        )
    return name.removeprefix(OBSERVATION)


def observation_space(suite: Suite) -> DictSpace:
    """The space of what an environment of the suite hands on."""
    spaces: dict[str, Any] = {}
    cameras: dict[str, Any] = {}
    for name, feature in suite.features.items():
        if name == ACTION:
            continue
        key = key_of(name, feature, suite.name)
        space = _pixels(feature) if key == PIXELS else Box(-np.inf, np.inf, feature.shape, np.float32)
        if name.startswith(IMAGES):
            cameras[name.removeprefix(IMAGES)] = space
        else:
            spaces[key] = space
    if cameras and PIXELS in spaces:
        raise SuiteError(f"suite {suite.name!r} observes {IMAGE!r} beside {IMAGES}CAMERA: give all cameras a name")
    return DictSpace({**spaces, PIXELS: DictSpace(cameras)} if cameras else spaces)


def _pixels(feature: Feature) -> Box:
    return Box(0, 255, feature.shape, np.uint8)


def _sent(observation: Observation) -> dict[str, Any]:
    """An observation under the keys that LeRobot looks for."""
    sent: dict[str, Any] = {}
    for name, values in observation.items():
        if name.startswith(IMAGES):
            sent.setdefault(PIXELS, {})[name.removeprefix(IMAGES)] = np.asarray(values)
        elif name == IMAGE:
            sent[PIXELS] = np.asarray(values)
        else:
            sent[KEYS.get(name, name.removeprefix(OBSERVATION))] = np.asarray(values, np.float32)
    return sent


def _actions(suite: Suite) -> Box:
    """Numbers in [-1, 1], or without bounds where the suite takes actions in the robot's own units."""
    bound = np.inf if ACTION in suite.scales else 1.0
    return Box(-bound, bound, suite.features[ACTION].shape, np.float32)


def _type(name: str, feature: Feature) -> FeatureType:
    if name == ACTION:
        return FeatureType.ACTION
    if kind_of(name, feature) in PICTURES:
        return FeatureType.VISUAL
    return FeatureType.ENV if name == ENVIRONMENT_STATE else FeatureType.STATE
