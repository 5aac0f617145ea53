"""The simulators of one group of episodes, moved by one request at a time; they may live in any process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilltokens.demos.kinds import wrong_observation
from skilltokens.simulation.blame import words_of
from skilltokens.simulation.signs import sign
from skilltokens.types import (
    ACTION,
    Array,
    Environment,
    Feature,
    Observation,
    SkilltokensError,
    Split,
    Suite,
    SuiteError,
    Task,
    is_over,
)


@dataclass(frozen=True)
class Reset:
    """Begin these episodes; they are the rows of what follows."""

    task: Task
    split: Split
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Apply `actions` (n, A) to the n episodes at `rows` of the last reset."""

    rows: tuple[int, ...]
    actions: Array


@dataclass(frozen=True)
class Reply:
    """What n episodes look like now: arrays (n, *shape), success flags (n,), and which have ended by themselves (n,).

    Both flags are False after a reset.
    """

    observation: dict[str, Array]
    success: NDArray[np.bool_]
    over: NDArray[np.bool_]


class Simulators:
    """The environments of one group of episodes, made when they are first needed and kept for the same task.

    Each episode that is reset or stepped is a sign of life (signs.py).

    Only the latest task's environments are kept, so memory is bounded by the largest group.
    """

    def __init__(self, suite: Suite):
        self.suite = suite
        self._features = {name: feature for name, feature in suite.features.items() if name != ACTION}
        self._environments: list[Environment] = []
        self._reset: Reset | None = None
        self._steps = 0

    def answer(self, request: Reset | Step) -> Reply:
        """Resets or steps.

        Raises:
            SuiteError: an environment raised, or returned something else than the suite's features.
        """
        return self.reset(request) if isinstance(request, Reset) else self.step(request)

    def reset(self, request: Reset) -> Reply:
        if self._reset is not None and self._reset.task != request.task:
            self.close()
        self._reset, self._steps = request, 0
        observations = []
        for row, index in enumerate(request.indices):
            with self.blaming(index):
                if row == len(self._environments):
                    self._environments.append(self.suite.make(request.task))
                observations.append(checked(self._environments[row].reset(request.split, index), self._features))
            sign()
        never = [False] * len(observations)
        return self._reply(observations, never, never)

    def step(self, request: Step) -> Reply:
        assert self._reset is not None, "a step before any reset"
        self._steps += 1
        observations, successes, over = [], [], []
        for row, action in zip(request.rows, request.actions, strict=True):
            with self.blaming(self._reset.indices[row]):
                observation, success = self._environments[row].step(action)
                observations.append(checked(observation, self._features))
                successes.append(bool(success))
                over.append(is_over(self._environments[row]))
            sign()
        return self._reply(observations, successes, over)

    def place(self, request: Reset | Step, done: int) -> str:
        """Where in a request that is being answered: at which episode and step, when `done` episodes are."""
        reset = request if isinstance(request, Reset) else self._reset
        assert reset is not None, "a step before any reset"
        rows = range(len(reset.indices)) if isinstance(request, Reset) else request.rows
        moment = "reset" if isinstance(request, Reset) else f"step {self._steps}"
        index = reset.indices[rows[min(done, len(rows) - 1)]]
        return f"{self.suite.name} task {reset.task.name!r}, episode {index} of split {reset.split!r}, {moment}"

    def picture(self) -> NDArray[np.uint8]:
        """The scene of the first episode now, (height, width, 3)."""
        assert self._reset is not None, "a picture before any reset"
        with self.blaming(self._reset.indices[0]):
            return np.asarray(self._environments[0].render(), np.uint8)

    def close(self) -> None:
        """Closes all environments."""
        while self._environments:
            self._environments.pop().close()
        self._reset = None

    @contextlib.contextmanager
    def blaming(self, index: int) -> Iterator[None]:
        """Turns whatever the simulator raises into a SuiteError that names suite, task and episode."""
        try:
            yield
        except Exception as problem:
            where = f"{self.suite.name} task {self._reset.task.name!r}, " if self._reset else ""
            split = f" of split {self._reset.split!r}" if self._reset else ""
            if isinstance(problem, SkilltokensError):  # it says by itself who is to blame
                raise SuiteError(f"{where}episode {index}{split}: {problem}") from problem
            moment = f"step {self._steps}" if self._steps else "its reset"
            raise SuiteError(
                f"{where}episode {index}{split}: the simulator failed in {moment}: {words_of(problem)}"
            ) from problem

    def _reply(self, observations: Sequence[Observation], successes: Sequence[bool], over: Sequence[bool]) -> Reply:
        stacked = {
            name: np.stack([np.asarray(observation[name], feature.dtype) for observation in observations])
            for name, feature in self._features.items()
        }
        return Reply(stacked, np.array(successes, bool), np.array(over, bool))


def checked(observation: Observation, features: Mapping[str, Feature]) -> Observation:
    """An environment's observation, which must be what its suite declares.

    Raises:
        SuiteError: a feature is missing, of another shape or dtype, or not finite.
    """
    for name, feature in features.items():
        if name not in observation:
            raise SuiteError(f"the observation lacks {name!r}, which the suite declares")
        problem = wrong_observation(np.asarray(observation[name]), feature)
        if problem is not None:
            raise SuiteError(f"{name!r} {problem}")
    return observation
