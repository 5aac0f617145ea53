"""Gymnasium environments as people have them, importable by spawned processes: `gym:tests.strange:Reach-v0`.

A point that goes to a mark: observation (x, y, mark x, mark y), action its move, success within 0.15.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from skilltokens.types import STATE, Array, Observation

LIMIT = 30


class Reach(gymnasium.Env[Any, Any]):
    observation_space: Any = Box(-2, 2, (4,), np.float32)
    action_space: Any = Box(-1, 1, (2,), np.float32)

    def __init__(self, pace: float = 0.2, mark: str = "", render_mode: str | None = None) -> None:
        self.pace, self.named, self.render_mode = pace, mark, render_mode
        self.given: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.mark = self.np_random.uniform(-1, 1, (2, 2))
        self.steps = 0
        return self.seen(), {}

    def seen(self) -> Any:
        return np.concatenate([self.place, self.mark]).astype(np.float32)

    def step(self, action: Any) -> Any:
        self.given, self.steps = action, self.steps + 1
        self.place = np.clip(self.place + self.pace * self.move(action), -2, 2)
        distance = float(np.linalg.norm(self.place - self.mark))
        done = distance < 0.15
        return self.seen(), -distance, done, self.steps >= LIMIT, self.info(done)

    def move(self, action: Any) -> Array:
        return np.asarray(action, np.float64)

    def info(self, done: bool) -> Any:
        return {"is_success": done}


class Both(Reach):
    def info(self, done: bool) -> Any:
        return {"is_success": None, "success": done}


class Text(Reach):
    def info(self, done: bool) -> Any:
        return {"is_success": "yes" if done else "no", "success": np.zeros(3)}


class LastOnly(Reach):
    def info(self, done: bool) -> Any:
        return {"is_success": done} if done or self.steps >= LIMIT else {}


class Latched(Reach):
    def info(self, done: bool) -> Any:
        return {"success": np.array([float(done)])}


class Sometimes(Reach):
    def info(self, done: bool) -> Any:
        return {"is_success": done if self.steps < 3 else float("nan")}


class Nested(Reach):
    observation_space: Any = Dict(
        {"observation.state": Box(-2, 2, (4,), np.float32), "goal": Dict({"xy": Box(-2, 2, (2,), np.float32)})}
    )

    def seen(self) -> Any:
        return {"observation.state": super().seen(), "goal": {"xy": self.mark.astype(np.float32)}}


class Counted(Reach):
    observation_space: Any = Dict(
        {
            "observation_state": Box(-2, 2, (4,), np.float64),
            "direction": Discrete(4, start=1),
            "switches": MultiBinary([2, 2]),
            "gears": MultiDiscrete([2, 3]),
            "speed": Box(-1, 1, (), np.float16),
            "ticks": Box(0, 99, (1,), np.int64),
        }
    )

    def seen(self) -> Any:
        return {
            "observation_state": super().seen(),
            "direction": 2,
            "switches": np.eye(2, dtype=np.int8),
            "gears": np.array([1, 2]),
            "speed": np.float16(0.5),
            "ticks": np.array([getattr(self, "steps", 0)]),
        }


class Half(Reach):
    """Its box is asymmetric, and in double precision."""

    action_space: Any = Box(np.array([0.0, -1.0]), np.array([2.0, 1.0]), dtype=np.float64)

    def move(self, action: Any) -> Array:
        return np.asarray(action) - (1.0, 0.0)


class Whole(Reach):
    action_space: Any = Box(-3, 3, (2,), np.int64)

    def move(self, action: Any) -> Array:
        return np.asarray(action) / 3


class Endless(Reach):
    action_space: Any = Box(-np.inf, np.inf, (2,), np.float32)


class Faulty(Reach):
    """Raises, or gives something amiss: where, its class says; in the fourth step of each episode, or in its reset."""

    fault: str = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        seen, info = super().reset(seed=seed)
        if self.fault == "reset":
            raise KeyError("door")
        return seen if self.fault == "old reset" else (seen, info)

    def step(self, action: Any) -> Any:
        seen, reward, done, late, info = super().step(action)
        at = self.steps == 4
        if at and self.fault == "step":
            raise ValueError("the gripper\nis gone")
        if at and self.fault == "reading":
            seen = seen * np.nan
        if at and self.fault == "shape":
            seen = seen[:3]
        if at and self.fault == "words":
            seen = ["a", "b", "c", "d"]
        if at and self.fault == "ending":
            done = None  # type: ignore[assignment]
        if at and self.fault == "reward":
            reward = float("nan")
        if self.fault == "old":
            return seen, reward, done, info
        return seen, reward, done, late, info

    def close(self) -> None:
        if self.fault == "close":
            raise OSError("the bus is gone")


FAULTS = ("reset", "old reset", "step", "reading", "shape", "words", "ending", "reward", "old", "close")


class Unmade(Reach):
    def __init__(self) -> None:
        raise FileNotFoundError("arm.xml")


class Plan:
    """An actor that goes to the mark: it reads (x, y, mark x, mark y), and gives shares in [-1, 1], times `pace`."""

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace

    def start(self, batch: int) -> None: ...

    def act(self, observation: Observation, memory: None) -> Array:
        state = observation[STATE]
        return self.pace * np.clip(5 * (state[:, 2:4] - state[:, :2]), -1, 1)


def register() -> None:
    kinds: dict[str, Any] = {
        f"{kind.__name__}-v0": kind
        for kind in (Reach, Both, Text, LastOnly, Latched, Sometimes, Nested, Counted, Half, Whole, Endless, Unmade)
    }
    kinds |= {f"Fault-{word.replace(' ', '-')}-v0": type("Fault", (Faulty,), {"fault": word}) for word in FAULTS}
    kinds |= {"lab/Reach": Reach, "Strange": Reach, "lab/Push-v1": Reach, "lab/Both-v2": Both}
    for name, kind in kinds.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, kind, max_episode_steps=LIMIT)


register()
