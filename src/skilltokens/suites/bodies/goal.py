"""What every task of a body is made of, and what tasks remember: a mean over the latest steps, a flight's length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skilltokens.suites.bodies.body import COMMAND, Body, given
from skilltokens.types import Array

if TYPE_CHECKING:
    from skilltokens.suites.bodies.environment import BodyEnvironment


class GoalTask:
    """One task of one body. Vectors on the ground are (1,) for a body in the plane, (2,) for a free one."""

    instruction = ""
    """The task in words, by which a skill is chosen."""
    free = True
    """Whether it makes sense for bodies that move freely."""
    planar = True
    """Whether it makes sense for bodies that move in a plane."""
    own_speed = False
    """Whether the task itself says how fast to go, so that its command does not depend on a share of the speed."""

    def __init__(self, body: Body) -> None:
        self.body = body

    def build(self, spec: Any, mujoco: Any) -> None:
        """Adds the task's own things, such as a post, to the model (a mujoco.MjSpec)."""

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        """Draws the goal of a new episode from `generator`, and puts the task's things where it has them."""

    def after(self, env: BodyEnvironment) -> None:
        """Takes note of a step."""

    def observe(self, env: BodyEnvironment) -> Array:
        """What the task shows (n,), as seen from the body; at most environment.WIDTH numbers."""
        raise NotImplementedError

    def reward(self, env: BodyEnvironment) -> float:
        """The reward of the step that was just made, before the cost of the action."""
        raise NotImplementedError

    def success(self, env: BodyEnvironment) -> bool:
        """Whether the task is done now."""
        raise NotImplementedError

    def command(self, env: BodyEnvironment, share: float = 0.8) -> dict[str, Array]:
        """The command that a user would give the behaviour model for this task now: feature -> goal.

        Args:
            share: of the body's fastest speed, at which it goes where the task does not say how fast.
        """
        raise NotImplementedError

    # ---------------------------------------------------------------- shared

    def move_at(self, env: BodyEnvironment, velocity: Array, turn: float = 0.0) -> dict[str, Array]:
        """The command to move at a velocity (m/s, in the world's frame) and, of a free body, to turn (rad/s)."""
        along = env.now.seen(velocity)
        return {COMMAND: given(along if self.body.planar else np.append(along, turn))}

    def draw_direction(self, generator: np.random.Generator) -> Array:
        """A unit vector on the ground: forwards or backwards in the plane, any in space."""
        if self.body.planar:
            return np.array([1.0 if generator.random() < 0.5 else -1.0])
        angle = generator.uniform(-math.pi, math.pi)
        return np.array([math.cos(angle), math.sin(angle)])


def length(vector: Array) -> float:
    """The length of a vector (n,); NumPy's norm does the same more slowly."""
    return math.sqrt(vector @ vector)


class Window:
    """The mean of a vector over the latest steps."""

    def __init__(self, length: int, width: int) -> None:
        self._rows, self._count = np.zeros((length, width)), 0

    def add(self, row: Array) -> None:
        """Takes in the row (width,) of one more step; the oldest goes."""
        self._rows[:-1] = self._rows[1:]
        self._rows[-1] = row
        self._count += 1

    @property
    def full(self) -> bool:
        """Whether so many rows were added as the window is long."""
        return self._count >= len(self._rows)

    @property
    def mean(self) -> Array:
        """The mean of the rows so far, of the latest `length` at most; zero before the first."""
        return self._rows[-self._count :].mean(0) if 0 < self._count < len(self._rows) else self._rows.mean(0)


class Flight:
    """How far the body has come since it last touched the ground."""

    def __init__(self, place: Array) -> None:
        self._start = place
        self.length = 0.0
        """Metres on the ground."""

    def follow(self, place: Array, airborne: bool) -> None:
        """Takes in where the body is after a step."""
        if not airborne:
            self._start = place
        self.length = length(place - self._start)
