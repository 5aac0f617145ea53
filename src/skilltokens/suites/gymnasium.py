"""Your own Gymnasium environments as a suite: a success flag, and demonstrations in a folder or by an expert.

docs/adding-a-suite.md shows a whole suite in 30 lines.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from skilltokens.demos import DemonstrationStore, workspace_statistics
from skilltokens.demos.kinds import NUMBERS, difference, kind_of, remedy, shown
from skilltokens.simulation.experts import one_attempt, successes
from skilltokens.suites.gymnasium_actions import ActionRange, Units
from skilltokens.suites.gymnasium_calls import Calls, limit_of, made
from skilltokens.suites.gymnasium_environment import FeaturesOnly, GymnasiumEnvironment
from skilltokens.suites.gymnasium_flags import Flag, choose, no_flag
from skilltokens.suites.gymnasium_reading import Part, Reader
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import ACTION, STATE, Array, Episode, Feature, Scale, SuiteError, Task

Expert = Callable[[Any], Array]
"""The environment's own observation -> an action (A,) in the suite's units: in [-1, 1], or the environment's own."""


class GymnasiumSuite:
    """Tasks of one robot, each a Gymnasium environment whose `info` has a success flag.

    Actions are in [-1, 1] here and in the demonstrations, and are mapped to the bounds of the environment's own
    action box; or in the environment's own units (`actions="own"`), and are clipped to that box. An episode's seed is a
    function of (suite, task, split, index) and goes to `reset(seed=...)`; `skilltokens.suites.conformance.check_suite`
    tests whether the environment draws everything from it.
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
        success: str | None = None,
        actions: Units = "normalised",
        horizon: int | None = None,
        scales: Mapping[str, Scale] | None = None,
        versions: Mapping[str, str] | None = None,
        reward: bool = True,
        scenes: Mapping[str, str] | None = None,
    ) -> None:
        """Makes one environment, to read its spaces, and takes a step in it, to see its success flag.

        Args:
            make: task name -> a new environment; a function at the top of a module, so that workers find it.
            tasks: name -> instruction, or tasks with further wordings.
            demonstrations: the folder with one store for each task, in a folder of the task's name.
            expert: task name -> a policy that demonstrates, instead of a folder of demonstrations.
            observation: feature -> part of the environment's observation: entries of a vector, or a key of a
                dictionary ("goal/xy" for one in another). Where left out, all of it is `observation.state`.
            success: the key of `info` that says whether the task is done, at every step or at the last of an episode.
                Left out: `is_success` or `success`, the first that holds a truth value.
            actions: "normalised": in [-1, 1]; "own": in the environment's own units, as robots record them.
                `scales["action"]` then says what a policy's own 1 is: half of the action box, or statistics of the
                demonstrations' actions where it has no bounds.
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
            SuiteError: the spaces do not fit, there is no success flag, or the environment raised.
            DemonstrationError: a store in the folder is damaged, or its features differ from the others'.
        """
        self.name = name
        self.tasks: tuple[Task, ...] = (
            tuple(Task(*pair) for pair in tasks.items()) if isinstance(tasks, Mapping) else tuple(tasks)
        )
        if not self.tasks:
            raise SuiteError(f"suite {name!r} has no tasks: give at least one")
        self._make, self._expert = make, expert
        self.units: Units = actions
        self._folder = None if demonstrations is None else Path(demonstrations)
        self._parts: dict[str, Part] = dict(observation or {STATE: slice(None)})
        self._versions, self.reward = dict(versions or {}), reward
        self._scenes = dict(scenes or {})
        calls = self._calls(self.tasks[0])
        try:
            reader = self._reader(calls)
            self.range = self._range(calls)
            """What the environments take, and the units of this suite's actions."""
            limit = horizon or limit_of(calls.environment)
            if not limit or limit < 1:
                raise SuiteError(f"suite {name!r} has no limit of steps: give horizon, a number of 1 or more")
            self.horizon: int = limit
            self.flag = Flag(success) if success is not None else _flag(calls, self.range, limit)
            """What says that a task is done."""
        finally:
            with contextlib.suppress(SuiteError):  # what went wrong before is the one to tell
                calls.close()
        self.features: Mapping[str, Feature] = {**reader.features, ACTION: Feature(self.range.low.shape)}
        constants = dict(scales) if scales is not None else self._statistics()
        if actions == "own" and ACTION not in constants:
            constants[ACTION] = self._action_scale()
        self.scales: Mapping[str, Scale] = constants

    def make(self, task: Task) -> GymnasiumEnvironment:
        """One environment with `task` in it.

        Raises:
            SuiteError: it cannot be made, or observes something else than that of the first task.
        """
        calls = self._calls(task)
        reader, actions = self._reader(calls), self._range(calls)
        reader.check(self.features)
        return GymnasiumEnvironment(self.name, task.name, calls, reader, actions, self.flag, self.horizon)

    def rewarded(self, task: Task) -> gymnasium.Env[Any, Any]:
        """An environment to learn in from reward: its own reward, the suite's features and actions.

        Raises:
            SuiteError: see `make`.
        """
        calls = self._calls(task)
        reader, actions = self._reader(calls), self._range(calls)
        reader.check(self.features)
        return FeaturesOnly(calls, reader, actions, self.flag)

    @property
    def action_units(self) -> Scale | None:
        """What the environments' own range of actions is; None where it has no bounds."""
        return self.range.scale

    def remarks(self) -> list[str]:
        """What is worth saying before anything is learned or measured: how the success flag was chosen."""
        sentence = self.flag.sentence(f"suite {self.name!r}")
        return [sentence] if sentence else []

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

    def _calls(self, task: Task) -> Calls:
        where = self._where(task)
        return Calls(made(functools.partial(self._make, task.name), where), where)

    def _where(self, task: Task) -> str:
        """What messages call an environment."""
        return f"the environment of {self.name} task {task.name!r}"

    def _reader(self, calls: Calls) -> Reader:
        return Reader(calls.environment.observation_space, self._parts, calls.name)

    def _range(self, calls: Calls) -> ActionRange:
        return ActionRange.of(calls.environment.action_space, self.units, calls.name)

    def _stores(self) -> list[DemonstrationStore]:
        """All demonstrations in the folder now."""
        folder = self._folder
        tasks = [] if folder is None else [task for task in self.tasks if (folder / task.name).is_dir()]
        return [store for task in tasks if (store := self.store(task)) is not None]

    def _action_scale(self) -> Scale:
        """The bounds of the action box as center and unit; what the demonstrations' actions say where it has none."""
        if self.range.scale is not None:
            return self.range.scale
        stores = self._stores()
        if not stores:
            raise SuiteError(
                f"suite {self.name!r} has actions without bounds, and no demonstrations to measure them on: give "
                f'scales with an entry for "{ACTION}"'
            )
        width = len(self.range.low)
        return workspace_statistics(stores).get(ACTION, Scale((0.0,) * width, (1.0,) * width))

    def _statistics(self) -> dict[str, Scale]:
        """Constants of what is observed, from all demonstrations in the folder; 0 and 1 as long as there are none."""
        stores = self._stores()
        if stores:
            return {name: scale for name, scale in workspace_statistics(stores).items() if name != ACTION}
        widths = {n: f.shape[-1] for n, f in self.features.items() if n != ACTION and kind_of(n, f) in NUMBERS}
        return {name: Scale((0.0,) * width, (1.0,) * width) for name, width in widths.items()}


def _attempt(environment: GymnasiumEnvironment, expert: Expert, index: int, noise: float) -> Episode | None:
    """One episode of the expert on initial state `index` of the split "train"; None where it fails."""
    low, high, unit = environment.actions.suites_own()
    return one_attempt(
        environment,
        environment.reset("train", index),
        lambda: np.clip(np.asarray(expert(environment.raw), dtype=np.float32), low, high),
        seed=episode_seed(environment.suite, environment.task, "train", index),
        noise=noise * unit,
        limit=environment.horizon,
    )


def _flag(calls: Calls, actions: ActionRange, limit: int) -> Flag:
    """The flag that says that the task is done, seen in the first step of an episode, or at its end.

    Raises:
        SuiteError: neither key holds a truth value.
    """
    calls.reset(0)
    info: dict[str, Any] = {}
    for step in range(limit):
        _, _, terminated, truncated, info = calls.step(actions.idle())
        ended = terminated or truncated
        flag = choose(info, last=step > 0) if step == 0 or ended else None
        if flag is not None:
            return flag
        if ended:
            break
    raise no_flag(info, calls.name)
