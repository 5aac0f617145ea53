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

from skilltokens.demos import DemonstrationStore, workspace_statistics
from skilltokens.demos.kinds import NUMBERS, difference, kind_of, remedy, shown
from skilltokens.simulation.experts import one_attempt, successes
from skilltokens.suites.gymnasium_environment import FeaturesOnly, GymnasiumEnvironment, Part, part_space
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import ACTION, STATE, Array, Episode, Feature, Scale, SuiteError, Task

Expert = Callable[[Any], Array]
"""The environment's own observation -> an action (A,) in [-1, 1]."""


class GymnasiumSuite:
    """Tasks of one robot, each a Gymnasium environment whose `info` has a success flag.

    Actions are in [-1, 1] here and in the demonstrations, and are mapped to the bounds of the environment's own
    action box. An episode's seed is a function of (suite, task, split, index) and goes to `reset(seed=...)`;
    `skilltokens.suites.conformance.check_suite` tests whether the environment draws everything from it.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[str], gymnasium.Env[Any, Any]],
        tasks: Mapping[str, str] | Sequence[Task],
        *,
        demonstrations: str | Path | None = None,
        expert: Callable[[str], Expert] | None = None,
        observation: Mapping[str, Part] | None = None,
        success: str = "is_success",
        horizon: int | None = None,
        scales: Mapping[str, Scale] | None = None,
        versions: Mapping[str, str] | None = None,
        reward: bool = True,
        scenes: Mapping[str, str] | None = None,
    ) -> None:
        """Makes one environment, to read its spaces.

        Args:
            make: task name -> a new environment; a function at the top of a module, so that workers find it.
            tasks: name -> instruction, or tasks with further wordings.
            demonstrations: the folder with one store for each task, in a folder of the task's name.
            expert: task name -> a policy that demonstrates, instead of a folder of demonstrations.
            observation: feature -> part of the environment's observation: entries of a vector, or a key of a
                dictionary. Where left out, all of it is `observation.state`.
            success: the key of `info` that says whether the task is done.
            horizon: most steps of an episode; the environment's own limit where left out.
            scales: constants of the robot and its workspace; the policy sees (x - center) / unit. They must stay the
                same for all skills of a library, so give them; where left out, they are statistics of all
                demonstrations that are in the folder now.
            versions: of the robot and the environments, which are stored with runs and demonstrations.
            reward: whether the environments' own reward is worth learning from; where not, `skilltokens adapt` learns
                from success alone.
            scenes: task name -> where it is done, in words that go behind its instruction where a run asks for them by
                `--context scene`: "at the left table".

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
        self._parts: dict[str, Part] = dict(observation or {STATE: slice(None)})
        self._versions, self.reward = dict(versions or {}), reward
        self._scenes = dict(scenes or {})
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
            self.name, task.name, self._make(task.name), self._parts, self.features, self._success, self.horizon
        )

    def rewarded(self, task: Task) -> gymnasium.Env[Any, Any]:
        """An environment to learn in from reward: its own reward and action space, and the suite's features."""
        return FeaturesOnly(self._make(task.name), self._parts, self.features, f"{self.name} task {task.name!r}")

    def scene(self, task: Task) -> str:
        """Where the task is done, in words; empty where `scenes` does not say."""
        return self._scenes.get(task.name, "")

    def versions(self) -> dict[str, str]:
        """The version of Gymnasium, and the suite's own `versions`."""
        return {"gymnasium": importlib.metadata.version("gymnasium"), **self._versions}

    def store(self, task: Task) -> DemonstrationStore | None:
        """The demonstrations of `task` in the suite's folder; None for a suite without one, whose expert makes them.

        Raises:
            DemonstrationError: they are damaged, or not there.
            SuiteError: they have other features than the environments.
        """
        if self._folder is None:
            return None
        store = DemonstrationStore.open(self._folder / task.name)
        name = difference(self.features, store.features)
        if name is not None:
            ours, theirs = self.features.get(name), store.features.get(name)
            raise SuiteError(
                f"{store.path} has the feature {name!r} {shown(theirs)} where the environments of suite {self.name!r} "
                f"have {shown(ours)}: make both the same{remedy(ours, theirs)}"
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
        for name, part in self._parts.items():
            space = part_space(environment.observation_space, part, self.name)
            kind = "uint8" if space.dtype == np.uint8 and len(space.shape) == 3 else "float32"  # numbers are floats
            features[name] = Feature(space.shape, kind)
        action = environment.action_space
        if not isinstance(action, Box) or len(action.shape) != 1 or not action.is_bounded():
            raise SuiteError(f"suite {self.name!r} has the action space {action} where a bounded vector is needed")
        return {**features, ACTION: Feature(action.shape)}

    def _statistics(self) -> dict[str, Scale]:
        """Constants from all demonstrations in the folder; 0 and 1 as long as there are none."""
        folder = self._folder
        tasks = [] if folder is None else [task for task in self.tasks if (folder / task.name).is_dir()]
        stores = [store for task in tasks if (store := self.store(task)) is not None]
        if stores:
            return workspace_statistics(stores)
        widths = {n: f.shape[-1] for n, f in self.features.items() if n != ACTION and kind_of(n, f) in NUMBERS}
        return {name: Scale((0.0,) * width, (1.0,) * width) for name, width in widths.items()}


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
