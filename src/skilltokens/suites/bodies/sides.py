"""A body that looks the same from several sides: its motion, told as that of a body that faces another way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skilltokens.types import Array


@dataclass(frozen=True)
class Sides:
    """Free bodies with limbs alike all round, `count` of them; turned by one limb, they are the same body.

    Their joints are ordered by limb, counter-clockwise, and so are their motors, which may begin with another limb.

    Attributes:
        count: turns that make a full circle, counter-clockwise.
        joints: for each joint 1, or -1 where the one that takes its place after a turn counts the other way.
        motors: the same of the motors.
    """

    count: int
    joints: tuple[int, ...]
    motors: tuple[int, ...]

    def turned(self, qpos: Array, qvel: Array, actions: Array, turns: int = 1) -> tuple[Array, Array, Array]:
        """The same motion in the world, of a body whose own frame is turned: (N, nq), (N, nv) and (N, A)."""
        for _ in range(turns % self.count):
            qpos, qvel, actions = self._once(qpos, qvel, actions)
        return qpos, qvel, actions

    def _once(self, qpos: Array, qvel: Array, actions: Array) -> tuple[Array, Array, Array]:
        angle = 2 * math.pi / self.count
        w, x, y, z = qpos[:, 3:7].T
        c, s = math.cos(angle / 2), math.sin(angle / 2)
        facing = np.stack([w * c - z * s, x * c + y * s, y * c - x * s, z * c + w * s], 1)
        placed = np.concatenate([qpos[:, :3], facing, self._next(qpos[:, 7:], self.joints)], 1)
        c, s = math.cos(angle), math.sin(angle)
        roll, pitch = qvel[:, 3], qvel[:, 4]  # counted in the body's own frame
        spun = np.stack([c * roll + s * pitch, c * pitch - s * roll, qvel[:, 5]], 1)
        moved = np.concatenate([qvel[:, :3], spun, self._next(qvel[:, 6:], self.joints)], 1)
        return placed, moved, self._next(actions, self.motors)

    def _next(self, numbers: Array, signs: tuple[int, ...]) -> Array:
        """Of each limb the numbers (N, n) of the next one."""
        return np.roll(numbers, -(numbers.shape[1] // self.count), 1) * np.array(signs)
