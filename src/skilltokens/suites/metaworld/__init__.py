"""Meta-World v3: 50 manipulation tasks of a Sawyer arm, with scripted experts; seen by poses, or through two cameras.

This file describes the suite and needs no simulator; environment.py holds the simulator and is imported
when an environment is made. Source: Meta-World (arXiv 1910.10897), package metaworld 3.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skilltokens.simulation.experts import AFTER_SUCCESS, one_attempt, successes
from skilltokens.suites.metaworld.cameras import FEATURES as PICTURED
from skilltokens.suites.metaworld.wordings import TASKS
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Array, Episode, Feature, Scale, SuiteError, Task

if TYPE_CHECKING:
    from skilltokens.suites.metaworld.environment import MetaWorldEnvironment

PICTURES = "1"
"""Version of the pictures: raised by every change that makes another picture of the same scene."""
EXPERTS = "1"
"""Version of the experts: raised by every change that makes other demonstrations of the same settings."""

_WORKSPACE = (0.0, 0.65, 0.12)
"""The middle (x, y, z) of where hands and objects move over Meta-World's table, in metres; the same for every task."""
_REACH = 0.06
"""Metres that make one unit of a scaled position."""
_POSITION = tuple(zip(_WORKSPACE, (_REACH,) * 3, strict=True))
_AS_IT_IS = ((0.0, 1.0),)
"""The scale of one number that is not changed: center 0, unit 1."""


def _scale(*entries: tuple[tuple[float, float], ...]) -> Scale:
    """A Scale from the (center, unit) of every number, entry by entry."""
    pairs = [pair for entry in entries for pair in entry]
    return Scale(tuple(center for center, _ in pairs), tuple(unit for _, unit in pairs))


_HAND = _scale(_POSITION, _AS_IT_IS)
"""Of `observation.state`."""


class _MetaWorld:
    """What both suites have in common: tasks, actions, episodes and experts.

    An action is (dx, dy, dz in centimetres, gripper: -1 opens, 1 closes).
    """

    name: str
    images: bool
    tasks: tuple[Task, ...] = TASKS
    horizon: int = 500
    suffix: str = "-v3"
    """What Meta-World's own names of its tasks end in: "push-v3" is the task "push"."""
    action_units: Scale = Scale((0.0,) * 4, (0.01, 0.01, 0.01, 1.0))
    """What an action of 1 does: metres, and the gripper's own effort."""
    frequency: float = 80.0
    """Steps a second: five of MuJoCo's 2.5 ms each."""

    def make(self, task: Task) -> MetaWorldEnvironment:
        """One simulator with `task` in it.

        Raises:
            SuiteError: Meta-World is not installed.
        """
        return _simulator().MetaWorldEnvironment(task.name, self.images)

    def versions(self) -> dict[str, str]:
        """Versions of Meta-World (environments and experts) and MuJoCo. Raises SuiteError where one is missing."""
        try:
            versions = {package: importlib.metadata.version(package) for package in ("metaworld", "mujoco")}
        except importlib.metadata.PackageNotFoundError as problem:
            raise _not_installed() from problem
        pictures = {"metaworld-pictures": PICTURES} if self.images else {}
        return {**versions, "metaworld-experts": EXPERTS, **pictures}

    def expert_in(self, environment: MetaWorldEnvironment) -> Callable[[], Array]:
        """What gives the scripted expert's action (4,), clipped to [-1, 1], in an environment that was just reset."""
        return functools.partial(_clipped, _simulator().expert(environment.task), environment)

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        """Episodes in which Meta-World's scripted expert succeeds; the first n are the same whatever comes after.

        The expert's action, clipped to [-1, 1], is what is stored; what is executed has Gaussian noise of standard
        deviation `noise` added and is clipped again. So the stored actions are clean, and they show how to recover
        from states that a perfect expert would never see. An episode goes on for `AFTER_SUCCESS` steps past success;
        a failed one is left out.

        Raises:
            SuiteError: Meta-World is not installed, or the expert fails far more often than it succeeds.
        """
        expert = _simulator().expert(task.name)
        with contextlib.closing(self.make(task)) as environment:
            attempt_at = functools.partial(_attempt, environment, expert, noise=noise)
            yield from successes(self.name, task.name, attempt_at, episodes, seed, noise)


class MetaWorld(_MetaWorld):
    """The suite `metaworld`: low-dimensional observations, the goal visible, 500 steps at most.

    `observation.state` is (hand x, y, z in metres, gripper opening 0 to 1); `observation.environment_state` is two
    objects of (x, y, z in metres, quaternion), zeros where a task has one object, and the goal's (x, y, z).
    """

    name = "metaworld"
    images = False

    def __init__(self) -> None:
        self.features: Mapping[str, Feature] = {
            STATE: Feature((4,)),
            ENVIRONMENT_STATE: Feature((17,)),
            ACTION: Feature((4,)),
        }
        self.scales: Mapping[str, Scale] = {
            STATE: _HAND,
            ENVIRONMENT_STATE: _scale(_POSITION, _AS_IT_IS * 4, _POSITION, _AS_IT_IS * 4, _POSITION),
        }
        self.places: Mapping[str, tuple[int, ...]] = {STATE: (0,), ENVIRONMENT_STATE: (0, 7, 14)}
        """Hand; both objects and the goal."""

    def from_hand(self, observation: Mapping[str, Array]) -> Array:
        """Where the first object lies from the hand, in units of scaled places, and the gripper's opening (n, 4)."""
        hand, things = observation[STATE], observation[ENVIRONMENT_STATE]
        return np.concatenate([(things[:, :3] - hand[:, :3]) / _REACH, hand[:, 3:]], 1)


class MetaWorldImages(_MetaWorld):
    """The suite `metaworld-images`: the same episodes, seen through two cameras (cameras.py) and the hand's own state.

    Where a task's goal is drawn in the scene, it is in the pictures; its numbers are not observed.
    """

    name = "metaworld-images"
    images = True

    def __init__(self) -> None:
        self.features: Mapping[str, Feature] = {STATE: Feature((4,)), **PICTURED, ACTION: Feature((4,))}
        self.scales: Mapping[str, Scale] = {STATE: _HAND}


def _attempt(environment: MetaWorldEnvironment, expert: Any, index: int, noise: float) -> Episode | None:
    """One episode of the expert on initial state `index` of the split "train"; None where it fails."""
    return one_attempt(
        environment,
        environment.reset("train", index),
        functools.partial(_clipped, expert, environment),
        seed=episode_seed("metaworld", environment.task, "train", index),
        noise=noise,
        limit=environment.horizon,
        after_success=AFTER_SUCCESS,
    )


def _clipped(expert: Any, environment: MetaWorldEnvironment) -> Array:
    """The expert's action (4,) now, in [-1, 1]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experts warn of actions beyond [-1, 1]; clipping them is the design
        return np.clip(np.asarray(expert.get_action(environment.raw), dtype=np.float64), -1, 1)


def _simulator():
    """The module that holds the simulator, imported on first use."""
    try:
        from skilltokens.suites.metaworld import environment as metaworld_environment
    except ImportError as problem:
        raise _not_installed() from problem
    return metaworld_environment


def _not_installed() -> SuiteError:
    return SuiteError('the suite metaworld needs its simulator: run `pip install "skilltokens[metaworld]"`')
