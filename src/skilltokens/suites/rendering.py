"""MuJoCo pictures, fast, on machines with and without a screen.

Multisampling, shadows and reflections cost most of the time of software rendering (4 to 9 frames a second with
them, over 100 without, at 160 x 160) and show nothing that a film of a skill needs.
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import SuiteError


def choose_backend() -> None:
    """Sets MUJOCO_GL on a Linux machine without a screen, where it is not set: MuJoCo reads it when it is imported."""
    if sys.platform != "linux" or os.environ.get("MUJOCO_GL"):
        return
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = backend
            return


class Pictures:
    """Renders one camera of one MuJoCo model. Made, used and closed in one process."""

    def __init__(self, model: Any, camera: str, height: int, width: int) -> None:
        """Raises SuiteError where this machine cannot render."""
        mujoco: Any = importlib.import_module("mujoco")  # type checkers do not see the names of this binary module
        model.vis.quality.offsamples = 0
        try:
            self._renderer = mujoco.Renderer(model, height=height, width=width)
        except Exception as problem:  # each backend fails in its own way: OpenGL, EGL and GLFW errors share no class
            raise SuiteError(
                f"this machine cannot render ({type(problem).__name__}: {problem}): install a software renderer "
                "(Debian: `apt-get install libegl1 libosmesa6 libgl1-mesa-dri`) and set MUJOCO_GL to egl or osmesa"
            ) from problem
        self._camera = camera
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def take(self, data: Any) -> NDArray[np.uint8]:
        """The scene of `data` as the camera has it, (height, width, 3)."""
        self._renderer.update_scene(data, camera=self._camera)
        return self._renderer.render()

    def close(self) -> None:
        self._renderer.close()
