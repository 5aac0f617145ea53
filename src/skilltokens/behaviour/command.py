"""Commands for experts: a velocity that changes every few seconds, and the reward for following it."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from skilltokens.suites.bodies.body import Body
from skilltokens.suites.bodies.environment import BodyEnvironment
from skilltokens.suites.bodies.goal import Flight, GoalTask, length
from skilltokens.suites.bodies.tasks import Steering
from skilltokens.types import Array

EPISODE = 12.0
"""Seconds of an episode of motion."""
SECONDS = 3.0
"""How long a command holds."""
FREE_SECONDS = 10.0
"""The same for a body that moves freely, which takes seconds to turn: of 3, Ant learned to face no way, nor to walk."""
ALIVE = 0.5
"""Reward of a step without a fall; of 1, Walker2d's experts stood still at commands to walk slowly or backwards."""


class Command(GoalTask):
    """Follow a velocity in the plane; as a leaper, by flights as long as possible."""

    def __init__(self, body: Body, leap: bool) -> None:
        super().__init__(body)
        self.leap = leap

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        self.generator, self.until, self.flight = generator, 0, Flight(env.now.place)
        self.after(env)

    def after(self, env: BodyEnvironment) -> None:
        self.flight.follow(env.now.place, env.airborne)
        if env.steps < self.until:
            return
        self.until = _next(env, self.generator, SECONDS)
        slow, fast = self.body.speeds
        self.target = np.array([self.generator.uniform(slow, fast)])
        if self.leap:
            self.target = np.array([self.generator.uniform(0.3, 1.0) * fast])
        if self.generator.random() < 0.15:
            self.target = self.target * 0

    def observe(self, env: BodyEnvironment) -> Array:
        return np.concatenate([self.target, env.now.velocity - self.target, [0.0, float(self.flight.length > 0)]])

    def reward(self, env: BodyEnvironment) -> float:
        """The same for standing still whatever the command, so that the command makes no return better or worse.

        A body that can fall gets ALIVE for every step that it did not.
        """
        fast = self.body.speeds[1]
        error = length(env.now.velocity - self.target)
        kept = 2 * (length(self.target) - error) / fast + 0.3 * math.exp(-20 * (error / fast) ** 2)
        upright = env.now.upright
        flight = 2.0 * min(self.flight.length / self.body.jump, 1.5) * max(upright, 0.0) if self.leap else 0.0
        alive = ALIVE * (self.body.fallen is not None)
        return alive + (0.3 if self.leap else 1.0) * kept + flight - 0.5 * (1 - upright)

    def success(self, env: BodyEnvironment) -> bool:
        return False


class FreeCommand(Steering):
    """Steering, of a body that moves freely: a velocity, and a way to face; both change."""

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        self.generator, self.until = generator, _next(env, generator, FREE_SECONDS)
        super().begin(env, generator)

    def after(self, env: BodyEnvironment) -> None:
        super().after(env)
        if env.steps >= self.until:
            stride = self.stride  # how fast it goes does not begin anew with a command
            self.begin(env, self.generator)
            self.stride = stride

    def success(self, env: BodyEnvironment) -> bool:
        return False


def _next(env: BodyEnvironment, generator: np.random.Generator, seconds: float) -> int:
    """The step at which the next command begins."""
    return env.steps + round(generator.uniform(0.5, 1.5) * seconds / env.dt)


def make_command(body: Body, leap: bool) -> gymnasium.Env[Any, Any]:
    """The environment that an expert is trained in."""
    env = BodyEnvironment(body, Command(body, leap) if body.planar else FreeCommand(body))
    return TimeLimit(env, round(EPISODE / env.dt))
