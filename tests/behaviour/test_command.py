"""What experts are told: commands that hold for a while, and a velocity that is measured on through their change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from skilltokens.behaviour.command import EPISODE, FREE_SECONDS, SECONDS, make_command
from skilltokens.suites.bodies import body_of
from skilltokens.types import ENVIRONMENT_STATE


def held(name: str, episodes: int) -> list[float]:
    """How long commands held, in seconds; but for the last ones, which the episodes' ends cut off."""
    env: Any = make_command(body_of(name), leap=False)
    draw, durations = np.random.default_rng(0), []
    for episode in range(episodes):
        env.reset(seed=episode)
        task, steps, over = env.unwrapped.task, [0], False
        while not over:
            before = task.target.copy()
            _, _, fallen, late, _ = env.step(draw.uniform(-0.3, 0.3, env.action_space.shape))
            over = fallen or late
            if (task.target != before).any():
                steps.append(env.unwrapped.steps)
        durations += [(later - earlier) * env.unwrapped.dt for earlier, later in pairwise(steps)]
    env.close()
    return durations


@pytest.mark.parametrize(("name", "seconds"), [("halfcheetah", SECONDS), ("ant", FREE_SECONDS)])
def test_a_command_holds_about_as_long_as_it_says(name: str, seconds: float):
    durations = held(name, 12)
    assert len(set(durations)) > 3
    assert all(0.5 * seconds - 0.05 <= duration <= min(1.5 * seconds, EPISODE) + 0.05 for duration in durations)


def test_how_fast_a_free_body_goes_does_not_begin_anew_with_a_command():
    env: Any = make_command(body_of("ant"), leap=False)
    env.reset(seed=0)
    task = env.unwrapped.task
    observation, until = {}, task.until
    while env.unwrapped.steps < until:
        observation, _, fallen, _, _ = env.step(np.full(8, 0.4 * np.sin(env.unwrapped.steps / 3)))
        assert not fallen
    assert task.until > until
    goal, missing = np.split(observation[ENVIRONMENT_STATE][:4], 2)
    seen = env.unwrapped.now.seen(task.stride.mean)
    np.testing.assert_allclose(goal - missing, seen, atol=1e-6)
    assert np.abs(task.stride.mean - env.unwrapped.now.velocity).max() > 1e-3  # a mean, not the latest step alone
    env.close()
