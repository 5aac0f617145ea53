"""A body at one moment: the numbers that tasks, rewards and observations share, each computed once."""

from __future__ import annotations

import numpy as np

from skilltokens.suites.bodies.body import Body
from skilltokens.types import Array


class Moment:
    """What a body's state says about it.

    Args:
        qpos, qvel: its part of the simulator's state, (nq,) and (nv,); not copied.

    Attributes:
        place, velocity: where it is (m) and how it moves (m/s) on the ground, in the world: (1,) planar, (2,) free.
        up: how it stands (2,) or (3,); see Body.up.
        upright: the cosine of how far it leans.
        fallen: whether it lies on the ground.
    """

    def __init__(self, body: Body, qpos: Array, qvel: Array) -> None:
        self.body, self.qpos, self.qvel = body, qpos, qvel
        rows = qpos[None]
        self.place = body.place(rows)[0]
        self.velocity = qvel[: len(self.place)]
        self.up = body.up(rows)[0]
        self.upright = float(self.up[-1])
        self.fallen = body.has_fallen(float(body.height(rows)[0, 0]), self.upright)
        if not body.planar:
            heading = body.heading(rows)
            self._cos, self._sin = float(np.cos(heading)[0]), float(np.sin(heading)[0])

    def state(self) -> Array:
        """The body's own state as policies see it (S,)."""
        along = self.seen(self.velocity)[None]
        return self.body.assembled(self.qpos[None], self.qvel[None], self.up[None], along)[0]

    def seen(self, vector: Array) -> Array:
        """A vector on the ground, (1,) or (2,), as the body sees it; Body.turned for a single one."""
        if self.body.planar:
            return vector
        (x, y), c, s = vector.tolist(), self._cos, self._sin
        return np.array([c * x + s * y, c * y - s * x])
