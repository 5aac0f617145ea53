"""Scripted experts: each predicate of a task's goal becomes a script of named motions.

    expert = experts.expert(environment)
    expert.reset()
    action = expert.act()        # (7,) in [-1, 1]

An expert sees all poses and shapes of the scene. It makes the goal's predicates true in order, and repeats the script
of one that does not hold. Importing this module needs mujoco: it is imported where an expert is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from skilltokens.suites.libero.fixtures import DRAWN, Drawer, close_door, close_drawer, open_drawer, owner, turn_on
from skilltokens.suites.libero.grasps import (
    START_FINGERS,
    Grasp,
    across_flats,
    across_narrowest,
    hand_axes,
    handle_side,
    on_handle,
    on_rim,
    rim,
)
from skilltokens.suites.libero.motions import OPEN, Hand, Motion
from skilltokens.suites.libero.scene import UP, Scene, Vector
from skilltokens.types import SuiteError

if TYPE_CHECKING:
    from skilltokens.suites.libero.environment import LiberoEnvironment

FIRST, LAST = ("turnon", "open"), ("close", "turnoff")
"""Predicates that are made true before all others, and after them."""


def expert(environment: LiberoEnvironment, noise: float = 0.0) -> Expert:
    """The expert of an environment's task.

    Args:
        noise: standard deviation of the noise that is added to its actions; with noise its tolerances widen.

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
        order = sorted(self.environment.goal, key=lambda predicate: (predicate[0] in LAST) - (predicate[0] in FIRST))
        self._steps = [(predicate, script(self.scene, self.hand, predicate)) for predicate in order]
        self._running = self._script()

    def act(self) -> Vector:
        """The next action (7,) in [-1, 1]."""
        return np.clip(next(self._running), -1.0, 1.0)

    def _script(self) -> Motion:
        while True:
            for predicate, motion in self._steps:
                if len(self._steps) == 1 or not self.scene.holds(predicate):
                    yield from motion()
            yield self.hand.toward(self.scene.hand)


def script(scene: Scene, hand: Hand, predicate: list[str]) -> Callable[[], Motion]:
    """The script that makes one predicate of a goal true, such as ["on", "akita_black_bowl_1", "plate_1"].

    Raises:
        SuiteError: there is none.
    """
    verb, thing, where = predicate[0], predicate[1], predicate[-1]
    at = lambda: scene.position(where)  # noqa: E731
    match verb:
        case "open" if "cabinet" in thing:
            return partial(open_drawer, scene, hand, thing)
        case "close" if "cabinet" in thing:
            return partial(close_drawer, scene, hand, thing)
        case "close" if "microwave" in thing:
            return partial(close_door, scene, hand, thing)
        case "turnon":
            return partial(turn_on, scene, hand, thing)
        case "in" if "basket" in where:
            return partial(put, scene, hand, thing, lambda: at() + 0.03 * UP)
        case "in" if "cabinet" in where:
            return partial(put_in_drawer, scene, hand, thing, where)
        case "in" if "caddy" in where:
            return partial(put_in_caddy, scene, hand, thing, where)
        case "in" if "microwave" in where:
            return partial(put_in_microwave, scene, hand, thing, where)
        case "on" if "rack" in where:
            return partial(put_on_rack, scene, hand, thing, where)
        case "on" if "plate" in thing:
            return partial(push, scene, hand, thing, at)
        case "on" if "mug" in thing:
            return partial(put, scene, hand, thing, lambda: at() + off_axis(scene, thing))
        case "on" if "moka_pot" in thing:
            return partial(put, scene, hand, thing, lambda: at() + beside(scene, thing))
        case "on" if "plate_right" in where:  # the far half of the region: the plate reaches into the near one
            return partial(put, scene, hand, thing, lambda: at() + np.array([0.0, 0.03, 0.0]))
        case "on":
            return partial(put, scene, hand, thing, at)
    raise SuiteError(f"no script makes {predicate} true: demonstrations of this task have to come from elsewhere")


def hold_of(scene: Scene, thing: str, side: Vector = START_FINGERS) -> Callable[[], Grasp]:
    """How a thing is best taken: dishes by the rim, on a `side` (3,), all else across its narrowest width."""
    if "plate" in thing:  # its rim is low and slopes, and slips out of the fingers where they take more or less of it
        return partial(on_rim, scene, thing, depth=0.005, inset=0.008)
    if "mug" in thing:
        return partial(on_rim, scene, thing, depth=0.02, inset=0.0, side=-handle_side(scene, thing))
    if "bowl" in thing:
        return partial(on_rim, scene, thing, side=side)
    if "moka_pot" in thing:
        return partial(across_flats, scene, thing)
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


def put_on_rack(scene: Scene, hand: Hand, bottle: str, region: str) -> Motion:
    """Put a bottle down on a rack, a little up its slope: it then leans where it should."""
    spot = lambda: scene.position(region) + 0.03 * scene.axes(region)[:, 2]  # noqa: E731
    return (yield from put(scene, hand, bottle, spot, skip=(owner(scene, region),)))


def put_in_drawer(scene: Scene, hand: Hand, thing: str, region: str) -> Motion:
    """Open the drawer, and put the thing into it; a thing that stands in the drawer's way is moved aside first."""
    drawer = Drawer(scene, region)
    if drawer.drawn > DRAWN + 0.01:
        free = drawer.free_spot(thing)
        if free is not None:
            yield from hand.pick(thing, hold_of(scene, thing), height=0.02)
            yield from hand.place(thing, lambda: free, rise=0.04)
        yield from open_drawer(scene, hand, region)
    if not (yield from hand.pick(thing, hold_of(scene, thing, drawer.out))):
        return False
    middle = lambda: scene.position(region) + 0.023 * drawer.out - 0.02 * UP  # noqa: E731
    return (yield from hand.place(thing, middle, room=0.0))


def put_in_caddy(scene: Scene, hand: Hand, book: str, region: str) -> Motion:
    """Take the book by its back, turn it along the compartment and let it down."""
    if not (yield from hand.pick(book, hold_of(scene, book))):
        return False

    def spot() -> Vector:
        goal = scene.position(region) + scene.position(book) - scene.centre(book)
        goal[2] = scene.position(region)[2] - 0.05
        return goal

    return (yield from hand.place(book, spot, fingers=np.array([1.0, 0.0, 0.0])))


def put_in_microwave(scene: Scene, hand: Hand, mug: str, region: str) -> Motion:
    """Take the mug by its handle, so that the hand stays outside, and slide it in over the threshold."""
    if not (yield from hand.pick(mug, partial(on_handle, scene, mug))):
        return False
    inside = scene.position(region) + np.array([-0.02, -0.08, 0.0])
    inside[2] = scene.bounds(owner(scene, region))[0][2] + 0.05
    way = np.array([0.0, 1.0, 0.0])
    axes = hand_axes(scene, np.array([1.0, 0.0, 0.0]), -UP)
    goal = lambda back: lambda: scene.hand + inside - back * way - scene.position(mug)  # noqa: E731
    yield from hand.move(goal(0.13), lambda: axes, tolerance=0.02)
    yield from hand.move(goal(0.0), lambda: axes, tolerance=0.008, speed=0.6)
    yield from hand.set_fingers(OPEN)
    start = scene.hand - 0.10 * way
    yield from hand.move(lambda: start, tolerance=0.02)
    yield from hand.lift(0.15)
    return scene.holds(["in", mug, region])


def off_axis(scene: Scene, thing: str) -> Vector:
    """From the middle of a mug, its handle left out, to its origin (3,)."""
    middle, _ = rim(scene.points(scene.geoms[thing]))
    return (scene.position(thing) - middle) * [1.0, 1.0, 0.0]


def beside(scene: Scene, pot: str) -> Vector:
    """Where on a stove a pot goes (3,): in the middle, or two of them corner to corner, the first one farther away."""
    pots = sorted(name for name in scene.bodies if "moka_pot" in name)
    if len(pots) == 1:
        return np.zeros(3)
    corner = np.array([0.035, -0.05, 0.0])
    return corner if pot == pots[0] else -corner
