"""Drawers, doors and knobs: the parts of fixtures that move, and what a hand does with them.

Needs mujoco: imported lazily.
"""

from __future__ import annotations

import numpy as np

from skilltokens.suites.libero.grasps import START_FINGERS, Grasp, hand_axes
from skilltokens.suites.libero.motions import CLOSED, OPEN, Hand, Motion
from skilltokens.suites.libero.scene import UP, Scene, Vector

DRAWN = -0.155
"""Metres: a drawer that is drawn so far counts as open, with some to spare."""
TILT = 1.31
"""Radians from the vertical at which the hand takes a drawer's handle: lower, and it hits the handle above."""

LEAN = 1.1
"""The same for pushing a drawer shut, over what stands in front of it."""


def open_drawer(scene: Scene, hand: Hand, region: str) -> Motion:
    """Take the handle's bar between the fingers, one above and one below, and pull."""
    drawer = Drawer(scene, region)
    hand.fingers = OPEN
    for _ in range(4):
        hand.fingers = OPEN
        yield from hand.approach(lambda: drawer.grasp().at(scene), back=0.09)
        yield from hand.set_fingers(CLOSED)
        drawn = yield from hand.pull(drawer.handle, drawer.out, lambda: drawer.drawn < DRAWN)
        yield from hand.set_fingers(OPEN, steps=6)
        yield from hand.retreat(0.06)
        if drawn:
            return True
    return False


def close_drawer(scene: Scene, hand: Hand, region: str) -> Motion:
    """Push the drawer's front, beside the handle, with closed fingers; the hand lies flat, below the handles above."""
    drawer = Drawer(scene, region)
    way = -np.sin(LEAN) * drawer.out - np.cos(LEAN) * UP
    across = np.cross(UP, drawer.out)
    pose = lambda: (drawer.front() + 0.01 * UP, hand_axes(scene, across, way))  # noqa: E731
    shut = yield from hand.push(pose, lambda: -drawer.out, lambda: scene.holds(["close", region]))
    yield from hand.retreat(0.06)
    return shut


def close_door(scene: Scene, hand: Hand, microwave: str) -> Motion:
    """Push the door's outer side near its free end with closed fingers from above, and follow it round its hinge."""
    door = scene.model.body(f"{microwave}_microdoorroot").id
    hinge = scene.model.joint(f"{microwave}_microjoint").id
    geoms = scene.part(microwave, f"{microwave}_microdoorroot")

    def way() -> Vector:
        return scene.data.xmat[door].reshape(3, 3)[:, 1]  # from outside to inside

    def pose() -> tuple[Vector, Vector]:
        along = scene.data.xmat[door].reshape(3, 3)[:, 0]
        points = scene.points(geoms) - scene.data.xanchor[hinge]
        point = 0.85 * float((points @ along).max()) * along + (float((points @ way()).min()) - 0.015) * way()
        point += scene.data.xanchor[hinge]
        point[2] = scene.centre(microwave)[2] - 0.02
        return point, hand_axes(scene, START_FINGERS, -UP)

    shut = yield from hand.push(pose, way, lambda: scene.holds(["close", microwave]))
    yield from hand.retreat(0.06)
    return shut


def turn_on(scene: Scene, hand: Hand, stove: str) -> Motion:
    """Take the knob by its ridge, and turn it."""
    knob = scene.model.body(f"{stove}_button").id
    ridge = max(scene.part(stove, f"{stove}_button"), key=lambda geom: float(scene.data.geom_xpos[geom][2]))
    across = lambda: scene.data.xmat[knob].reshape(3, 3)[:, 0]  # noqa: E731
    for _ in range(4):
        spot = scene.data.xpos[knob].copy()
        spot[2] = scene.points([ridge])[:, 2].max() - 0.012
        yield from hand.grasp(lambda spot=spot: Grasp.on(scene, knob, spot, across(), -UP), (stove,))
        yield from hand.twist(spot, across, lambda: scene.holds(["turnon", stove]))
        yield from hand.set_fingers(OPEN, steps=8)
        yield from hand.lift(0.06)
        if scene.holds(["turnon", stove]):
            return True
    return False


def owner(scene: Scene, region: str) -> str:
    """The fixture or thing that a region such as wooden_cabinet_1_top_region belongs to."""
    return next(name for name in scene.bodies if region.startswith(f"{name}_"))


class Drawer:
    """A cabinet's drawer, by the name of the region inside of it."""

    def __init__(self, scene: Scene, region: str) -> None:
        self.scene, self.cabinet = scene, owner(scene, region)
        self.level = region.removeprefix(f"{self.cabinet}_").removesuffix("_region")
        self.body = scene.model.body(f"{self.cabinet}_cabinet_{self.level}").id
        self.geoms = scene.part(self.cabinet, f"{self.cabinet}_cabinet_{self.level}")
        self.out = -scene.data.xmat[self.body].reshape(3, 3)[:, 1]
        """The way it opens (3,)."""
        self._bar = max(self.geoms, key=lambda geom: float(scene.data.geom_xpos[geom] @ self.out))

    @property
    def drawn(self) -> float:
        """The slide's joint, in metres: 0 is closed, negative is open."""
        return self.scene.joint(f"{self.cabinet}_{self.level}_level")

    def handle(self) -> Vector:
        """The middle of the handle's bar (3,)."""
        return self.scene.data.geom_xpos[self._bar].copy()

    def grasp(self) -> Grasp:
        """The tilted hand around the bar, 10 mm past its middle; less slips."""
        way = -np.sin(TILT) * self.out - np.cos(TILT) * UP
        fingers = np.cos(TILT) * self.out - np.sin(TILT) * UP
        return Grasp.on(self.scene, self.body, self.handle() + 0.008 * fingers + 0.010 * way, fingers, way)

    def front(self) -> Vector:
        """The middle of the front's outer side, beside the handle where there is more room before it (3,)."""
        points = self.scene.points([max(self.geoms, key=self._face)])
        middle, size = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0)
        across = np.cross(UP, self.out)
        middle = middle + float(np.abs(size @ self.out)) / 2 * self.out
        sides = [middle + (float(np.abs(size @ across)) / 2 - 0.025) * way for way in (across, -across)]
        clutter = self.scene.cloud(skip=(self.cabinet,), near=middle, radius=0.6)
        gaps = [np.linalg.norm(clutter - side - 0.10 * self.out, axis=1).min(initial=1.0) for side in sides]
        return sides[int(np.argmax(gaps))]

    def _face(self, geom: int) -> float:
        """How much of a front a geom is: its extent square to the slide, but not the far wall's."""
        points = self.scene.points([geom])
        size = np.ptp(points, axis=0)
        area = float(np.abs(size @ np.cross(UP, self.out)) * size[2])
        return area + 0.01 * float(self.scene.data.geom_xpos[geom] @ self.out)

    def free_spot(self, thing: str, reach: float = 0.16) -> Vector | None:
        """The nearest place on the table beside the open drawer where the thing can stand; None where it stands clear.

        The hand needs room around a thing as well, and the open drawer would hang over it.
        """
        closed = self.scene.points(self.geoms)[:, :2]
        swept = np.concatenate([closed, closed + reach * self.out[:2]])
        low, high = swept.min(0), swept.max(0)

        def room(spots: Vector) -> Vector:
            return np.linalg.norm(np.maximum(np.maximum(low - spots, spots - high), 0), axis=-1)

        centre, points = self.scene.centre(thing), self.scene.points(self.scene.geoms[thing])
        if room(centre[:2]) > 0.065:
            return None
        radius = float(np.ptp(points[:, 0])) / 2 + 0.01
        cloud = self.scene.cloud(skip=(thing,), near=centre, radius=0.5)
        cloud = cloud[cloud[:, 2] < centre[2] + 0.05, :2]
        steps = np.arange(-0.2, 0.2, 0.01)
        spots = centre[:2] + np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        spots = spots[room(spots) > 0.075]
        spots = spots[np.linalg.norm(cloud[:, None] - spots, axis=-1).min(0) > radius]
        if not len(spots):
            return None
        nearest = spots[np.linalg.norm(spots - centre[:2], axis=1).argmin()]
        return np.array([*nearest, self.scene.position(thing)[2]])
