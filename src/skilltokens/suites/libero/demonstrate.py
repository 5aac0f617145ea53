"""One demonstration of a LIBERO task by its scripted expert."""

from __future__ import annotations

from skilltokens.simulation.experts import AFTER_SUCCESS, one_attempt
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.experts import expert
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import SIMULATOR_STATE, Episode

LIMIT, LONG_LIMIT = 400, 600
"""Steps within which the expert must succeed, and those for the long tasks."""


def attempt(environment: LiberoEnvironment, index: int, noise: float) -> Episode | None:
    """The expert's episode on initial state `index` of the split "train"; None where it fails.

    The expert's action, clipped to [-1, 1], is what is stored; what is executed has Gaussian noise of standard
    deviation `noise` added to its six components of motion and is clipped again. So the stored actions are clean, and
    they show how to recover from states that a perfect expert would never see. An episode goes on for `AFTER_SUCCESS`
    steps past success.
    """
    observation = environment.reset("train", index)
    return one_attempt(
        environment,
        observation,
        expert(environment, noise).act,
        seed=episode_seed(environment.suite, environment.task, "train", index),
        noise=noise,
        limit=limit(environment.suite),
        noisy=6,
        after_success=AFTER_SUCCESS,
        private=lambda: {SIMULATOR_STATE: environment.state()},
    )


def limit(suite: str) -> int:
    """Steps within which the expert must succeed."""
    return LONG_LIMIT if suite.startswith("libero-10") else LIMIT
