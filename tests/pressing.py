"""A Gymnasium suite whose two tasks have one instruction: to press the button, on the left and on the right.

Nothing that is observed says on which side the button is: only the task does, and in a scene's words the instruction.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from skilltokens.suites.gymnasium import Expert, GymnasiumSuite
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, Scale, Task

SIDES = {"kitchen-left": 0.1, "kitchen-right": 0.9}
TASKS = tuple(Task(name, "press the button", held_out=("push the knob",)) for name in SIDES)
SCENES = {"kitchen-left": "in the left kitchen", "kitchen-right": "in the right kitchen"}


class Press(gymnasium.Env[Array, Array]):
    """A hand on a table of one square metre, and a button at one height of one side."""

    observation_space = Box(0.0, 1.0, (4,), np.float32)
    action_space = Box(-0.2, 0.2, (2,), np.float32)

    def __init__(self, side: float) -> None:
        self.side = side

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.hand = self.np_random.uniform(0.4, 0.6, 2)
        self.height = self.np_random.uniform(0.2, 0.8)
        return self._observed(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.hand = np.clip(self.hand + 0.25 * np.asarray(action), 0, 1)
        pressed = bool(np.linalg.norm(self.hand - (self.side, self.height)) < 0.05)
        return self._observed(), 0.0, False, False, {"is_success": pressed}

    def _observed(self) -> Array:
        return np.array([*self.hand, 0.5, self.height], np.float32)


def make(task: str) -> Press:
    return Press(SIDES[task])


def expert(task: str) -> Expert:
    return lambda seen: np.clip(10 * (np.array([SIDES[task], seen[3]]) - seen[:2]), -1, 1)


def suite(scenes: dict[str, str] | None = None) -> GymnasiumSuite:
    """The suite without words for its scenes."""
    return GymnasiumSuite(
        "pressing",
        make,
        TASKS,
        expert=expert,
        observation={STATE: slice(0, 2), ENVIRONMENT_STATE: slice(2, 4)},
        horizon=40,
        scales={name: Scale((0.5, 0.5), (0.2, 0.2)) for name in (STATE, ENVIRONMENT_STATE)},
        reward=False,
        scenes=scenes,
    )


def with_scenes() -> GymnasiumSuite:
    return suite(SCENES)
