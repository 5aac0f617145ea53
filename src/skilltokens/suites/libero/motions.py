"""Named motions of the hand, from which the experts' scripts are built.

A motion is a generator: it yields one action (7,) a step and returns whether it came to its end. It reads the scene
anew at every step, and heads for where it should be now rather than along a path planned before, so noise and nudges
do not throw it off. Needs mujoco: imported lazily.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from skilltokens.suites.libero.grasps import Grasp, hand_axes
from skilltokens.suites.libero.rotations import angle_between, rotation_vector
from skilltokens.suites.libero.scene import UP, Scene, Vector

Motion = Generator[Vector, None, bool]
DOWN = -UP
OPEN, CLOSED = -1.0, 1.0
GAIN = 1.3
"""Actions move a little farther than the distance left, as the arm lags behind."""
STEP, TURN = 0.05, 0.5
"""Metres and radians that an action of 1 moves and turns in one step."""
HOVER = 0.05
"""Metres above a grip point or a spot from where the hand goes straight down."""
MARGIN = 0.03
"""Metres to spare over what the hand passes."""
PRESS = 0.02
"""Metres below its spot that a thing is lowered towards, until it touches something."""
ASIDE, AHEAD = 0.007, 0.005
"""Metres that a pose may be missed by, across the way the hand points and along it."""
FUNNEL = 3.0
"""Metres back for each metre aside: the hand comes in through a steep funnel, the steeper the more careful."""


class Hand:
    """The robot's hand in a scene.

    Attributes:
        fingers: OPEN or CLOSED: the last number of every action.
        widen: by how much tolerances grow until a motion's limit, for noisy actions; 0 keeps them.
    """

    def __init__(self, scene: Scene, widen: float = 0.0) -> None:
        self.scene, self.widen = scene, widen
        self.fingers = OPEN

    def toward(self, point: Vector, axes: Vector | None = None, speed: float = 1.0) -> Vector:
        """The action (7,) that heads for a point, and axes (3, 3), at most at `speed` in every component."""
        action = np.zeros(7)
        shift = GAIN * (point - self.scene.hand) / STEP
        action[:3] = shift * min(1.0, speed / max(float(np.abs(shift).max()), 1e-9))
        if axes is not None:
            turn = GAIN * rotation_vector(axes @ self.scene.turn.T) / TURN
            action[3:6] = turn * min(1.0, 1.0 / max(float(np.abs(turn).max()), 1e-9))
        action[6] = self.fingers
        return action

    def move(
        self,
        point: Callable[[], Vector],
        axes: Callable[[], Vector] | None = None,
        tolerance: float = 0.01,
        steps: int = 60,
        speed: float = 1.0,
        until: Callable[[], bool] | None = None,
    ) -> Motion:
        """Straight to a point, which may move; or until something happens."""
        for step in range(steps):
            wide = 1 + self.widen * step / steps
            target, frame = point(), None if axes is None else axes()
            turned = frame is None or angle_between(frame, self.scene.turn) < 0.08 * wide
            if (turned and np.linalg.norm(target - self.scene.hand) < tolerance * wide) or (until and until()):
                return True
            yield self.toward(target, frame, speed)
        return False

    def approach(
        self,
        pose: Callable[[], tuple[Vector, Vector]],
        back: Callable[[], float] | float,
        steps: int = 100,
        slow: float = 0.7,
        until: Callable[[], bool] | None = None,
    ) -> Motion:
        """To a pose (point, axes) from behind it: the farther aside or turned, the farther back, by `back` at most.

        One field of motion leads from anywhere to the pose: first back to a safe distance (up, for a hand that points
        down), then aside, then straight in. What to do next depends on where the hand is, not on what it did before.
        """
        scene, slack = self.scene, np.zeros(3)
        before, still = scene.hand, 0
        for step in range(steps):
            wide = 1 + self.widen * step / steps
            point, axes = pose()
            way = axes[:, 2]
            left = point - scene.hand
            ahead = float(left @ way)
            aside = left - ahead * way
            turned = angle_between(axes, scene.turn)
            off = float(np.linalg.norm(aside)) + 0.06 * turned
            arrived = np.linalg.norm(aside) < ASIDE * wide and abs(ahead) < AHEAD * wide and turned < 0.08 * wide
            if arrived or (until and until()):
                return True
            still = still + 1 if np.linalg.norm(scene.hand - before) < 1e-3 else 0
            before = scene.hand
            if still >= 4 and np.linalg.norm(left) < 0.02 * wide:
                return True  # the fingers are up against something: no nearer
            retreat = float(np.clip((off - ASIDE) * FUNNEL, 0.0, back() if callable(back) else back))
            free = float(np.clip(1 - (retreat - ahead - 0.01) / 0.03, 0.0, 1.0))
            slack *= 0.8  # what stays of it makes up for the arm settling short of its goal where it is nearly straight
            if np.linalg.norm(left) < 0.035:
                slack = np.clip(slack + 0.3 * left, -0.03, 0.03)
            near = ahead < HOVER and retreat < HOVER
            yield self.toward(scene.hand + (ahead - retreat) * way + free * aside + slack, axes, slow if near else 1.0)
        return False

    def set_fingers(self, to: float, steps: int = 12, press: float = 0.0) -> Motion:
        """Opens or closes the fingers on the spot, until they stop moving; `press` holds them that far below it."""
        self.fingers = to
        spot, before, still = self.scene.hand - press * UP, self.scene.opening, 0
        for step in range(steps):
            yield self.toward(spot)
            still = still + 1 if abs(self.scene.opening - before) < 5e-4 else 0
            before = self.scene.opening
            if step >= 3 and still >= 2:
                break
        return True

    def lift(self, height: float, steps: int = 25) -> Motion:
        """Up by `height` metres, gently: what is held slips where it is torn away. Towards the base where it is far."""
        here = self.scene.hand
        out = here - self.scene.data.xpos[self.scene.model.body("robot0_link2").id]
        out[2] = 0.0
        goal = here + height * UP - max(0.0, self.scene.stretch(here) - 0.64) * out / np.linalg.norm(out)
        return (yield from self.move(lambda: goal, tolerance=0.02, steps=steps, speed=0.6))

    def clear_height(self, start: Vector, end: Vector, skip: tuple[str, ...] = (), width: float = 0.04) -> float:
        """The height at which the finger tips pass over all that lies between two points, on a path `width` to a side.

        What the path only leads away from does not count. The palm is wider than the fingers, and 7 cm higher.
        """
        cloud = self.scene.cloud(skip, near=(start + end) / 2, radius=0.35 + float(np.linalg.norm(end - start)) / 2)
        line = (end - start)[:2]
        share = np.clip((cloud[:, :2] - start[:2]) @ line / max(float(line @ line), 1e-9), 0, 1)
        away = np.linalg.norm(cloud[:, :2] - start[:2] - share[:, None] * line, axis=1)
        heights = cloud[:, 2] - np.where(away < width, 0.0, np.where(away < 0.11, 0.07, np.inf))
        nearer = away < np.linalg.norm(cloud[:, :2] - start[:2], axis=1) - 0.01
        return float(heights[nearer].max(initial=-1.0))

    # Picking and placing

    def grasp(self, choose: Callable[[], Grasp], things: tuple[str, ...] = (), press: float = 0.0) -> Motion:
        """Opens the fingers, comes in over all obstacles and closes them, pressing down. `things` are no obstacles."""
        self.fingers = OPEN
        grasp = choose()
        point = grasp.at(self.scene)[0]
        clear = self.clear_height(self.scene.hand, point, things) + MARGIN - point[2]
        yield from self.approach(lambda: grasp.at(self.scene), max(HOVER, clear))
        return (yield from self.set_fingers(CLOSED, press=press))

    def pick(self, thing: str, choose: Callable[[], Grasp], height: float = 0.06, press: float = 0.0) -> Motion:
        """Grasps a thing and lifts it; again, where it is lost."""
        for _ in range(4):
            yield from self.grasp(choose, (thing,), press)
            before = self.scene.position(thing)[2]
            yield from self.lift(height)
            if self.scene.held(thing) or self.scene.position(thing)[2] > before + height / 2:
                return True
            self.fingers = OPEN
            yield from self.lift(0.05, steps=15)
        return False

    def place(
        self,
        thing: str,
        spot: Callable[[], Vector],
        skip: tuple[str, ...] = (),
        rise: float = 0.08,
        fingers: Vector | None = None,
        room: float = 0.02,
    ) -> Motion:
        """Carries the held thing over all obstacles to above `spot`, lowers it until it touches, lets go and rises.

        `spot` is where the thing's origin goes, and the fingers turn to the line `fingers`. `skip` are no obstacles,
        and nor is what lies farther than `room` beside the thing's way.
        """
        scene = self.scene
        geoms = frozenset(scene.geoms[thing])
        others = scene.world - geoms
        carried, axes = scene.position(thing) - scene.hand, scene.turn
        low, high = scene.bounds(thing)
        width = float(max(high[:2] - low[:2])) / 2 + room
        start, skip = scene.position(thing), (thing, *skip)
        under_thing = self.clear_height(start, spot(), skip, width) + MARGIN
        under_hand = self.clear_height(scene.hand, spot() - carried, skip) + MARGIN
        straight = hand_axes(scene, axes[:, 0] if fingers is None else fingers, DOWN)

        def lost() -> bool:
            return not scene.held(thing) and bool(np.linalg.norm(scene.position(thing) - scene.hand - carried) > 0.03)

        def back() -> float:
            lowest = min(scene.bounds(thing)[0][2] - under_thing, scene.hand[2] - under_hand)
            return max(HOVER, scene.position(thing)[2] - lowest - spot()[2] + PRESS)

        def pose() -> tuple[Vector, Vector]:
            return scene.hand + spot() - scene.position(thing) - PRESS * UP, straight

        def landed() -> bool:
            left = spot() - scene.position(thing)
            near = np.linalg.norm(left[:2]) < 0.02 and left[2] > -0.04
            return bool(near and scene.touching(geoms, others)) or lost()

        yield from self.approach(pose, back, until=landed, steps=120, slow=0.6)
        if lost():
            return False
        yield from self.set_fingers(OPEN, steps=8)
        return (yield from self.lift(rise))

    def drag(self, thing: str, spot: Callable[[], Vector], height: float) -> Motion:
        """Draws a dish, held by its rim and lifted on that side by `height`, over the table to `spot`, and lets go."""
        scene = self.scene
        level, axes = scene.hand[2] + height, hand_axes(scene, scene.turn[:, 0], DOWN)
        held = scene.position(thing) - scene.hand

        def goal() -> Vector:
            way = spot() - scene.position(thing)
            return np.array([*(scene.hand + way)[:2], level])

        def left() -> float:
            return float(np.linalg.norm((spot() - scene.position(thing))[:2]))

        def lost() -> bool:
            return bool(np.linalg.norm(scene.position(thing) - scene.hand - held) > 0.03)

        yield from self.move(
            goal, lambda: axes, tolerance=0.0, steps=80, speed=0.8, until=lambda: left() < 0.01 or lost()
        )
        yield from self.set_fingers(OPEN, steps=8)
        yield from self.lift(0.06)
        return left() < 0.02

    # Fixtures

    def pull(self, handle: Callable[[], Vector], way: Vector, done: Callable[[], bool], lead: float = 0.03) -> Motion:
        """Draws what the closed fingers hold along `way`, `lead` metres ahead of it, until done or slipped."""
        held, axes = self.scene.hand - handle(), self.scene.turn
        for _ in range(60):
            if done():
                return True
            if np.linalg.norm(self.scene.hand - handle() - held) > 0.035:
                return False
            yield self.toward(handle() + held + lead * way, axes)
        return done()

    def twist(self, spot: Vector, across: Callable[[], Vector], done: Callable[[], bool], lead: float = 0.5) -> Motion:
        """Turns a held knob about the vertical, `lead` radians ahead of its ridge, whose thin side is `across`."""
        turn = np.array([[np.cos(lead), -np.sin(lead), 0], [np.sin(lead), np.cos(lead), 0], [0, 0, 1.0]])
        for _ in range(40):
            if done():
                return True
            yield self.toward(spot, hand_axes(self.scene, turn @ across(), DOWN))
        return False

    def push(
        self, pose: Callable[[], tuple[Vector, Vector]], way: Callable[[], Vector], done: Callable[[], bool]
    ) -> Motion:
        """Pushes with closed fingers from a pose (point, axes), which moves along, in a direction (3,), until done."""
        scene = self.scene
        self.fingers = CLOSED
        before = lambda: pose()[0] - 0.05 * way()  # noqa: E731
        clear = self.clear_height(scene.hand, before()) + MARGIN - before()[2]
        flat = abs(pose()[1][2, 2]) < 0.7  # a hand that lies comes from the side, not from above
        yield from self.approach(lambda: (before(), pose()[1]), HOVER if flat else max(HOVER, clear))
        for _ in range(80):
            if done():
                return True
            point, axes = pose()
            yield self.toward(point + 0.03 * way(), axes)
        return False

    def retreat(self, distance: float, steps: int = 20) -> Motion:
        """Backs out the way the hand points."""
        goal = self.scene.hand - distance * self.scene.turn[:, 2]
        return (yield from self.move(lambda: goal, tolerance=0.02, steps=steps))
