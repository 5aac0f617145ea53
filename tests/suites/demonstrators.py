"""Suites whose demonstrators are slow, crash, or give something wrong; importable by spawned processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.toy import Toy

from skilltokens.demos import DemonstrationStore
from skilltokens.types import Episode, Task


@dataclass
class Slow(Toy):
    """Every episode takes a tenth of a second more."""

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        for episode in super().demonstrate(task, episodes, seed, noise):
            time.sleep(0.1)
            yield episode


@dataclass
class Failing(Toy):
    """An expert that never succeeds. Its process writes its number into `folder` and tries for ever."""

    folder: str = ""

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        Path(self.folder, f"{os.getpid()}.pid").touch()
        while True:
            time.sleep(0.05)
        yield from super().demonstrate(task, episodes, seed, noise)


@dataclass
class Dying(Toy):
    """The process that makes `victim` is killed after its first episode, as long as there are lives in the folder."""

    folder: str = ""
    victim: str = "between"

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        for episode in super().demonstrate(task, episodes, seed, noise):
            yield episode
            lives = sorted(Path(self.folder).glob("life*"))
            if task.name == self.victim and lives:
                lives[0].unlink()
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Broken(Toy):
    """The simulator raises an error that looks like one of the disk."""

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        yield from super().demonstrate(task, 1, seed, noise)
        raise FileNotFoundError("mesh.obj")


@dataclass
class Drawn(Toy):
    """Its demonstrations are drawn from the toy's. A file in `folder` counts each; `victim` dies at its second one."""

    name: str = "drawn"
    folder: str = ""
    victim: str = ""
    version: str = "1"
    states: Toy = field(default_factory=Toy)

    def versions(self) -> dict[str, str]:
        return {"toy": "1", "drawing": self.version}

    def draw(self, task: Task, store: DemonstrationStore, index: int) -> Episode:
        if task.name == self.victim and index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        Path(self.folder, f"{task.name}.{index}.{time.monotonic_ns()}").touch()
        return Episode({name: -np.asarray(values) for name, values in store.episode(index).features.items()})


@dataclass
class Short(Toy):
    """One episode less than are needed."""

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        return super().demonstrate(task, episodes - 1, seed, noise)
