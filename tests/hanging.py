"""A Gymnasium suite whose simulator hangs, importable by spawned processes.

Every hang leaves a file in a folder: its name is the number of the hang, its content the numbers of the process and of
a child that it has started.
"""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.types import STATE, Array, Observation

HANGS_AT = 4
"""The step that hangs."""


class Rail(gymnasium.Env[Any, Any]):
    """A cart that has to stop at a mark. The first `times` fourth steps hang: in Python ("sleeps"), in C ("holds")."""

    def __init__(self, folder: str, how: str, times: int) -> None:
        self.folder, self.how, self.times = Path(folder), how, times
        self.observation_space = Box(-2.0, 2.0, (2,), np.float32)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.cart = self.mark = 0.0
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.cart, self.steps, self.mark = 0.0, 0, float(self.np_random.uniform(0.6, 0.9))
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.how == "slow":
            time.sleep(0.4)
        elif self.steps == HANGS_AT:
            self._hang()
        self.cart += 0.1 * float(np.clip(action, -1, 1)[0])
        done = abs(self.cart - self.mark) < 0.06
        return self._observe(), -abs(self.cart - self.mark), done, False, {"is_success": done}

    def _hang(self) -> None:
        free = [number for number in range(self.times) if not (self.folder / str(number)).exists()]
        if not free:
            return
        child = subprocess.Popen(["sleep", "600"], stderr=subprocess.DEVNULL)
        fresh = self.folder.parent / f"fresh-{os.getpid()}"
        fresh.write_text(f"{os.getpid()} {child.pid}")
        try:
            os.link(fresh, self.folder / str(free[0]))
        except FileExistsError:  # another process was quicker
            child.kill()
            self._hang()
        if self.how == "holds":
            ctypes.PyDLL(None).sleep(600)  # without letting go of Python's lock
        time.sleep(600)

    def _observe(self) -> Array:
        return np.array([self.cart, self.mark], np.float32)


class Drive:
    """Drives to the mark: an actor."""

    def start(self, batch: int) -> None: ...

    def act(self, observation: Observation, memory: None) -> Array:
        state = observation[STATE]
        return np.clip(10 * (state[:, 1:] - state[:, :1]), -1, 1)


def make(folder: str, how: str, times: int, task: str) -> Rail:
    return Rail(folder, how, times)


def expert(task: str) -> Any:
    return lambda raw: np.clip(10 * (raw[1:] - raw[:1]), -1, 1)


def suite_that(how: str, folder: Path, times: int = 1) -> GymnasiumSuite:
    """A suite whose simulator hangs so many times; how: "sleeps" or "holds"; "slow" is none that hangs."""
    folder.mkdir(exist_ok=True)
    return GymnasiumSuite(
        "rail",
        functools.partial(make, str(folder), how, times),
        {"mark": "drive to the mark"},
        expert=expert,
        horizon=20,
    )


def hung(folder: Path) -> list[tuple[int, int]]:
    """The processes that have hung, and their children."""
    pairs = [file.read_text().split() for file in sorted(folder.iterdir())]
    return [(int(process), int(child)) for process, child in pairs]


def runs(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(holds: Any, seconds: float = 60.0) -> bool:
    """Whether something comes to hold within a time that is long on purpose."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return bool(holds())


def all_gone(folder: Path) -> bool:
    """Whether no process that has hung runs any more, nor a child of one, within a generous time."""
    return wait_until(lambda: not any(runs(pid) for pair in hung(folder) for pid in pair))
