"""The bodies: MuJoCo models that Gymnasium brings, and their motion as numbers that do not depend on the place.

All functions here work on arrays of simulator states (N, nq) and (N, nv) at once, so that hindsight goals of a whole
episode are computed from its stored states. Lengths are metres, angles radians, times seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skilltokens.types import GOAL, STATE, Array, SettingError, nearest

HORIZONS = (5, 20, 50)
"""Steps ahead of the poses and velocities that a behaviour model can be asked for."""
COMMAND = GOAL + "command"
"""The goal to move at a velocity (and, where the body can turn, a turning rate), on the average over AHEAD steps."""
AHEAD = 20


@dataclass(frozen=True)
class Body:
    """A body that moves in the plane of x and z, or freely in space.

    Attributes:
        asset: Gymnasium's model file.
        skip: physics steps in a control step.
        step: seconds of a control step.
        planar: the root is (x, z, pitch); otherwise a free joint.
        fallen: the body has fallen where its root is below this height, or its own up-vector leans further than
            `lean`; None: it never falls.
        noise: deviation of the initial joint angles and velocities.
        speeds: the slowest and fastest speed it is asked for, along x (planar), or any direction (the fastest counts).
        jump: metres of one flight that count as a long jump.
        reach: metres between start and goal of a way to go.
        strength: share of the motors' range that actions span; all of it throws a light body over.
    """

    name: str
    asset: str
    skip: int
    step: float
    planar: bool
    speeds: tuple[float, float]
    fallen: float | None = None
    lean: float = -2.0
    noise: float = 0.05
    jump: float = 2.0
    reach: tuple[float, float] = (2.0, 6.0)
    strength: float = 1.0

    # ---------------------------------------------------------------- parts of a simulator state

    @property
    def root(self) -> tuple[int, int]:
        """How many numbers of qpos and of qvel belong to the root."""
        return (3, 3) if self.planar else (7, 6)

    def place(self, qpos: Array) -> Array:
        """Where the root is on the ground: (N, 1) planar, (N, 2) free."""
        return qpos[:, :1] if self.planar else qpos[:, :2]

    def height(self, qpos: Array) -> Array:
        """The root's height as the model counts it (N, 1)."""
        return qpos[:, 1:2] if self.planar else qpos[:, 2:3]

    def up(self, qpos: Array) -> Array:
        """How the body stands: (sin, cos) of its pitch, or the world's up-vector in its own frame (N, 3).

        The last number is the cosine of how far it leans.
        """
        if self.planar:
            return np.concatenate([np.sin(qpos[:, 2:3]), np.cos(qpos[:, 2:3])], 1)
        w, x, y, z = _quaternion(qpos)
        return np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1)

    def heading(self, qpos: Array) -> Array:
        """The angle (N,) that the body faces, seen from above; 0 in the plane."""
        if self.planar:
            return np.zeros(len(qpos))
        w, x, y, z = _quaternion(qpos)
        return np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))

    def turned(self, vectors: Array, heading: Array) -> Array:
        """Vectors on the ground (N, 1 or 2), seen from a body that faces `heading` (N,)."""
        if self.planar:
            return vectors
        c, s = np.cos(heading), np.sin(heading)
        x, y = vectors[:, 0], vectors[:, 1]
        return np.stack([c * x + s * y, c * y - s * x], 1)

    # ---------------------------------------------------------------- what a policy sees

    def state(self, qpos: Array, qvel: Array) -> Array:
        """The body's own state (N, S): height, up, joints, velocities in its heading's frame. No place, no heading."""
        ground = qvel[:, : 1 if self.planar else 2]
        return self.assembled(qpos, qvel, self.up(qpos), self.turned(ground, self.heading(qpos)))

    def assembled(self, qpos: Array, qvel: Array, up: Array, along: Array) -> Array:
        """The same, where `up` and the velocity `along` the ground as the body sees it are known."""
        (n_q, n_v), ground = self.root, along.shape[1]
        return np.concatenate(
            [
                self.height(qpos),
                up,
                qpos[:, n_q:],
                along,
                qvel[:, ground:n_v],
                np.minimum(np.maximum(qvel[:, n_v:], -30), 30) / 10,
            ],
            1,
        ).astype(np.float32)

    def velocity(self, now: Array, later: Array, qvel: Array) -> Array:
        """The root's velocity and angular velocity `later`, as seen from where it stands `now` (N, 3 or 6)."""
        if self.planar:
            return qvel[:, :3]
        along = self.turned(qvel[:, :2], self.heading(now))
        return np.concatenate([along, qvel[:, 2:6]], 1)

    def pose(self, now: Array, later: Array) -> Array:
        """How far the root goes from `now` to `later`, its height and up then, its turn, its joints then (N, P)."""
        way = self.turned(self.place(later) - self.place(now), self.heading(now))
        parts = [way, self.height(later), self.up(later), later[:, self.root[0] :]]
        if not self.planar:
            turn = self.heading(later) - self.heading(now)
            parts.append(np.stack([np.sin(turn), np.cos(turn)], 1))
        return np.concatenate(parts, 1)

    def command(self, now: Array, later: Array, seconds: Array) -> Array:
        """The mean velocity on the ground from `now` to `later`, and the turning rate if it can turn (N, 1 or 3)."""
        along = self.turned(self.place(later) - self.place(now), self.heading(now)) / seconds[:, None]
        if self.planar:
            return along
        turn = np.angle(np.exp(1j * (self.heading(later) - self.heading(now)))) / seconds
        return np.concatenate([along, turn[:, None]], 1)

    def goals(self, qpos: Array, qvel: Array, step: float) -> dict[str, Array]:
        """Hindsight goals of every step of one episode, from its states (T, nq) and (T, nv); `step` in seconds.

        A goal that lies behind the episode's end is not given.
        """
        at, last = np.arange(len(qpos)), len(qpos) - 1
        found: dict[str, Array] = {}
        for horizon in HORIZONS:
            later = np.minimum(at + horizon, last)
            given = (at + horizon <= last)[:, None]
            found[f"{GOAL}pose_{horizon}"] = _given(given, self.pose(qpos, qpos[later]))
            found[f"{GOAL}velocity_{horizon}"] = _given(given, self.velocity(qpos, qpos[later], qvel[later]))
        later = np.minimum(at + AHEAD, last)
        seconds = np.maximum(later - at, 1) * step
        found[COMMAND] = _given((at + AHEAD <= last)[:, None], self.command(qpos, qpos[later], seconds))
        return found

    def widths(self, joints: int) -> dict[str, int]:
        """The width of every feature, the goals' first number included, of a body with so many joints."""
        n_q, n_v = self.root[0] + joints, self.root[1] + joints
        qpos = np.zeros((1, n_q))
        if not self.planar:
            qpos[:, 3] = 1.0
        goals = self.goals(qpos, np.zeros((1, n_v)), 1.0)
        return {name: value.shape[1] for name, value in goals.items()} | {
            STATE: self.state(qpos, np.zeros((1, n_v))).shape[1]
        }

    def has_fallen(self, height: float, upright: float) -> bool:
        """Whether it lies on the ground, by its root's height and the cosine of how far it leans."""
        return self.fallen is not None and (height < self.fallen or upright < self.lean)


def given(values: Array) -> Array:
    """A goal that is given."""
    return np.concatenate([[1.0], values]).astype(np.float32)


def _given(there: Array, values: Array) -> Array:
    return np.concatenate([there, values * there], 1).astype(np.float32)


def _quaternion(qpos: Array) -> Array:
    """The free joint's orientation (4, N) as w, x, y, z; by hand, since SciPy's Rotation is slow on single rows."""
    rows = qpos[:, 3:7]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T


_WALKER = Body(
    "walker2d", "walker2d_v5.xml", skip=10, step=0.02, planar=True, speeds=(-1.0, 2.5), fallen=0.8, lean=0.5,
    noise=0.005, jump=1.2, reach=(1.0, 4.0),
)  # fmt: skip
_ANT = Body(
    "ant", "ant.xml", skip=5, step=0.05, planar=False, speeds=(0.0, 1.0), fallen=0.2, lean=0.0,
    jump=1.0, reach=(2.0, 5.0), strength=0.3,
)  # fmt: skip
_HUMANOID = Body(
    "humanoid", "humanoid.xml", skip=5, step=0.015, planar=False, speeds=(0.0, 3.0), fallen=1.0, lean=0.5,
    noise=0.01, jump=1.0, reach=(2.0, 5.0),
)  # fmt: skip
_CHEETAH = Body("halfcheetah", "half_cheetah.xml", skip=5, step=0.05, planar=True, speeds=(-3.0, 3.5))
BODIES = {body.name: body for body in (_CHEETAH, _WALKER, _ANT, _HUMANOID)}
"""Every body by name."""


def body_of(name: str) -> Body:
    """The body of that name.

    Raises:
        SettingError: there is none.
    """
    if name not in BODIES:
        raise SettingError(f"there is no body {name!r}: {nearest(name, list(BODIES))}")
    return BODIES[name]
