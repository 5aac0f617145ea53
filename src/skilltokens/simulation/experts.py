"""Demonstrations by an expert: attempts until enough of them succeed, its clean actions stored, noisy ones executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from skilltokens.simulation.signs import sign
from skilltokens.types import ACTION, Array, Environment, Episode, Observation, SuiteError, is_over

AFTER_SUCCESS = 10
"""Steps that a demonstration of a manipulation task goes on after success, so that a policy learns to stay there."""


def successes(
    suite: str, task: str, attempt: Callable[[int], Episode | None], episodes: int, seed: int, noise: float
) -> Iterator[Episode]:
    """The first `episodes` successful attempts; the first n are the same whatever comes after.

    Args:
        attempt: index of an initial state of the split "train" -> the expert's episode on it; None where it failed.

    Raises:
        SuiteError: the expert fails far more often than it succeeds.
    """
    count, attempts = 0, 0
    while count < episodes:
        if attempts > 20 + 10 * episodes:
            raise SuiteError(
                f"the expert of {suite} task {task!r} fails too often: it succeeded in {count} of {attempts} attempts "
                f"at noise {noise:g} where {episodes} demonstrations are needed; lower the noise"
            )
        episode = attempt(seed * 1_000_000 + attempts)
        attempts += 1
        sign()
        if episode is not None:
            count += 1
            yield episode


def one_attempt(
    environment: Environment,
    observation: Observation,
    act: Callable[[], Array],
    *,
    seed: int,
    noise: Array | float,
    limit: int,
    noisy: int | None = None,
    after_success: int = 0,
    private: Callable[[], Mapping[str, Array]] = dict,
) -> Episode | None:
    """The expert's episode in an environment that was just reset; None where it fails.

    The expert's action is what is stored; what is executed has Gaussian noise of standard deviation `noise` added, and
    the environment clips it. So the stored actions are clean, and they show how to recover from states that a perfect
    expert would never see.

    Args:
        observation: the first one.
        act: the expert's action (A,) now, in the suite's units.
        seed: the episode's; noise is drawn from a stream of its own.
        noise: one number, or one for each component (A,).
        limit: steps within which the expert must succeed.
        noisy: how many of the action's first components get noise; all where left out.
        after_success: steps that the episode goes on after its first success.
        private: further features of this step, asked for after `act` and before the step.
    """
    generator = np.random.default_rng([seed, 1])
    steps: list[Mapping[str, Array]] = []
    left: int | None = None
    for _ in range(limit):
        action = act().astype(np.float32)
        steps.append({**observation, ACTION: action, **private()})
        executed = action.astype(np.float64)
        deviations = np.broadcast_to(noise, executed.shape)[:noisy]
        executed[:noisy] += deviations * generator.standard_normal(deviations.shape)
        observation, success = environment.step(executed)
        sign()
        if left is not None:
            left -= 1
        elif success:
            left = after_success
        if left == 0 or is_over(environment):
            break
    if left is None:
        return None
    return Episode({name: np.stack([step[name] for step in steps]) for name in steps[0]})
