"""A suite whose scripted experts act instead of whoever is asked: so they are measured by the one rollout loop, on the
same initial states as any policy, without noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import ACTION, Array, Environment, Observation, SettingError, Split, Suite, Task, is_over

ExpertIn = Callable[[Any], Callable[[], Array]]
"""A suite's method `expert_in`: an environment that was just reset -> what gives the expert's action (A,) at each step,
in the suite's units."""


def expert_in(suite: Suite) -> ExpertIn:
    """How a suite's expert acts in an environment.

    Raises:
        SettingError: it has none.
    """
    ask: ExpertIn | None = getattr(suite, "expert_in", None)
    if ask is None:
        raise SettingError(
            f"suite {suite.name!r} has no scripted expert that could act on test states: leave out the method expert"
        )
    return ask


class Driven:
    """The same suite with an expert at the wheel; what else it has is the suite's own.

    Raises:
        SettingError: it has no expert.
    """

    def __init__(self, suite: Suite) -> None:
        self._suite, self._ask = suite, expert_in(suite)
        self.name, self.tasks, self.horizon = suite.name, suite.tasks, suite.horizon
        self.features, self.scales = suite.features, suite.scales
        self.memory: int | None = getattr(suite, "memory", None)

    def make(self, task: Task) -> DrivenEnvironment:
        """One environment with `task` in it, which the expert acts in."""
        return DrivenEnvironment(self._suite.make(task), self._ask)

    def versions(self) -> dict[str, str]:
        return self._suite.versions()

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Any:
        return self._suite.demonstrate(task, episodes, seed, noise)


class DrivenEnvironment:
    """An environment in which the expert's action is executed, whatever action is given."""

    def __init__(self, environment: Environment, ask: ExpertIn) -> None:
        self._environment, self._ask = environment, ask
        self._act: Callable[[], Array] | None = None

    @property
    def over(self) -> bool:
        return is_over(self._environment)

    def reset(self, split: Split, index: int) -> Observation:
        observation = self._environment.reset(split, index)
        self._act = self._ask(self._environment)
        return observation

    def step(self, action: Array) -> tuple[Observation, bool]:
        assert self._act is not None, "a step before any reset"
        # As demonstrations store it: in float32.
        return self._environment.step(self._act().astype(np.float32).astype(np.float64))

    def render(self) -> NDArray[np.uint8]:
        return self._environment.render()

    def close(self) -> None:
        self._environment.close()


class Passenger:
    """An actor whose actions nobody executes; implements `types.Actor`."""

    def __init__(self, suite: Suite) -> None:
        self._action = suite.features[ACTION]

    def start(self, batch: int) -> int:
        return batch

    def act(self, observation: Observation, memory: int) -> Array:
        return np.zeros((memory, *self._action.shape), self._action.dtype)
