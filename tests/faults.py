"""The toy suite with one thing wrong or otherwise, importable by spawned processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.toy import Table, Toy

from skilltokens.types import STATE, Array, Feature, Observation, Split, SuiteError, Task


@dataclass
class Faulty(Toy):
    """Episode 3 goes wrong at step `at`, in the way that `fault` names. `folder` counts how often, a file each time."""

    fault: str = ""
    at: int = 4
    folder: str = ""
    name: str = "faulty"

    def make(self, task: Task) -> Table:
        if self.fault == "not installed":
            raise SuiteError("the simulator is not installed: pip install it")
        return FaultyTable(task, self)


@dataclass
class Few(Toy):
    """There are four different episodes to be tried on."""

    name: str = "few"

    def episodes(self, split: Split) -> int | None:
        return None if split == "train" else 4


@dataclass
class Wider(Toy):
    """The same tasks for a robot with another state."""

    name: str = "wider"
    features: Mapping[str, Feature] = field(default_factory=lambda: {**Toy().features, STATE: Feature((3,))})


FORCE = "observation.force"


@dataclass
class Feeling(Toy):
    """The same tasks for a robot that also feels a force."""

    name: str = "feeling"
    features: Mapping[str, Feature] = field(default_factory=lambda: {**Toy().features, FORCE: Feature((3,))})

    def make(self, task: Task) -> Table:
        return FeelingTable(task, self.horizon)


class FeelingTable(Table):
    def _observation(self) -> Observation:
        return {**super()._observation(), FORCE: np.zeros(3, np.float32)}


@dataclass
class Easy(Toy):
    """A task is done after two steps, whatever they are."""

    name: str = "easy"

    def make(self, task: Task) -> Table:
        return EasyTable(task, self.horizon)


class EasyTable(Table):
    def step(self, action: Array) -> tuple[Observation, bool]:
        return super().step(action)[0], self.steps == 2


class FaultyTable(Table):
    def __init__(self, task: Task, suite: Faulty):
        super().__init__(task, suite.horizon)
        self.suite = suite

    def reset(self, split: Split, index: int) -> Observation:
        self.index = index
        if index == 3 and self.suite.fault == "reset raises":
            raise ValueError("the table has three legs")
        return super().reset(split, index)

    def step(self, action: Array) -> tuple[Observation, bool]:
        observation, success = super().step(action)
        if self.suite.fault == "slow":
            time.sleep(0.01)
            return observation, False
        if self.index == 3 and self.steps == self.suite.at:
            return self._go_wrong(dict(observation)), success
        return observation, success

    def _go_wrong(self, observation: dict[str, Array]) -> Observation:
        folder, fault = Path(self.suite.folder), self.suite.fault
        before = len(list(folder.glob("time-*"))) if self.suite.folder else 0
        if self.suite.folder:
            (folder / f"time-{before}").touch()
        if fault == "exits always" or (fault == "exits once" and before == 0):
            os._exit(7)
        if fault == "killed always":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "step raises":
            raise ValueError("the table has three legs")
        if fault == "nan":
            observation[STATE] = np.full(2, np.nan, np.float32)
        if fault == "wrong shape":
            observation[STATE] = np.zeros(3, np.float32)
        if fault == "words":
            observation[STATE] = np.array(["a", "b"])
        if fault == "missing":
            del observation[STATE]
        return observation

    def close(self) -> None:
        if self.suite.fault == "close raises":
            raise ValueError("the table would not close")
