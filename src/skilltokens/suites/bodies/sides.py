"""A body that looks the same from several sides: its motion, told as that of a body that faces another way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skilltokens.types import Array


@dataclass(frozen=True)
class Sides:
    """Free bodies with limbs alike all round, `count` of them; turned by one limb, they are the same body.

    Attributes:
        count: turns that make a full circle, counter-clockwise.
        joints: for each joint, which one lies there in the body's own frame after the frame was turned once.
        signs: 1, or -1 where that joint counts the other way.
        motors, motor_signs: the same of the motors.
    """

    count: int
    joints: tuple[int, ...]
    signs: tuple[int, ...]
    motors: tuple[int, ...]
    motor_signs: tuple[int, ...]

    def turned(self, qpos: Array, qvel: Array, actions: Array, turns: int = 1) -> tuple[Array, Array, Array]:
        """The same motion in the world, of a body whose own frame is turned: (N, nq), (N, nv) and (N, A)."""
        for _ in range(turns % self.count):
            qpos, qvel, actions = self._once(qpos, qvel, actions)
        return qpos, qvel, actions

    def _once(self, qpos: Array, qvel: Array, actions: Array) -> tuple[Array, Array, Array]:
        angle = 2 * math.pi / self.count
        joints, signs = list(self.joints), np.array(self.signs)
        w, x, y, z = qpos[:, 3:7].T
        c, s = math.cos(angle / 2), math.sin(angle / 2)
        facing = np.stack([w * c - z * s, x * c + y * s, y * c - x * s, z * c + w * s], 1)
        placed = np.concatenate([qpos[:, :3], facing, qpos[:, 7:][:, joints] * signs], 1)
        c, s = math.cos(angle), math.sin(angle)
        roll, pitch = qvel[:, 3], qvel[:, 4]  # counted in the body's own frame
        spun = np.stack([c * roll + s * pitch, c * pitch - s * roll, qvel[:, 5]], 1)
        moved = np.concatenate([qvel[:, :3], spun, qvel[:, 6:][:, joints] * signs], 1)
        return placed, moved, actions[:, list(self.motors)] * np.array(self.motor_signs)
