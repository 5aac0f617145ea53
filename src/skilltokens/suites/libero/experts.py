"""Scripted experts: each predicate of a task's goal becomes a script of named motions.

    expert = experts.expert(environment)
    expert.reset()
    action = expert.act()        # (7,) in [-1, 1]

An expert sees all poses and shapes of the scene. It takes the goal's predicates in order, and does again what did not
hold. Importing this module needs mujoco: it is imported where an expert is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from skilltokens.suites.libero.grasps import Grasp, across_narrowest, on_rim
from skilltokens.suites.libero.motions import CLOSED, OPEN, Hand, Motion
from skilltokens.suites.libero.scene import UP, Scene, Vector
from skilltokens.types import SuiteError

if TYPE_CHECKING:
    from skilltokens.suites.libero.environment import LiberoEnvironment

DRAWN = -0.155
"""Metres: a drawer that is drawn so far counts as open, with some to spare."""
TILT = 1.31
"""Radians from the vertical at which the hand takes a drawer's handle: lower, and it hits the handle above."""


def expert(environment: LiberoEnvironment, noise: float = 0.0) -> Expert:
    """The expert of an environment's task. `noise` is the deviation of the actions' noise that it must live with.

    Raises:
        SuiteError: the goal has a predicate that no script serves.
    """
    return Expert(environment, noise)


class Expert:
    """Acts in one environment; `reset` it after each reset of the environment."""

    def __init__(self, environment: LiberoEnvironment, noise: float = 0.0) -> None:
        self.environment = environment
        self.widen = 2.0 if noise else 0.0
        self.reset()

    def reset(self) -> None:
        """Begins the script anew, on the scene as it is now."""
        self.scene = Scene(self.environment)
        self.hand = Hand(self.scene, self.widen)
        self._steps = [script(self.scene, self.hand, predicate) for predicate in self.environment.goal]
        self._running = self._script()

    def act(self) -> Vector:
        """The next action (7,) in [-1, 1]."""
        return np.clip(next(self._running), -1.0, 1.0)

    def _script(self) -> Motion:
        while True:
            for predicate, motion in zip(self.environment.goal, self._steps, strict=True):
                if len(self._steps) == 1 or not self.scene.holds(predicate):
                    yield from motion()
            yield self.hand.toward(self.scene.hand)


def script(scene: Scene, hand: Hand, predicate: list[str]) -> Callable[[], Motion]:
    """What makes one predicate of a goal true."""
    verb, thing, where = predicate[0], predicate[1], predicate[-1]
    if verb == "open" and "cabinet" in thing:
        return partial(open_drawer, scene, hand, thing)
    if verb == "turnon":
        return partial(turn_on, scene, hand, thing)
    if verb == "in" and "basket" in where:
        return partial(put, scene, hand, thing, lambda: scene.position(where) + 0.03 * UP)
    if verb == "in" and "cabinet" in where:
        return partial(put_in_drawer, scene, hand, thing, where)
    if verb == "on" and "rack" in where:
        along = scene.axes(where)[:, 2]
        return partial(put, scene, hand, thing, lambda: scene.position(where) + 0.03 * along, (owner(scene, where),))
    if verb == "on" and "plate" in thing:
        return partial(push, scene, hand, thing, lambda: scene.position(where))
    if verb == "on":
        return partial(put, scene, hand, thing, lambda: scene.position(where))
    raise SuiteError(f"no script makes {predicate} true: demonstrations of this task have to come from elsewhere")


def hold_of(scene: Scene, thing: str) -> Callable[[], Grasp]:
    """How a thing is best taken: plates and bowls by the rim, all else across its narrowest width."""
    if "plate" in thing:  # its rim is low and slopes, and slips out of the fingers where they take more or less of it
        return partial(on_rim, scene, thing, depth=0.005, inset=0.008)
    if "bowl" in thing:
        return partial(on_rim, scene, thing)
    return partial(across_narrowest, scene, thing)


def put(scene: Scene, hand: Hand, thing: str, spot: Callable[[], Vector], skip: tuple[str, ...] = ()) -> Motion:
    """Pick a thing up and put it down on a spot."""
    if not (yield from hand.pick(thing, hold_of(scene, thing))):
        return False
    return (yield from hand.place(thing, spot, skip))


def push(scene: Scene, hand: Hand, dish: str, spot: Callable[[], Vector]) -> Motion:
    """Take a dish by the rim and draw it over the table to a spot."""
    for _ in range(4):
        yield from hand.grasp(hold_of(scene, dish), (dish,), press=0.01)
        if (yield from hand.drag(dish, spot, height=0.025)):
            return True
    return False


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


def put_in_drawer(scene: Scene, hand: Hand, thing: str, region: str) -> Motion:
    """Open the drawer, and put the thing into it; a thing that stands in the drawer's way is moved aside first."""
    drawer = Drawer(scene, region)
    if drawer.drawn > DRAWN + 0.01:
        spot = drawer.free_spot(thing)
        if spot is not None:
            yield from hand.pick(thing, hold_of(scene, thing), height=0.02)
            yield from hand.place(thing, lambda: spot, rise=0.04)
        yield from open_drawer(scene, hand, region)
    return (yield from put(scene, hand, thing, lambda: scene.position(region) + 0.023 * drawer.out - 0.02 * UP))


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
