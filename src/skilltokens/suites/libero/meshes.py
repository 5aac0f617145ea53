"""Fewer triangles for the robot's arm and pedestal, which fill few pixels and take most of the time of a picture.

Only what is seen is changed, in the compiled model and before OpenGL gets it: what things collide with stays, so states
are the same to the bit. Quadric decimation (Garland and Heckbert, 1997) by the package fast-simplification says which
corners become one; of the triangles that are left, corners keep their normals and textures.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import SuiteError

ROBOT = ("robot0", "gripper0", "mount0", "fixed_mount0")
"""How the names of robosuite's bodies begin that are the robot's."""
_LESS = 0.9
"""The share of a mesh's triangles that is to go."""
_FEW = 300
"""Meshes of fewer triangles stay."""


def simplify(model: Any) -> tuple[int, int]:
    """Simplifies the robot's meshes in place, and returns the number of all visible triangles before and after.

    Raises:
        SuiteError: fast-simplification is not installed.
    """
    before = after = 0
    for mesh, geoms in _visible(model).items():
        count = int(model.mesh_facenum[mesh])
        before += count
        owners = [model.body(int(model.geom_bodyid[geom])).name for geom in geoms]
        if count >= _FEW and all(name.startswith(ROBOT) for name in owners):
            _simplify(model, mesh)
        after += int(model.mesh_facenum[mesh])
    return before, after


def _visible(model: Any) -> dict[int, list[int]]:
    """Meshes that no geom collides with, and the geoms that show them."""
    mesh_type = importlib.import_module("mujoco").mjtGeom.mjGEOM_MESH
    users: dict[int, list[int]] = {}
    for geom in np.flatnonzero(model.geom_type == mesh_type).tolist():
        users.setdefault(int(model.geom_dataid[geom]), []).append(geom)
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    return {mesh: geoms for mesh, geoms in users.items() if not collides[geoms].any()}


def _simplify(model: Any, mesh: int) -> None:
    """Writes the triangles that are left of a mesh over its first ones."""
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    corner, corners = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    arrays = (model.mesh_face, model.mesh_facenormal, model.mesh_facetexcoord)
    faces, normals, textures = (array[start : start + count].copy() for array in arrays)
    faces = joined(model.mesh_vert[corner : corner + corners], faces)[faces]
    left = np.flatnonzero(_kept(faces))
    for array, values in zip(arrays, (faces, normals, textures), strict=True):
        array[start : start + len(left)] = values[left]
    model.mesh_facenum[mesh] = len(left)


def joined(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.int_]:
    """For each vertex (n, 3) the one that stands for it (n,), itself or another one of the mesh."""
    try:
        decimation: Any = importlib.import_module("fast_simplification")
    except ImportError as problem:
        raise SuiteError(
            'simplified pictures need fast-simplification: run `pip install "skilltokens[libero]"`'
        ) from problem
    # Vertices at one place are one, or a mesh would tear along the edges where its texture or its normals jump.
    places, first, place = np.unique(vertices.round(6), axis=0, return_index=True, return_inverse=True)
    place, triangles = place.ravel(), place.ravel()[faces].astype(np.int32)
    _, _, collapses = decimation.simplify(places, triangles, target_reduction=_LESS, return_collapses=True)
    merged, _, group = decimation.replay_simplification(places, triangles, collapses)
    nearest_last = np.lexsort((-np.square(places - merged[group]).sum(1), group))
    chosen = np.zeros(len(merged), int)
    chosen[np.asarray(group)[nearest_last]] = nearest_last
    return first[chosen[group]][place]


def _kept(faces: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Which triangles (n, 3) have an area, one of each three corners."""
    a, b, c = faces.T
    area = (a != b) & (b != c) & (a != c)
    once = np.zeros(len(faces), bool)
    once[np.unique(np.sort(faces, 1), axis=0, return_index=True)[1]] = True
    return area & once
