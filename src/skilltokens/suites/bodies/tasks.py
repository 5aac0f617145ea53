"""The tasks (arXiv 2503.22886, section 4, for bodies of this size): what is observed, rewarded and called a success.

A task is one object in one environment; `begin` draws its goal from the environment's own generator. Everything that
it shows is seen from the body: nothing says where in the world it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skilltokens.suites.bodies.body import Body
from skilltokens.suites.bodies.goal import Flight, GoalTask, Window, length
from skilltokens.types import Array, SettingError, nearest

if TYPE_CHECKING:
    from skilltokens.suites.bodies.environment import BodyEnvironment


SECONDS = 8.0
"""Length of an episode."""
STRIDE = 0.5
"""Seconds over which a free body's velocity is averaged where it moves at a target: within a stride its legs swing it
by more than it may miss the target."""


class Direction(GoalTask):
    """Move at a target velocity.

    Success: over two seconds, the mean speed along the target is within 20 % of the target's, and that across it at
    most half of the target's.
    """

    instruction = "move at the speed asked for"
    own_speed = True

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        slow, fast = self.body.speeds
        if self.body.planar:
            forwards = generator.random() < fast / (fast - slow)
            speed = generator.uniform(0.25, 0.85) * (fast if forwards else slow)
            self.target = np.array([speed])
        else:
            self.target = self.draw_direction(generator) * generator.uniform(0.25, 0.85) * fast
        self.recent = Window(round(2.0 / env.dt), self.target.size)
        self.stride = Window(1 if self.body.planar else round(STRIDE / env.dt), self.target.size)
        self.stride.add(env.now.velocity)

    def after(self, env: BodyEnvironment) -> None:
        self.recent.add(env.now.velocity)
        self.stride.add(env.now.velocity)

    def observe(self, env: BodyEnvironment) -> Array:
        return np.concatenate([env.now.seen(self.target), env.now.seen(self.target - self.stride.mean)])

    def errors(self, velocity: Array) -> tuple[float, float]:
        """How far a velocity is off along the target (negative: too slow) and across it, as shares of its speed."""
        speed = length(self.target)
        along = float(velocity @ self.target) / speed
        across = 0.0 if self.body.planar else float(velocity[1] * self.target[0] - velocity[0] * self.target[1]) / speed
        return (along - speed) / speed, abs(across) / speed

    def reward(self, env: BodyEnvironment) -> float:
        """The paper's, but for the speed across: the paper weighs it by 0.1 in m/s, which a slow body never notices."""
        along, across = self.errors(self.stride.mean)
        return math.exp(-(10 * along**2 + 2.5 * across**2))

    def success(self, env: BodyEnvironment) -> bool:
        if not self.recent.full:
            return False
        along, across = self.errors(self.recent.mean)
        return abs(along) <= 0.2 and across <= 0.5

    def command(self, env: BodyEnvironment, share: float = 0.8) -> dict[str, Array]:
        return self.move_at(env, self.target)


class Steering(Direction):
    """Move at a target velocity while facing a target way.

    Success: as Direction, and over two seconds it faces within 45 degrees of that way on the mean.
    """

    instruction = "move at the speed asked for and face the way asked for"
    planar = False

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        super().begin(env, generator)
        self.facing = self.draw_direction(generator)
        self.faced = Window(round(2.0 / env.dt), 1)

    def after(self, env: BodyEnvironment) -> None:
        super().after(env)
        self.faced.add(np.array([self.cosine(env)]))

    def cosine(self, env: BodyEnvironment) -> float:
        """The cosine of the angle between the way it faces and the one that it should face."""
        return float(env.now.seen(self.facing)[0])

    def observe(self, env: BodyEnvironment) -> Array:
        return np.concatenate([super().observe(env), env.now.seen(self.facing)])

    def reward(self, env: BodyEnvironment) -> float:
        return 0.7 * super().reward(env) + 0.3 * (1 + self.cosine(env)) / 2

    def success(self, env: BodyEnvironment) -> bool:
        return super().success(env) and float(self.faced.mean[0]) >= math.cos(math.pi / 4)

    def command(self, env: BodyEnvironment, share: float = 0.8) -> dict[str, Array]:
        x, y = env.now.seen(self.facing)
        return self.move_at(env, self.target, min(max(math.atan2(y, x), -1.0), 1.0))


class Reach(GoalTask):
    """Go to a mark and stay there. Success: within 0.2 m (a free body: 0.3 m) of it for one second without a break."""

    instruction = "go to the mark and stay there"

    def build(self, spec: Any, mujoco: Any) -> None:
        mark = spec.worldbody.add_body(name="mark", mocap=True)
        mark.add_geom(
            name="mark",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[0.25, 0, 0],
            contype=0,
            conaffinity=0,
            rgba=[0.1, 0.7, 0.3, 1],
        )

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        near, far = self.body.reach
        self.goal = env.now.place + self.draw_direction(generator) * generator.uniform(near, far)
        env.data.mocap_pos[0] = [self.goal[0], 0.0 if self.body.planar else self.goal[1], 0.25]
        self.within, self.needed = 0, round(1.0 / env.dt)
        self.radius = 0.2 if self.body.planar else 0.3

    def way(self, env: BodyEnvironment) -> Array:
        """From the body to the mark, on the ground, in the world's frame (m)."""
        return self.goal - env.now.place

    def after(self, env: BodyEnvironment) -> None:
        self.within = self.within + 1 if length(self.way(env)) <= self.radius else 0

    def observe(self, env: BodyEnvironment) -> Array:
        way = env.now.seen(self.way(env))
        return np.concatenate([way / 3.0, np.minimum(np.maximum(way, -0.5), 0.5) * 2.0])

    def reward(self, env: BodyEnvironment) -> float:
        return math.exp(-4 * float(np.square(self.way(env)).sum()))

    def success(self, env: BodyEnvironment) -> bool:
        return self.within >= self.needed

    def command(self, env: BodyEnvironment, share: float = 0.8) -> dict[str, Array]:
        slow, fast = self.body.speeds
        way = self.way(env)
        if self.body.planar:
            return self.move_at(env, np.minimum(np.maximum(way, max(slow, -fast) * share), fast * share))
        return self.move_at(env, way * min(1.0, fast * share / max(length(way), 1e-6)))


class Jump(GoalTask):
    """A long jump. Success: a flight of at least `Body.jump` metres without touching the ground, and still upright."""

    instruction = "take a long jump"

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        self.flight = Flight(env.now.place)

    def after(self, env: BodyEnvironment) -> None:
        self.flight.follow(env.now.place, env.airborne)

    def observe(self, env: BodyEnvironment) -> Array:
        return np.array([self.flight.length / self.body.jump, float(self.flight.length > 0), env.steps / 100])

    def upright(self, env: BodyEnvironment) -> bool:
        """Whether the body leans less than 73 degrees."""
        return env.now.upright > 0.3

    def reward(self, env: BodyEnvironment) -> float:
        if not self.upright(env):
            return 0.0
        speed = length(env.now.velocity)
        return 0.2 * min(speed / self.body.speeds[1], 1.0) + min(self.flight.length / self.body.jump, 1.5)

    def success(self, env: BodyEnvironment) -> bool:
        return self.flight.length >= self.body.jump and self.upright(env)

    def command(self, env: BodyEnvironment, share: float = 0.8) -> dict[str, Array]:
        return self.move_at(env, np.append(self.body.speeds[1] * share, [0.0] * (not self.body.planar)))


class Strike(GoalTask):
    """Knock over a post that stands 1.5 to 4 m away. Success: the up-component of its axis is below 0.2."""

    instruction = "knock the post over"
    HEIGHT, MASS = 1.0, 4.0

    def build(self, spec: Any, mujoco: Any) -> None:
        # the hinge is above the ground by more than half the post's width, so that it can lie flat
        post = spec.worldbody.add_body(name="post", pos=[4.0, 0.0, 0.12])
        if self.body.planar:
            # stands by dry friction; the model's defaults (springs, limits) are for the body's own joints
            post.add_joint(
                name="post_tilt",
                type=mujoco.mjtJoint.mjJNT_HINGE,
                axis=[0, 1, 0],
                limited=mujoco.mjtLimited.mjLIMITED_FALSE,
                stiffness=0.0,
                damping=0.5,
                frictionloss=3.0,
            )
            height = self.HEIGHT / 2
        else:
            post.add_freejoint(name="post_free")
            height = 0.0
            post.pos = [4.0, 0.0, self.HEIGHT / 2]
        post.add_geom(
            name="post",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[0.1, 0.1 if not self.body.planar else 0.3, self.HEIGHT / 2],
            pos=[0, 0, height],
            mass=self.MASS,
            contype=1,
            conaffinity=1,
            rgba=[0.85, 0.3, 0.2, 1],
        )

    def begin(self, env: BodyEnvironment, generator: np.random.Generator) -> None:
        self.post = env.model.body("post").id
        place = env.now.place + self.draw_direction(generator) * generator.uniform(1.5, 4.0)
        if self.body.planar:
            env.model.body("post").pos[0] = place[0]
            env.data.joint("post_tilt").qpos[0] = 0.0
        else:
            env.data.joint("post_free").qpos[:] = [*place, self.HEIGHT / 2, 1, 0, 0, 0]

    def tilt(self, env: BodyEnvironment) -> float:
        """The up-component of the post's own axis: 1 where it stands, 0 where it lies."""
        return float(env.data.xmat[self.post, 8])

    def way(self, env: BodyEnvironment) -> Array:
        """From the body to the post, on the ground, in the world's frame (m)."""
        return env.data.xpos[self.post, : 1 if self.body.planar else 2] - env.now.place

    def observe(self, env: BodyEnvironment) -> Array:
        axis = env.data.xmat[self.post, 2::3]
        lean = env.now.seen(axis[: 1 if self.body.planar else 2])
        return np.concatenate([env.now.seen(self.way(env)) / 2.0, lean, axis[2:3]])

    def reward(self, env: BodyEnvironment) -> float:
        up = self.tilt(env)
        if up < 0.2:
            return 1.0
        way = self.way(env)
        towards = float(env.now.velocity @ way) / max(length(way), 1e-6)
        return 0.6 * (1 - up) + 0.4 * min(max(towards / self.body.speeds[1], 0.0), 1.0)

    def success(self, env: BodyEnvironment) -> bool:
        return self.tilt(env) < 0.2

    def command(self, env: BodyEnvironment, share: float = 0.8) -> dict[str, Array]:
        way = self.way(env)
        speed = self.body.speeds[1] * share
        return self.move_at(env, way / max(length(way), 1e-6) * speed)


TASKS: dict[str, type[GoalTask]] = {
    "direction": Direction,
    "reach": Reach,
    "jump": Jump,
    "strike": Strike,
    "steering": Steering,
}
"""Every task by name."""


def tasks_of(body: Body) -> dict[str, type[GoalTask]]:
    """The tasks that make sense for a body."""
    return {name: kind for name, kind in TASKS.items() if (kind.planar if body.planar else kind.free)}


def make_task(body: Body, name: str) -> GoalTask:
    """A new task for one environment of that body.

    Raises:
        SettingError: there is no such task for this body.
    """
    known = tasks_of(body)
    if name not in known:
        raise SettingError(f"body {body.name!r} has no task {name!r}: {nearest(name, list(known))}")
    return known[name](body)
