"""Pictures of MuJoCo scenes, fast, on machines with and without a screen.

Software rendering pays for every triangle, seen or not, and again for every sample of a pixel and every mirror. So
what lies outside of a camera's view is left out, which changes no pixel, and multisampling, shadows and reflections
are off: a picture takes a quarter of the time, and the edges of things are less smooth.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes.util
import functools
import importlib
import os
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import SuiteError

_HIDDEN = 5
"""A group of geoms that is never shown."""


def choose_backend() -> None:
    """On a Linux machine without a screen, sets MUJOCO_GL where it is not set; call it before MuJoCo is imported."""
    if sys.platform != "linux" or os.environ.get("MUJOCO_GL"):
        return
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = backend
            return


class Pictures:
    """Renders the cameras of one MuJoCo model. Made, used and closed in one process.

    Args:
        model: the compiled model; its multisampling is switched off.
        height, width: the largest picture.
        groups: the groups of geoms (MuJoCo's `geom_group`) that are shown.

    Raises:
        SuiteError: this machine cannot render.
    """

    def __init__(self, model: Any, height: int, width: int, groups: Sequence[int] = (0, 1, 2)) -> None:
        mujoco: Any = importlib.import_module("mujoco")  # type checkers do not see the names of this binary module
        self._mujoco, self.model = mujoco, model
        model.vis.quality.offsamples = 0
        model.vis.global_.offheight, model.vis.global_.offwidth = height, width
        try:
            self._context = mujoco.GLContext(width, height)
            self._context.make_current()
            self._canvas = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as problem:  # each backend fails in its own way: OpenGL, EGL and GLFW errors share no class
            raise SuiteError(
                f"this machine cannot render ({type(problem).__name__}: {problem}): install a software renderer "
                "(Debian: `apt-get install libegl1 libosmesa6 libgl1-mesa-dri`) and set MUJOCO_GL to egl or osmesa"
            ) from problem
        self._free = weakref.finalize(self, _free, self._context, self._canvas)
        self._free.atexit = False  # it would come after MuJoCo's own good-bye to the driver, this comes before
        atexit.register(self._free)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._canvas)
        self._scene = mujoco.MjvScene(model, maxgeom=10_000)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option, self._nudge, self._camera = mujoco.MjvOption(), mujoco.MjvPerturb(), mujoco.MjvCamera()
        self._option.geomgroup[:] = [group in groups for group in range(len(self._option.geomgroup))]
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        _elsewhere().make_current()

    @property
    def textures(self) -> NDArray[np.int32]:
        """The textures (materials, 10) that materials are shown with, as MuJoCo's `mat_texid`; to be written to."""
        return self._canvas.mat_texid.reshape(-1, self.model.mat_texid.shape[1])

    def take(self, data: Any, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """The scene of `data` as the camera sees it, (height, width, 3), upright.

        Of `data` only the poses of bodies, cameras and lights must be up to date (mj_kinematics, mj_camlight).

        Raises:
            SuiteError: OpenGL failed.
        """
        mujoco, model = self._mujoco, self.model
        self._context.make_current()
        self._camera.fixedcamid = number = model.camera(camera).id
        groups = model.geom_group.copy()
        model.geom_group[~self._in_view(data, number, width / height)] = _HIDDEN
        mujoco.mjv_updateScene(
            model, data, self._option, self._nudge, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        model.geom_group[:] = groups
        picture, frame = np.empty((height, width, 3), np.uint8), mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(frame, self._scene, self._canvas)
        mujoco.mjr_readPixels(picture, None, frame, self._canvas)
        error = mujoco.mjr_getError()
        _elsewhere().make_current()
        if error:
            raise SuiteError(
                f"OpenGL failed as camera {camera!r} took a picture (error {error}): something else in this process "
                "freed what it is drawn with; take pictures in a process of their own (--evaluate.workers 1)"
            )
        return picture[::-1]  # OpenGL's first row is the lowest one

    def _in_view(self, data: Any, camera: int, aspect: float) -> NDArray[np.bool_]:
        """For each geom (geoms,), whether its bounding sphere reaches into the camera's pyramid of view."""
        model = self.model
        at = (data.geom_xpos - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
        radius, ahead = model.geom_rbound, -at[:, 2]
        up = np.tan(np.radians(model.cam_fovy[camera]) / 2)
        seen = ahead > -radius
        for side, slope in ((0, up * aspect), (1, up)):
            seen &= np.abs(at[:, side]) - ahead * slope < radius * np.hypot(1, slope)
        return seen | (radius == 0)  # a plane has no end

    def close(self) -> None:
        """Frees what OpenGL holds; so does losing the object. A second call does nothing."""
        self._free()


@functools.cache
def _elsewhere() -> Any:
    """A window that nothing is drawn into, current whenever no picture is taken.

    Others free what they drew with by its numbers, in whichever window is current: LIBERO's own environment does, at
    each reset. In a scene's window they would free that scene's things, and its pictures would be wrong.
    """
    context = importlib.import_module("mujoco").GLContext(8, 8)
    atexit.register(_drop, context)
    return context


def _drop(context: Any) -> None:
    with contextlib.suppress(Exception):  # as in _free
        context.free()


def _free(context: Any, canvas: Any) -> None:
    with contextlib.suppress(Exception):  # as a process ends, others may have closed the driver, and all is freed
        context.make_current()  # or the names freed would be those of another window
        canvas.free()
        context.free()
