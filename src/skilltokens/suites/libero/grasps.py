"""Where to take hold of a thing, so that the same scene always gives the same answer.

A grasp is chosen by a cost: first of all the open hand needs room among everything else in the scene; then the wrist
should turn little from the way the hand starts, and one side of a round thing is preferred, the same one always. So the
choice depends on nothing but what the policy that imitates it sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skilltokens.suites.libero.scene import UP, Scene, Vector

START_FINGERS = np.array([0.0, 1.0, 0.0])
"""The fingers' line of travel at the start of an episode."""
WIDEST = 0.066
"""Metres that fit comfortably between the open fingers."""

# The open hand pointing down, seen from the grip point along (fingers, palm, up): boxes of centre, half sizes and
# needed clearance, for the two fingers, the palm and the wrist. They reach far up, as the hand comes in from above.
_BOXES = (
    ((-0.051, 0, 0.011), (0.012, 0.010, 0.021), 0.005),
    ((0.051, 0, 0.011), (0.012, 0.010, 0.021), 0.005),
    ((0, 0, 0.133), (0.105, 0.033, 0.10), 0.008),
    ((0, 0, 0.20), (0.060, 0.060, 0.10), 0.008),
)
_WIDTH = 0.13
_CENTRES, _HALF_SIZES, _CLEARANCES = (np.array([box[i] for box in _BOXES]) for i in range(3))


@dataclass(frozen=True)
class Grasp:
    """A grip point (3,), the fingers' line of travel (3,) and the way the hand points (3,), fixed to a body.

    `body` is what they move with, so `at` follows a thing that is nudged; one that `spins` may turn without them.
    """

    body: int
    point: Vector
    fingers: Vector
    way: Vector
    spins: bool = False

    @classmethod
    def on(cls, scene: Scene, body: int, point: Vector, fingers: Vector, way: Vector, spins: bool = False) -> Grasp:
        """A grasp from world coordinates as they are now."""
        turn = np.eye(3) if spins else scene.data.xmat[body].reshape(3, 3)
        return cls(body, (point - scene.data.xpos[body]) @ turn, fingers @ turn, way, spins)

    def at(self, scene: Scene) -> tuple[Vector, Vector]:
        """The grip point (3,) and the hand's axes (3, 3) in the world, now."""
        turn = np.eye(3) if self.spins else scene.data.xmat[self.body].reshape(3, 3)
        return scene.data.xpos[self.body] + turn @ self.point, hand_axes(scene, turn @ self.fingers, self.way)


def hand_axes(scene: Scene, fingers: Vector, way: Vector) -> Vector:
    """The hand's axes as columns (3, 3) for a line of fingers, taken whichever way round is nearer, and a way to point.

    `fingers` need not be square to `way`; only its part that is counts.
    """
    forward = way / np.linalg.norm(way)
    across = fingers - forward * (fingers @ forward)
    across = across / np.linalg.norm(across)
    if across @ scene.turn[:, 0] < 0:
        across = -across
    return np.stack([across, np.cross(forward, across), forward], axis=1)


def crowding(point: Vector, fingers: Vector, cloud: Vector) -> float:
    """How far the open hand, pointing down at `point`, comes too near to a cloud of points; 0 where it is free."""
    cloud = cloud[((cloud[:, :2] - point[:2]) ** 2).sum(1) < _WIDTH**2]
    if not len(cloud):
        return 0.0
    local = (cloud - point) @ np.stack([fingers, np.cross(UP, fingers), UP], axis=1)
    beyond = np.abs(local[:, None] - _CENTRES) - _HALF_SIZES
    gap = np.linalg.norm(np.maximum(beyond, 0), axis=2) + np.minimum(beyond.max(2), 0)
    return float(np.clip(1 - gap.min(0) / _CLEARANCES, 0, 3).sum())


def across_narrowest(scene: Scene, thing: str) -> Grasp:
    """From above across the narrowest width, near the top of a tall thing and below the middle of a flat one."""
    points = scene.points(scene.geoms[thing])
    low, high = points.min(0), points.max(0)
    height = high[2] - low[2]
    level = max(high[2] - (0.035 if height > 0.06 else 0.6 * height), low[2] + 0.010)
    angles = np.linspace(0, np.pi, 48, endpoint=False) + np.pi / 2
    lines = np.stack([np.cos(angles), np.sin(angles), np.zeros(48)], axis=1)
    widths = np.ptp(points @ lines.T, axis=0)
    cloud = scene.cloud(skip=(thing,), near=(low + high) / 2)
    candidates: list[tuple[float, Vector, Vector]] = []
    for line, width in zip(lines, widths, strict=True):
        if width > max(widths.min() + 0.012, WIDEST):
            continue
        along = np.cross(UP, line)
        middle = sum(axis * (np.max(points @ axis) + np.min(points @ axis)) / 2 for axis in (line, along))
        for shift in (0.0, -0.02, 0.02) if np.ptp(points @ along) > 0.06 else (0.0,):
            point = middle + level * UP + shift * along
            cost = 100 * (width - widths.min()) + 0.3 * _wrist(line) + 10 * abs(shift)
            candidates.append((cost + 3 * crowding(point, line, cloud), point, line))
    return _best(scene, thing, candidates)


def across_flats(scene: Scene, thing: str) -> Grasp:
    """From above across two opposite faces below the lid of a pot, clear of its handle and spout."""
    middle = scene.position(thing)
    points = scene.cloud(near=middle, radius=0.15, only=(thing,))
    level = points[:, 2].max() - 0.034
    cloud = scene.cloud(skip=(thing,), near=middle)
    candidates: list[tuple[float, Vector, Vector]] = []
    for angle in np.linspace(0, np.pi, 24, endpoint=False) + np.pi / 2:
        line = np.array([np.cos(angle), np.sin(angle), 0.0])
        strip = points[np.abs((points - middle) @ np.cross(UP, line)) < 0.014]
        reach = (strip[np.abs(strip[:, 2] - level) < 0.025] - middle) @ line
        if len(reach) and np.ptp(reach) < 0.075:
            point = middle + (reach.max() + reach.min()) / 2 * line
            point[2] = level
            cost = 100 * float(np.ptp(reach)) + 0.3 * _wrist(line) + 3 * crowding(point, line, cloud)
            candidates.append((cost + _reach(scene, point), point, line))
    return _best(scene, thing, candidates) if candidates else across_narrowest(scene, thing)  # it may lie on its side


def on_rim(scene: Scene, thing: str, depth: float = 0.016, inset: float = 0.006, side: Vector = START_FINGERS) -> Grasp:
    """From above, one finger inside and one outside of the rim of a round thing, on the `side` (3,) where it can be.

    The grip point lies `depth` below the rim and `inset` inside of it; where the outer finger has no room, the hand is
    set further inwards and draws the thing in as it closes.
    """
    points = scene.points(scene.geoms[thing])
    high = points[:, 2].max()
    centre, radius = rim(points)
    radius -= inset
    cloud = np.concatenate([scene.cloud(skip=(thing,), near=centre), _handle(scene, thing, centre, radius)])
    candidates: list[tuple[float, Vector, Vector]] = []
    for angle in np.linspace(0, 2 * np.pi, 32, endpoint=False):
        line = np.array([np.cos(angle), np.sin(angle), 0.0])
        near = (points - centre) @ line > 0.7 * radius
        near &= np.abs((points - centre) @ np.cross(UP, line)) < 0.014
        level = (points[near, 2].max() if near.any() else high) - depth  # a tilted bowl's rim is not level
        for shift in (0.0, 0.012, 0.024):
            point = centre + (radius - shift) * line
            point[2] = level
            cost = 0.3 * _wrist(line) + 0.3 * (1 - float(line @ side)) + 30 * shift + 3 * crowding(point, line, cloud)
            candidates.append((cost + _reach(scene, point), point, line))
    return _best(scene, thing, candidates, spins=True)


def on_handle(scene: Scene, thing: str) -> Grasp:
    """From above across a mug's handle, with the palm clear of the rim."""
    points = scene.points(scene.geoms[thing])
    centre, radius = rim(points)
    handle = _handle(scene, thing, centre, radius)
    out = handle_side(scene, thing)
    point = centre + float(np.quantile((handle - centre) @ out, 0.7)) * out
    point[2] = handle[:, 2].max() - 0.018
    return Grasp.on(scene, scene.bodies[thing], point, np.cross(UP, out), -UP)


def handle_side(scene: Scene, thing: str) -> Vector:
    """The way from a mug's middle to its handle, level and of length 1 (3,)."""
    centre, radius = rim(scene.points(scene.geoms[thing]))
    out = (_handle(scene, thing, centre, radius) - centre).mean(0) * [1.0, 1.0, 0.0]
    return out / np.linalg.norm(out)


def rim(points: Vector) -> tuple[Vector, float]:
    """The middle (3,) and radius of a round thing, by its highest points; a handle does not count."""
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2
    top = points[points[:, 2] > high[2] - 0.009]
    if np.all(np.ptp(top[:, :2], axis=0) > 0.7 * (high - low)[:2]):  # else it is tilted
        centre[:2] = (top[:, :2].min(0) + top[:, :2].max(0)) / 2
    top = points[points[:, 2] > high[2] - 0.012]
    return centre, float(np.median(np.linalg.norm(top[:, :2] - centre[:2], axis=1)))


def _handle(scene: Scene, thing: str, centre: Vector, radius: float) -> Vector:
    """Points of a thing that lie well outside of its rim (n, 3)."""
    points = scene.cloud(near=centre, radius=0.2, only=(thing,))
    return points[np.linalg.norm(points[:, :2] - centre[:2], axis=1) > radius + 0.018]


def _wrist(line: Vector) -> float:
    """Radians that the wrist turns from its start to bring the fingers on `line`."""
    return float(np.arccos(min(1.0, abs(line @ START_FINGERS))))


def _reach(scene: Scene, point: Vector) -> float:
    """The cost of a point near the end of the arm's reach, or too near to its base: the arm follows badly there."""
    stretch = scene.stretch(point)
    return 40 * max(0.0, stretch - 0.60) + 20 * max(0.0, 0.36 - stretch)


def _best(scene: Scene, thing: str, candidates: list[tuple[float, Vector, Vector]], spins: bool = False) -> Grasp:
    """The candidate (cost, grip point, line of the fingers) of least cost, as a grasp from above."""
    _, point, line = min(candidates, key=lambda candidate: candidate[0])
    return Grasp.on(scene, scene.bodies[thing], point, line, -UP, spins)
