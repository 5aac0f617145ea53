"""What the scripted experts know of a LIBERO scene: poses, collision geometry, contacts and joints.

It is read straight out of MuJoCo's model and data at every call, so it is always the scene as it is now. Nothing here
changes the simulation. Lengths are metres in the world's frame, angles radians. Needs mujoco: imported lazily.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from skilltokens.suites.libero.environment import LiberoEnvironment

mujoco: Any = importlib.import_module("mujoco")  # type checkers do not see the names of this binary module

Vector = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])
SPACING = 0.012
"""Metres between the sampled points of a surface; about the width of a finger."""
_ROBOT = ("robot0", "gripper0", "mount0")


class Scene:
    """The scene of one environment, by the names that LIBERO's task files use for things, fixtures and regions."""

    def __init__(self, environment: LiberoEnvironment) -> None:
        self.environment = environment
        self.model, self.data = environment.model, environment.data
        model = self.model
        self.bodies: dict[str, int] = {name: int(body) for name, body in environment.domain.obj_body_id.items()}
        solid = [geom for geom in range(model.ngeom) if model.geom_contype[geom] or model.geom_conaffinity[geom]]
        chains = {geom: self._ancestors(int(model.geom_bodyid[geom])) for geom in solid}
        self.geoms = {name: [geom for geom in solid if body in chains[geom]] for name, body in self.bodies.items()}
        robot = {body for body in range(model.nbody) if model.body(body).name.startswith(_ROBOT)}
        self.world = frozenset(geom for geom in solid if int(model.geom_bodyid[geom]) not in robot)
        self.fingers = [
            frozenset(geom for geom in solid if f"finger{side}" in model.geom(geom).name) for side in (1, 2)
        ]
        self._grip_site = model.site("gripper0_grip_site").id
        self._finger_joints = [model.joint(f"gripper0_finger_joint{side}").qposadr[0] for side in (1, 2)]
        self._corners: dict[int, Vector] = {}
        self._surfaces: dict[int, Vector] = {}
        self._bodies: dict[tuple[int, ...], list[tuple[int, Vector]]] = {}

    # The robot

    @property
    def hand(self) -> Vector:
        """The point between the finger tips (3,)."""
        return self.data.site_xpos[self._grip_site].copy()

    @property
    def turn(self) -> Vector:
        """The hand's axes as columns (3, 3): along the fingers' travel, across it, and the way that the hand points."""
        return self.data.site_xmat[self._grip_site].reshape(3, 3).copy()

    @property
    def opening(self) -> float:
        """Metres between the fingers."""
        one, other = (float(self.data.qpos[address]) for address in self._finger_joints)
        return one - other

    def stretch(self, point: Vector) -> float:
        """Metres from shoulder to wrist with the hand pointing down at `point`; the arm is straight at about 0.72."""
        shoulder = self.data.xpos[self.model.body("robot0_link2").id]
        reach = np.linalg.norm(point[:2] - shoulder[:2]) - 0.088  # the wrist sits behind the flange
        return float(np.hypot(reach, point[2] + 0.204 - shoulder[2]))  # and above the finger tips

    # Things, fixtures and regions

    def position(self, name: str) -> Vector:
        """Where a thing or region is, as LIBERO's predicates see it: its body's origin, or its site (3,)."""
        if name in self.bodies:
            return self.data.xpos[self.bodies[name]].copy()
        return self.data.site_xpos[self.model.site(name).id].copy()

    def axes(self, name: str) -> Vector:
        """The axes of a thing or region as columns (3, 3)."""
        if name in self.bodies:
            return self.data.xmat[self.bodies[name]].reshape(3, 3).copy()
        return self.data.site_xmat[self.model.site(name).id].reshape(3, 3).copy()

    def joint(self, name: str) -> float:
        """How far a hinge (radians) or slide (metres) is turned or drawn."""
        return float(self.data.qpos[self.model.joint(name).qposadr[0]])

    def part(self, name: str, body: str) -> list[int]:
        """The collision geoms of one moving part of a fixture, such as a drawer."""
        part = self.model.body(body).id
        return [geom for geom in self.geoms[name] if self.model.geom_bodyid[geom] == part]

    def points(self, geoms: Iterable[int]) -> Vector:
        """Corners of the boxes and vertices of the meshes among `geoms` (n, 3)."""
        placed = []
        for body, corners in self._rigid(tuple(geoms)):
            placed.append(corners @ self.data.xmat[body].reshape(3, 3).T + self.data.xpos[body])
        return np.concatenate(placed)

    def bounds(self, name: str) -> tuple[Vector, Vector]:
        """Lowest and highest coordinates of a thing, (3,) each."""
        points = self.points(self.geoms[name])
        return points.min(0), points.max(0)

    def centre(self, name: str) -> Vector:
        """The middle of a thing's bounds (3,)."""
        low, high = self.bounds(name)
        return (low + high) / 2

    def cloud(
        self,
        skip: Collection[str] = (),
        near: Vector | None = None,
        radius: float = 0.35,
        only: Collection[str] | None = None,
    ) -> Vector:
        """Points on all things and fixtures but `skip`, or on `only` some, within `radius` of `near` (n, 3)."""
        clouds = [np.zeros((0, 3))]
        for name, geoms in self.geoms.items():
            if name in skip or (only is not None and name not in only):
                continue
            for geom in geoms:
                away = 0.0 if near is None else np.linalg.norm(self.data.geom_xpos[geom] - near)
                if near is None or away < radius + self.model.geom_rbound[geom]:
                    clouds.append(self._placed(geom, self._surface_of(geom)))
        points = np.concatenate(clouds)
        return points if near is None else points[np.linalg.norm(points - near, axis=1) < radius]

    # Contacts and goals

    def touching(self, some: Collection[int], others: Collection[int]) -> bool:
        """Whether any geom of `some` touches one of `others`."""
        for contact in self.data.contact[: self.data.ncon]:
            one, other = contact.geom1, contact.geom2
            if (one in some and other in others) or (one in others and other in some):
                return True
        return False

    def held(self, name: str) -> bool:
        """Whether both fingers touch the thing."""
        geoms = frozenset(self.geoms[name])
        return all(self.touching(finger, geoms) for finger in self.fingers)

    def holds(self, predicate: list[str]) -> bool:
        """Whether one predicate of the goal is true now, as LIBERO tests it."""
        self.environment.activate()
        return bool(self.environment.domain._eval_predicate(predicate))

    # Geometry, worked out once

    def _ancestors(self, body: int) -> set[int]:
        """The body, and all that it is fixed to or jointed to, but the world."""
        bodies = set()
        while body:
            bodies.add(body)
            body = int(self.model.body_parentid[body])
        return bodies

    def _rigid(self, geoms: tuple[int, ...]) -> list[tuple[int, Vector]]:
        """The corners of geoms, body by body, in the body's axes: what moves as one is placed at once."""
        if geoms not in self._bodies:
            parts: dict[int, list[Vector]] = {}
            for geom in geoms:
                body = int(self.model.geom_bodyid[geom])
                corners = self._placed(geom, self._corners_of(geom)) - self.data.xpos[body]
                parts.setdefault(body, []).append(corners @ self.data.xmat[body].reshape(3, 3))
            self._bodies[geoms] = [(body, np.concatenate(corners)) for body, corners in parts.items()]
        return self._bodies[geoms]

    def _placed(self, geom: int, points: Vector) -> Vector:
        """Points (n, 3) of a geom's own frame, in the world's."""
        return points @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]

    def _corners_of(self, geom: int) -> Vector:
        """A mesh's vertices, or the corners of the box around a primitive, in the geom's frame (n, 3)."""
        if geom not in self._corners:
            model = self.model
            if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
                mesh = model.geom_dataid[geom]
                first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
                corners = np.asarray(model.mesh_vert[first : first + count], dtype=np.float64)
            else:
                corners = np.array(np.meshgrid(*[(-1.0, 1.0)] * 3)).reshape(3, -1).T * self._half_sizes(geom)
            self._corners[geom] = corners
        return self._corners[geom]

    def _half_sizes(self, geom: int) -> Vector:
        """Half sizes of a box around a primitive."""
        size, kind = self.model.geom_size[geom], self.model.geom_type[geom]
        if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            return np.repeat(size[0], 3)
        if kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE):
            cap = size[0] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0
            return np.array([size[0], size[0], size[1] + cap])
        return np.array(size)

    def _surface_of(self, geom: int) -> Vector:
        """A grid of points on the box around a geom, in its frame (n, 3)."""
        if geom not in self._surfaces:
            corners = self._corners_of(geom)
            low, high = corners.min(0), corners.max(0)
            counts = np.maximum(2, ((high - low) / SPACING).astype(int) + 1)
            lines = [np.linspace(*ends) for ends in zip(low, high, counts, strict=True)]
            grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
            self._surfaces[geom] = grid[(np.isclose(grid, low) | np.isclose(grid, high)).any(1)]
        return self._surfaces[geom]
