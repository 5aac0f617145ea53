"""The bodies: MuJoCo models that Gymnasium brings, and their motion as numbers that do not depend on where they are.

All functions here work on arrays of simulator states (N, nq) and (N, nv) at once, so that hindsight goals of a whole
episode are computed from its stored states. Lengths are metres, angles radians, times seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skilltokens.types import GOAL, STATE, Array, SettingError, nearest

HORIZONS = (5, 20, 50)
"""Steps ahead of the poses and velocities that a behaviour model can take as goals."""
COMMAND = GOAL + "command"
"""The goal to move at a velocity (and, where the body can turn, a turning rate): the mean over AHEAD steps."""
AHEAD = 20
"""Steps over which a command's velocity is the mean."""


@dataclass(frozen=True)
class Body:
    """A body that moves in the plane of x and z, or freely in space.

    Attributes:
        name: of the suite and the command line, such as "halfcheetah".
        title: what Gymnasium calls it, such as "HalfCheetah".
        asset: Gymnasium's model file.
        skip: physics steps in a control step.
        step: seconds of a control step.
        planar: the root is (x, z, pitch); otherwise a free joint.
        fallen: the body has fallen where its root is below this height, or its own up-vector leans further than
            `lean`; None: it never falls.
        noise: standard deviation of the initial joint angles and velocities.
        speeds: the slowest and the fastest velocity that it is commanded (m/s): along x (planar), negative backwards;
            in any direction (free), where only the fastest counts.
        jump: metres of one flight that count as a long jump.
        reach: the least and the greatest distance in metres from the start to a goal that it goes to.
        strength: share of the motors' range that actions of -1 to 1 span; a light body is thrown over by all of it.
    """

    name: str
    title: str
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
        """Where the root is on the ground, in the world: (N, 1) planar, (N, 2) free."""
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
        """The body's own state (N, S): height, up, joints, and velocities as seen from its heading.

        It says neither where the body is nor which way it faces.
        """
        ground = qvel[:, : 1 if self.planar else 2]
        return self.assembled(qpos, qvel, self.up(qpos), self.turned(ground, self.heading(qpos)))

    def assembled(self, qpos: Array, qvel: Array, up: Array, along: Array) -> Array:
        """`state`, where `up` and the velocity `along` the ground, as the body sees it, are already computed."""
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
        """The root's velocity and angular velocity `qvel` of a later moment, as seen from `now` (N, 3 or 6)."""
        if self.planar:
            return qvel[:, :3]
        along = self.turned(qvel[:, :2], self.heading(now))
        return np.concatenate([along, qvel[:, 2:6]], 1)

    def pose(self, now: Array, later: Array) -> Array:
        """The pose `later` as seen from `now` (N, P): the root's way, height, up, joints, a free body's turn."""
        way = self.turned(self.place(later) - self.place(now), self.heading(now))
        parts = [way, self.height(later), self.up(later), later[:, self.root[0] :]]
        if not self.planar:
            turn = self.heading(later) - self.heading(now)
            parts.append(np.stack([np.sin(turn), np.cos(turn)], 1))
        return np.concatenate(parts, 1)

    def command(self, now: Array, later: Array, seconds: Array) -> Array:
        """The command that the motion from `now` to `later` follows (N, 1 or 3).

        It is the mean velocity on the ground and, where the body can turn, the turning rate.
        """
        along = self.turned(self.place(later) - self.place(now), self.heading(now)) / seconds[:, None]
        if self.planar:
            return along
        turn = np.angle(np.exp(1j * (self.heading(later) - self.heading(now)))) / seconds
        return np.concatenate([along, turn[:, None]], 1)

    def goals(self, qpos: Array, qvel: Array, step: float) -> dict[str, Array]:
        """Hindsight goals of every step of one episode, from its states (T, nq) and (T, nv); `step` in seconds.

        A goal that lies beyond the episode's end is not given.
        """
        at, last = np.arange(len(qpos)), len(qpos) - 1
        goals: dict[str, Array] = {}
        for horizon in HORIZONS:
            later = np.minimum(at + horizon, last)
            given = (at + horizon <= last)[:, None]
            goals[f"{GOAL}pose_{horizon}"] = _given(given, self.pose(qpos, qpos[later]))
            goals[f"{GOAL}velocity_{horizon}"] = _given(given, self.velocity(qpos, qpos[later], qvel[later]))
        later = np.minimum(at + AHEAD, last)
        seconds = np.maximum(later - at, 1) * step
        goals[COMMAND] = _given((at + AHEAD <= last)[:, None], self.command(qpos, qpos[later], seconds))
        return goals

    def widths(self, joints: int) -> dict[str, int]:
        """Feature -> its width, for a body with so many joints; goals' widths include the number that says "given"."""
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
    """A goal (1 + G,) that is given: 1, and its values (G,). One that is not given is all zeros."""
    return np.concatenate([[1.0], values]).astype(np.float32)


def _given(mask: Array, values: Array) -> Array:
    """A goal (N, 1 + G) of each row: given where `mask` (N, 1) is 1, else zeros."""
    return np.concatenate([mask, values * mask], 1).astype(np.float32)


def _quaternion(qpos: Array) -> Array:
    """The free joint's orientation (4, N) as w, x, y, z; by hand, since SciPy's Rotation is slow on single rows."""
    rows = qpos[:, 3:7]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T


_WALKER = Body(
    "walker2d", "Walker2d", "walker2d_v5.xml", skip=10, step=0.02, planar=True, speeds=(-1.0, 2.5), fallen=0.8,
    lean=0.5, noise=0.005, jump=1.2, reach=(1.0, 4.0),
)  # fmt: skip
_ANT = Body(
    "ant", "Ant", "ant.xml", skip=5, step=0.05, planar=False, speeds=(0.0, 1.0), fallen=0.2, lean=0.0,
    jump=1.0, reach=(2.0, 5.0), strength=0.3,
)  # fmt: skip
_HUMANOID = Body(
    "humanoid", "Humanoid", "humanoid.xml", skip=5, step=0.015, planar=False, speeds=(0.0, 3.0), fallen=1.0, lean=0.5,
    noise=0.01, jump=1.0, reach=(2.0, 5.0),
)  # fmt: skip
_CHEETAH = Body("halfcheetah", "HalfCheetah", "half_cheetah.xml", skip=5, step=0.05, planar=True, speeds=(-3.0, 3.5))
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
