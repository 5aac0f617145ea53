"""The one loop of expert demonstrations: clean actions stored, noisy ones executed, failures left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.toy import TASKS, Table

from skilltokens.simulation.experts import one_attempt, successes
from skilltokens.types import ACTION, STATE, Array, Episode, Observation, SuiteError

EPISODE = Episode({ACTION: np.zeros((1, 2), np.float32)})


class Endless(Table):
    """Can be stepped after success, and keeps what was executed. It falls at step `falls`."""

    falls = 0

    def __init__(self) -> None:
        super().__init__(TASKS[0], 40)
        self.executed: list[Array] = []

    def step(self, action: Array) -> tuple[Observation, bool]:
        self.done = False
        self.executed.append(np.array(action))
        return super().step(action)

    @property
    def over(self) -> bool:
        return self.steps == self.falls


def attempted(table: Endless, noise: float = 0.0, limit: int = 40, **settings) -> Episode | None:
    table.executed.clear()
    observation = table.reset("train", 0)
    return one_attempt(table, observation, table.expert, seed=5, noise=noise, limit=limit, **settings)


@pytest.fixture
def table() -> Endless:
    return Endless()


def test_an_episode_ends_at_success_or_so_many_steps_later(table: Endless) -> None:
    short, longer = attempted(table), attempted(table, after_success=7)
    assert short is not None
    assert longer is not None
    assert len(longer) == len(short) + 7
    for name, values in short.features.items():
        np.testing.assert_array_equal(longer.features[name][: len(short)], values)


def test_the_limit_ends_an_episode_that_has_succeeded_and_fails_another(table: Endless) -> None:
    whole = attempted(table)
    assert whole is not None
    cut = attempted(table, limit=len(whole) + 2, after_success=7)
    assert cut is not None
    assert len(cut) == len(whole) + 2
    assert attempted(table, limit=len(whole) - 1) is None


def test_an_environment_that_ends_by_itself_is_not_stepped_on(table: Endless) -> None:
    table.falls = 2
    assert attempted(table) is None
    assert len(table.executed) == 2


def test_noise_is_executed_on_the_first_components_and_not_stored(table: Endless) -> None:
    episode = attempted(table, noise=0.2, noisy=1)
    assert episode is not None
    executed, stored = np.array(table.executed), episode.features[ACTION]
    noise = np.random.default_rng([5, 1]).standard_normal(len(episode))
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(executed[:, 1], stored[:, 1].astype(np.float64))
    np.testing.assert_array_equal(executed[:, 0], stored[:, 0].astype(np.float64) + 0.2 * noise)


def test_private_features_are_of_the_moment_before_the_step(table: Endless) -> None:
    episode = attempted(table, private=lambda: {"simulator.place": table.place.copy()})
    assert episode is not None
    np.testing.assert_array_equal(episode.features["simulator.place"].astype(np.float32), episode.features[STATE])


def every(period: int, indices: list[int]) -> Callable[[int], Episode | None]:
    """An attempt that succeeds every so often."""

    def attempt(index: int) -> Episode | None:
        indices.append(index)
        return EPISODE if len(indices) % period == 0 else None

    return attempt


def test_attempts_are_made_until_enough_succeed() -> None:
    indices: list[int] = []
    assert list(successes("toy", "push", every(3, indices), 4, 2, 0.1)) == [EPISODE] * 4
    assert indices == list(range(2_000_000, 2_000_012))


def test_an_expert_that_fails_too_often_is_given_up() -> None:
    indices: list[int] = []
    episodes = successes("toy", "push", every(20, indices), 3, 0, 0.25)
    assert [next(episodes), next(episodes)] == [EPISODE] * 2
    message = r"the expert of toy task 'push' fails too often: it succeeded in 2 of 51 attempts at noise 0\.25 where 3"
    with pytest.raises(SuiteError, match=message):
        next(episodes)
    assert len(indices) == 51
