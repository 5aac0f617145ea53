"""Your own Gymnasium environments as a suite: a success flag, and demonstrations in a folder or by an expert.

docs/adding-a-suite.md shows a whole suite in 30 lines.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from numpy.typing import NDArray

from skilltokens.demos import DemonstrationStore, workspace_statistics
from skilltokens.simulation.experts import one_attempt, successes
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import (
    ACTION,
    STATE,
    Array,
    Episode,
    Feature,
    Observation,
    Scale,
    Split,
    SuiteError,
    Task,
    nearest,
)

Pick = slice | str
"""Which part of the environment's observation makes a feature: entries of a vector, or a key of a dictionary."""

Expert = Callable[[Any], Array]
"""The environment's own observation -> an action (A,) in [-1, 1]."""


class GymnasiumSuite:
    """Tasks of one robot, each a Gymnasium environment whose `info` has a success flag.

    Actions are in [-1, 1] here and in the demonstrations, and are mapped to the bounds of the environment's own
    action box. An episode's seed is a function of (suite, task, split, index) and goes to `reset(seed=...)`; that the
    environment makes good use of it, `skilltokens.suites.check` finds out.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[str], gymnasium.Env[Any, Any]],
        tasks: Mapping[str, str] | Sequence[Task],
        *,
        demonstrations: str | Path | None = None,
        expert: Callable[[str], Expert] | None = None,
        observation: Mapping[str, Pick] | None = None,
        success: str = "is_success",
        horizon: int | None = None,
        scales: Mapping[str, Scale] | None = None,
        versions: Mapping[str, str] | None = None,
        reward: bool = True,
    ) -> None:
        """Makes one environment, to read its spaces.

        Args:
            make: task name -> a new environment; a function at the top of a module, so that workers find it.
            tasks: name -> instruction, or tasks with further wordings.
            demonstrations: the folder with one store for each task, in a folder of the task's name.
            expert: task name -> a policy that demonstrates, instead of a folder of demonstrations.
            observation: feature -> part of the observation; all of it is `observation.state` where left out.
            success: the key of `info` that says whether the task is done.
            horizon: most steps of an episode; the environment's own limit where left out.
            scales: constants of the robot and its workspace, best given: they must stay the same for all skills of a
                library. Where left out, statistics of all demonstrations that are in the folder now.
            versions: of the robot and the environments, to be kept with runs and demonstrations.
            reward: whether the environments' own reward is worth learning from; where not, `skilltokens adapt` learns
                from success alone.

        Raises:
            SuiteError: the spaces do not fit.
            DemonstrationError: a store in the folder is damaged, or its features differ from the others'.
        """
        self.name = name
        self.tasks: tuple[Task, ...] = (
            tuple(Task(*pair) for pair in tasks.items()) if isinstance(tasks, Mapping) else tuple(tasks)
        )
        if not self.tasks:
            raise SuiteError(f"suite {name!r} has no tasks: give at least one")
        self._make, self._expert, self._success = make, expert, success
        self._folder = None if demonstrations is None else Path(demonstrations)
        self._pick: dict[str, Pick] = dict(observation or {STATE: slice(None)})
        self._versions, self.reward = dict(versions or {}), reward
        environment = make(self.tasks[0].name)
        try:
            self.features: Mapping[str, Feature] = self._features(environment)
            limit = horizon or (environment.spec.max_episode_steps if environment.spec else None)
        finally:
            environment.close()
        if not limit or limit < 1:
            raise SuiteError(f"suite {name!r} has no limit of steps: give horizon, a number of 1 or more")
        self.horizon: int = limit
        self.scales: Mapping[str, Scale] = dict(scales) if scales is not None else self._statistics()

    def make(self, task: Task) -> GymnasiumEnvironment:
        """One environment with `task` in it."""
        return GymnasiumEnvironment(
            self.name, task.name, self._make(task.name), self._pick, self.features, self._success, self.horizon
        )

    def rewarded(self, task: Task) -> gymnasium.Env[Any, Any]:
        """The environment with its own reward and actions, for who learns from that, and the suite's features."""
        return _Featured(self._make(task.name), self._pick, self.features, f"{self.name} task {task.name!r}")

    def versions(self) -> dict[str, str]:
        """The version of Gymnasium, and what was given."""
        return {"gymnasium": importlib.metadata.version("gymnasium"), **self._versions}

    def store(self, task: Task) -> DemonstrationStore | None:
        """The user's own demonstrations of `task`; None for a suite whose expert makes them.

        Raises:
            DemonstrationError: they are damaged, or not there.
            SuiteError: they have other features than the environments.
        """
        if self._folder is None:
            return None
        store = DemonstrationStore.open(self._folder / task.name)
        if store.features != dict(self.features):
            raise SuiteError(
                f"{store.path} has the features {store.features} where the environments of suite {self.name!r} have "
                f"{dict(self.features)}: make both the same"
            )
        return store

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        """Successful episodes of the expert, its clean action stored, noise on the executed one only; without an
        expert, the first `episodes` of the user's own demonstrations.

        Raises:
            SuiteError: there is neither, there are too few, or the expert fails far more often than it succeeds.
        """
        if self._expert is None:
            store = self.store(task)
            if store is None or store.episodes < episodes:
                raise SuiteError(
                    f"suite {self.name!r} has {store.episodes if store else 0} demonstrations of {task.name!r} where "
                    f"{episodes} are needed: give a folder with more, or an expert"
                )
            yield from (store.episode(index) for index in range(episodes))
            return
        make_expert = self._expert
        with contextlib.closing(self.make(task)) as environment:
            yield from successes(
                self.name,
                task.name,
                lambda index: _attempt(environment, make_expert(task.name), index, noise),
                episodes,
                seed,
                noise,
            )

    def _features(self, environment: gymnasium.Env[Any, Any]) -> dict[str, Feature]:
        features: dict[str, Feature] = {}
        for name, pick in self._pick.items():
            space = _part(environment.observation_space, pick, self.name)
            kind = "uint8" if space.dtype == np.uint8 else "float32"
            features[name] = Feature(space.shape, kind)
        action = environment.action_space
        if not isinstance(action, Box) or len(action.shape) != 1 or not action.is_bounded():
            raise SuiteError(f"suite {self.name!r} has the action space {action} where a bounded vector is needed")
        return {**features, ACTION: Feature(action.shape)}

    def _statistics(self) -> dict[str, Scale]:
        """Constants from all demonstrations in the folder; 0 and 1 as long as there are none."""
        folder = self._folder
        there = [] if folder is None else [task for task in self.tasks if (folder / task.name).is_dir()]
        stores = [store for task in there if (store := self.store(task)) is not None]
        if stores:
            return workspace_statistics(stores)
        vectors = {n: f.shape[0] for n, f in self.features.items() if n != ACTION and f.dtype != "uint8"}
        return {name: Scale((0.0,) * width, (1.0,) * width) for name, width in vectors.items()}


class GymnasiumEnvironment:
    """One Gymnasium environment behind the protocol of suites. `raw` is its own latest observation."""

    def __init__(
        self,
        suite: str,
        task: str,
        environment: gymnasium.Env[Any, Any],
        pick: Mapping[str, Pick],
        features: Mapping[str, Feature],
        success: str,
        horizon: int,
    ) -> None:
        self.suite, self.task, self.horizon = suite, task, horizon
        self.raw: Any = None
        self._environment, self._pick, self._features, self._success = environment, pick, features, success
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
        wanted = (self._low + share * (self._high - self._low)).astype(self._dtype)
        self.raw, _, terminated, truncated, info = self._environment.step(wanted)
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
        return _picked(self.raw, self._pick, self._features, f"{self.suite} task {self.task!r}")


class _Featured(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Observes a suite's features."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], pick: Mapping[str, Pick], features: Mapping[str, Feature], where: str
    ) -> None:
        super().__init__(env)
        self._pick, self._features, self._where = pick, features, where
        self.observation_space = DictSpace({name: box(features[name].shape, features[name].dtype) for name in pick})

    def observation(self, observation: Any) -> dict[str, Array]:
        return _picked(observation, self._pick, self._features, self._where)


def box(shape: tuple[int, ...], dtype: str) -> Box:
    """The space of a feature: pictures in uint8, numbers without bounds."""
    return Box(0, 255, shape, np.uint8) if dtype == "uint8" else Box(-np.inf, np.inf, shape, np.float32)


def _picked(raw: Any, pick: Mapping[str, Pick], features: Mapping[str, Feature], where: str) -> dict[str, Array]:
    """The features of an environment's own observation."""
    observation: dict[str, Array] = {}
    for name, part_of in pick.items():
        part = np.array(raw[part_of], dtype=features[name].dtype)  # a copy: environments reuse arrays
        if part.shape != features[name].shape:
            raise SuiteError(
                f"{where} observes {name} of shape {part.shape} where the first task has {features[name].shape}: all "
                "tasks of a suite need the same observations"
            )
        observation[name] = part
    return observation


def _part(space: gymnasium.Space[Any], pick: Pick, suite: str) -> Box:
    """The part of an observation space that a feature comes from."""
    if isinstance(pick, str) and isinstance(space, DictSpace):
        if pick not in space.spaces:
            raise SuiteError(f"suite {suite!r}: there is no observation {pick!r}: {nearest(pick, list(space.spaces))}")
        part = space.spaces[pick]
    elif isinstance(pick, slice) and isinstance(space, Box):
        part = Box(space.low[pick], space.high[pick], dtype=space.dtype.type)
    else:
        part = space
    if not isinstance(part, Box) or isinstance(space, DictSpace) != isinstance(pick, str) or 0 in part.shape:
        raise SuiteError(
            f"suite {suite!r}: the observation space {space} has no part {pick!r}: use a slice for a vector, a key for "
            "a dictionary of vectors and images"
        )
    return part


def _attempt(environment: GymnasiumEnvironment, expert: Expert, index: int, noise: float) -> Episode | None:
    """One episode of the expert on initial state `index` of the split "train"; None where it fails."""
    return one_attempt(
        environment,
        environment.reset("train", index),
        lambda: np.clip(np.asarray(expert(environment.raw), dtype=np.float32), -1, 1),
        seed=episode_seed(environment.suite, environment.task, "train", index),
        noise=noise,
        limit=environment.horizon,
    )
