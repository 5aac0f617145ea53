"""What a policy sees of LIBERO through its cameras: the pictures that LIBERO's own policies see, and the arm.

`observation.images.agentview` looks at the table from the front, `observation.images.wrist` from the hand: both are
(128, 128, 3) and upright. LIBERO's files have the same pictures with the bottom row first (robosuite's "opengl"
convention); export and import turn them over. LIBERO's own pictures are slower to make and differ in two things: they
have smoothed edges, and the stove's plate mirrors the wall.

Nothing here imports a simulator until a picture is drawn.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.suites.libero.disturbed import Disturbance
from skilltokens.suites.libero.meshes import simplify
from skilltokens.suites.libero.observation import FEATURES as POSES
from skilltokens.suites.rendering import Pictures
from skilltokens.types import STATE, Feature

SIZE, VIDEO = 128, 192
"""Pixels of a side: of the pictures that a policy sees, and of those for people."""
CAMERAS = {"observation.images.agentview": "agentview", "observation.images.wrist": "robot0_eye_in_hand"}
"""Feature -> camera of LIBERO's scenes."""
FEATURES = {STATE: POSES[STATE], **dict.fromkeys(CAMERAS, Feature((SIZE, SIZE, 3), "uint8"))}

_VISIBLE = (1,)
"""The group of geoms to show: robosuite keeps the shapes that things collide with in group 0."""
_FLAT = 0
"""MuJoCo's number for a texture that is one rectangle."""
_TEXTURE = 512
"""The longest side of a texture: LIBERO's reach 4096, for things that fill 50 pixels, and cost half a gigabyte."""


class Cameras:
    """The cameras of one scene; what they need of OpenGL is made with the first picture.

    Args:
        domain: LIBERO's robosuite environment.
        model: its compiled model, whose large textures are made smaller.
        lean: the robot is shown by fewer triangles (meshes.py).
    """

    def __init__(self, domain: Any, model: Any, lean: bool = False) -> None:
        self._domain, self._model, self._lean = domain, model, lean
        self._pictures: Pictures | None = None

    def look(self, data: Any, disturbance: Disturbance | None = None) -> dict[str, NDArray[np.uint8]]:
        """Both pictures of `data`, which must be what the domain shows, its poses up to date (mj_kinematics).

        Args:
            disturbance: how they are seen otherwise.

        Raises:
            SuiteError: this machine cannot render.
        """
        with self._ready(data, disturbance) as pictures:
            return {name: np.ascontiguousarray(pictures.take(data, at, SIZE, SIZE)) for name, at in CAMERAS.items()}

    def render(self, data: Any, disturbance: Disturbance | None = None) -> NDArray[np.uint8]:
        """The table from the front for people, (192, 192, 3); see `look`."""
        with self._ready(data, disturbance) as pictures:
            return np.ascontiguousarray(pictures.take(data, "agentview", VIDEO, VIDEO))

    @contextmanager
    def _ready(self, data: Any, disturbance: Disturbance | None) -> Iterator[Pictures]:
        """The renderer, and the scene of `data` as it is to be shown."""
        if self._pictures is None:
            shrink_textures(self._model, _TEXTURE)
            if self._lean:
                simplify(self._model)
                self._lean = False  # the model stays so; OpenGL may be made again
            self._pictures = Pictures(self._model, VIDEO, VIDEO, _VISIBLE)
        self._domain._post_process()  # a stove that is on glows
        with nullcontext() if disturbance is None else disturbance.shown(self._pictures):
            importlib.import_module("mujoco").mj_camlight(self._model, data)
            yield self._pictures

    def close(self) -> None:
        """Frees what OpenGL holds; the next picture makes it again."""
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None


def shrink_textures(model: Any, limit: int) -> None:
    """Makes textures of a model whose longer side is above `limit` smaller, by whole factors, in place."""
    for texture in range(model.ntex):
        height, width, start = (int(x[texture]) for x in (model.tex_height, model.tex_width, model.tex_adr))
        channels = int(model.tex_nchannel[texture])
        faces = 1 if model.tex_type[texture] == _FLAT else height // width  # a cube's six may stand in one column
        factor = -(-max(height // faces, width) // limit)
        if factor < 2:
            continue
        high, wide = height // faces // factor, width // factor
        pixels = model.tex_data[start : start + height * width * channels].reshape(faces, -1, width, channels)
        pixels = pixels[:, : high * factor, : wide * factor]
        small = pixels.reshape(faces, high, factor, wide, factor, channels).mean((2, 4)).round().astype(np.uint8)
        model.tex_data[start : start + small.size] = small.ravel()
        model.tex_height[texture], model.tex_width[texture] = faces * high, wide
