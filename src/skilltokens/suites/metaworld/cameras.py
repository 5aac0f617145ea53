"""What is seen of Meta-World through cameras: pictures for policies, and a larger one for people.

Two cameras of Meta-World's own: `corner2` beside the table, and `gripperPOV` at the hand. Each picture is 128 x 128.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.suites.rendering import Pictures
from skilltokens.types import Feature

SIZE, VIDEO = 128, 160
"""The side of a policy's pictures, and of those for people, in pixels."""
_CORNER, _FIELD = "corner2", 44.0
"""The camera beside the table, and its field of view in degrees: of its own, the upper half would be empty wall."""
CAMERAS = {"observation.images.corner": _CORNER, "observation.images.wrist": "gripperPOV"}
"""Feature -> camera of Meta-World's scenes."""
FEATURES = dict.fromkeys(CAMERAS, Feature((SIZE, SIZE, 3), "uint8"))


class Cameras:
    """The cameras of one scene; what they need of OpenGL is made with the first picture.

    Args:
        model: the compiled model, whose corner camera gets another field of view.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._pictures: Pictures | None = None

    def look(self, data: Any) -> dict[str, NDArray[np.uint8]]:
        """Both pictures of the poses that `data` has now, each (128, 128, 3).

        Raises:
            SuiteError: this machine cannot render.
        """
        return {name: self._take(data, camera, SIZE) for name, camera in CAMERAS.items()}

    def render(self, data: Any) -> NDArray[np.uint8]:
        """The table from its corner for people, (160, 160, 3); see `look`."""
        return self._take(data, _CORNER, VIDEO)

    def _take(self, data: Any, camera: str, side: int) -> NDArray[np.uint8]:
        if self._pictures is None:
            self._model.camera(_CORNER).fovy = _FIELD
            self._pictures = Pictures(self._model, VIDEO, VIDEO)
        importlib.import_module("mujoco").mj_camlight(self._model, data)  # a reset moves the hand and not its camera
        picture = self._pictures.take(data, camera, side, side)
        # corner2 hangs upside down: half a turn, since a flip alone would show a mirror image.
        return np.ascontiguousarray(picture[::-1, ::-1] if camera == _CORNER else picture)

    def close(self) -> None:
        """Frees what OpenGL holds; the next picture makes it again."""
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None
