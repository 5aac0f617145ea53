"""What may be seen otherwise while nothing else changes: lights, places of cameras, surfaces of the room.

A disturbance is drawn for each episode, from its seed alone. Poses, actions and success stay the same to the bit. They
are of kinds that LIBERO-Plus (arXiv 2510.13626) tries policies with; how far they go is ours.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.suites.libero.meshes import ROBOT
from skilltokens.suites.rendering import Pictures

_BRIGHTER, _TINT, _SHIFT = (0.4, 1.5), (0.75, 1.0), 1.0
"""Lights: factors of their strength, of each colour, and metres that they move at most along each axis."""
_AWAY = {"agentview": 0.05, "robot0_eye_in_hand": 0.01}
"""Cameras: metres that each of them moves at most along each axis."""
_TURN = np.radians(3.0)
"""Radians that a camera turns at most, about any axis."""
_COLOURED = (0.5, 1.0)
"""Surfaces: factors of each colour of a material."""


class Disturbance:
    """How one episode is seen.

    Args:
        kind: one of names.DISTURBANCES.
        model: the compiled scene.
        things: bodies of what the task is about, which keep their looks.
        seed: of the episode.
    """

    def __init__(self, kind: str, model: Any, things: list[int], seed: int) -> None:
        self._model = model
        draw = np.random.default_rng(seed)
        self._arrays: list[tuple[Any, Any]] = []
        """Arrays of the model, and what is in them while pictures are taken."""
        self._textures: NDArray[np.int32] | None = None
        self._materials = np.zeros(0, int)
        if kind == "light":
            self._lights(draw)
        elif kind == "camera":
            self._cameras(draw)
        else:
            self._surfaces(draw, things)

    def _lights(self, draw: np.random.Generator) -> None:
        model, head = self._model, self._model.vis.headlight
        tint = draw.uniform(*_BRIGHTER) * draw.uniform(*_TINT, 3)
        self._arrays = [(array, np.minimum(array * tint, 1.0)) for array in (model.light_diffuse, head.diffuse)]
        self._arrays += [(head.ambient, head.ambient * tint)]
        self._arrays += [(model.light_pos, model.light_pos + draw.uniform(-_SHIFT, _SHIFT, model.light_pos.shape))]

    def _cameras(self, draw: np.random.Generator) -> None:
        model = self._model
        places, turns = model.cam_pos.copy(), model.cam_quat.copy()
        for name, away in _AWAY.items():
            camera = model.camera(name).id
            places[camera] += draw.uniform(-away, away, 3)
            turns[camera] = _turned(turns[camera], draw.uniform(-_TURN, _TURN, 3))
        self._arrays = [(model.cam_pos, places), (model.cam_quat, turns)]

    def _surfaces(self, draw: np.random.Generator, things: list[int]) -> None:
        """Floor, walls and tables have each other's textures, and other colours."""
        model = self._model
        self._materials = surroundings(model, things)
        colours = model.mat_rgba.copy()
        colours[self._materials, :3] *= draw.uniform(*_COLOURED, (len(self._materials), 3))
        self._arrays = [(model.mat_rgba, colours)]
        self._textures = model.mat_texid[draw.permutation(self._materials)]

    @contextmanager
    def shown(self, pictures: Pictures) -> Iterator[None]:
        """Within this the pictures are disturbed; afterwards the model, which others share, is as it was."""
        before = [(array, array.copy()) for array, _ in self._arrays]
        for array, values in self._arrays:
            array[:] = values
        textures = pictures.textures
        kept = textures[self._materials].copy()
        if self._textures is not None:
            textures[self._materials] = self._textures
        try:
            yield
        finally:
            textures[self._materials] = kept
            for array, values in before:
                array[:] = values


def surroundings(model: Any, things: list[int]) -> NDArray[np.int_]:
    """The materials of a scene that are neither the robot's nor those of the things that the task is about."""
    own = {int(model.body_rootid[body]) for body in things}
    own |= {int(model.body_rootid[b]) for b in range(model.nbody) if model.body(b).name.startswith(ROBOT)}
    outside = [int(model.body_rootid[body]) not in own for body in model.geom_bodyid]
    mine = set(model.geom_matid[~np.array(outside)].tolist())
    return np.array(sorted(set(model.geom_matid[outside].tolist()) - mine - {-1}), int)


def _turned(quaternion: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """A pose's (w, x, y, z) behind a turn about an axis of its own, radians (3,)."""
    mujoco: Any = importlib.import_module("mujoco")
    own, result = np.zeros(4), np.zeros(4)
    angle = float(np.linalg.norm(turn))
    mujoco.mju_axisAngle2Quat(own, turn / angle, angle)
    mujoco.mju_mulQuat(result, quaternion, own)
    return result
