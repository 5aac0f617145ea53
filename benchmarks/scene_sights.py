"""What is seen at the start of an episode of Meta-World or LIBERO, with the robot moved in three ways."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skilltokens.skills.scene import FIRST
from skilltokens.suites.names import CW10
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import Array, Environment, Observation, Split

MOVERS = {"expert": "the task's expert", "still": "nobody", "wrong": "another skill"}
"""Who moves the robot. On Meta-World the other skills are experts of CW10's other tasks, which take turns; on LIBERO,
whose experts work in their own scene alone, the hand goes in a straight line that is drawn anew for each episode."""

CAMERA = "observation.images.corner2"

Sights = dict[str, Array]
"""Episodes of one task: feature -> (episodes, FIRST, *shape)."""
Act = Callable[[], Array]


def metaworld_sights(task: str, split: Split, episodes: int) -> dict[str, Sights]:
    """What is seen of a task of Meta-World, for each of MOVERS."""
    from skilltokens.suites.metaworld.environment import MetaWorldEnvironment, expert

    others = [name for name in CW10 if name != task]
    with contextlib.closing(MetaWorldEnvironment(task)) as environment:

        def by(name: str) -> Act:
            policy: Any = expert(name)
            return lambda: np.clip(policy.get_action(environment.raw), -1, 1)

        movers: dict[str, Callable[[int], Act]] = {
            "expert": lambda index: by(task),
            "still": lambda index: lambda: np.zeros(4),
            "wrong": lambda index: by(others[index % len(others)]),
        }
        return {name: _seen(environment, split, range(episodes), start) for name, start in movers.items()}


def libero_sights(suite: str, task: str, demonstrations: int, episodes: int) -> dict[str, Sights]:
    """What is seen of a task of LIBERO in the split "test", for each of MOVERS; "taught" is seen in demonstrations.

    These are only begun: with the expert's default noise, on states of the split "train", without a look whether it
    succeeds in the end.
    """
    from skilltokens.suites.libero.environment import LiberoEnvironment
    from skilltokens.suites.libero.experts import expert

    with contextlib.closing(LiberoEnvironment(suite, task)) as environment:

        def by(noise: float, split: Split, index: int) -> Act:
            policy = expert(environment, noise)
            generator = np.random.default_rng([episode_seed(suite, task, split, index), 1])
            still = np.zeros(1)
            return lambda: np.add(policy.act(), np.append(noise * generator.standard_normal(6), still))

        def line(index: int) -> Act:
            way = np.random.default_rng([episode_seed(suite, task, "test", index), 2]).standard_normal(3)
            action = np.concatenate([way / np.linalg.norm(way), np.zeros(3), [-1.0]])
            return lambda: action

        movers: dict[str, Callable[[int], Act]] = {
            "expert": lambda index: by(0.0, "test", index),
            "still": lambda index: lambda: np.zeros(7),
            "wrong": line,
        }
        sights = {name: _seen(environment, "test", range(episodes), start) for name, start in movers.items()}
        taught = _seen(environment, "train", range(demonstrations), lambda index: by(0.1, "train", index))
        return {**sights, "taught": taught}


def pictured(task: str, split: Split, episodes: int) -> Sights:
    """The first picture of each episode of a task of Meta-World, through the camera corner2 and 80 x 80 wide."""
    from skilltokens.suites.metaworld.environment import MetaWorldEnvironment

    pictures = []
    with contextlib.closing(MetaWorldEnvironment(task)) as environment:
        for index in range(episodes):
            environment.reset(split, index)
            pictures.append(environment.render()[None, ::2, ::2])
    return {CAMERA: np.stack(pictures)}


def noisy(sights: Sights, deviation: float, seed: int) -> Sights:
    """The same, read by a sensor that adds Gaussian noise to every number."""
    generator = np.random.default_rng(seed)
    return {
        name: (values + deviation * generator.standard_normal(values.shape)).astype(np.float32)
        for name, values in sights.items()
    }


def _seen(environment: Environment, split: Split, indices: Sequence[int], start: Callable[[int], Act]) -> Sights:
    episodes = [_watched(environment, split, index, start) for index in indices]
    return {name: np.stack([np.stack([seen[name] for seen in e]) for e in episodes]) for name in episodes[0][0]}


def _watched(environment: Environment, split: Split, index: int, start: Callable[[int], Act]) -> list[Observation]:
    """The first observations of one episode."""
    observed = [environment.reset(split, index)]
    act = start(index)  # LIBERO's experts look at the scene when they are made
    while len(observed) < FIRST:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experts warn of actions beyond [-1, 1]
            observed.append(environment.step(np.clip(act(), -1, 1))[0])
    return observed
