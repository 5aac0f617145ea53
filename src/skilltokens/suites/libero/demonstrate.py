"""One demonstration of a LIBERO task by its scripted expert."""

from __future__ import annotations

import numpy as np

from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.experts import expert
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import ACTION, SIMULATOR_STATE, Episode

AFTER_SUCCESS = 10
"""Steps that a demonstration goes on after success, so that a policy learns to stay there."""
LIMIT, LONG_LIMIT = 400, 600
"""Steps within which the expert must succeed, and those for the long tasks."""


def attempt(environment: LiberoEnvironment, index: int, noise: float) -> Episode | None:
    """The expert's episode on initial state `index` of the split "train"; None where it fails.

    The expert's action, clipped to [-1, 1], is what is stored; what is executed has Gaussian noise of standard
    deviation `noise` added to its six components of motion and is clipped again. So the stored actions are clean, and
    they show how to recover from states that a perfect expert would never see. An episode goes on for `AFTER_SUCCESS`
    steps past success.
    """
    generator = np.random.default_rng([episode_seed(environment.suite, environment.task, "train", index), 1])
    observation = environment.reset("train", index)
    actor = expert(environment, noise)
    steps: dict[str, list[np.ndarray]] = {}
    left: int | None = None
    for _ in range(limit(environment.suite)):
        action = actor.act().astype(np.float32)
        for name, values in {**observation, ACTION: action, SIMULATOR_STATE: environment.state()}.items():
            steps.setdefault(name, []).append(values)
        executed = action.astype(np.float64)
        executed[:6] += noise * generator.standard_normal(6)
        observation, success = environment.step(executed)
        if success and left is None:
            left = AFTER_SUCCESS
        elif left is not None:
            left -= 1
        if left == 0:
            break
    if left is None:
        return None
    return Episode({name: np.stack(values) for name, values in steps.items()})


def limit(suite: str) -> int:
    """Steps within which the expert must succeed."""
    return LONG_LIMIT if suite.startswith("libero-10") else LIMIT
