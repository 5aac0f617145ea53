"""A simulated arm that is driven like a real one: absolute joint positions in degrees, at 20 Hz, seen by two cameras.

Four joints (waist, shoulder, elbow, wrist), a red ball to the left and a blue one to the right. `suite()` makes a suite
of it: `skilltokens evaluate LIBRARY --suite arm:suite` from this folder.
"""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from numpy.typing import NDArray

from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.suites.rendering import Pictures, choose_backend

choose_backend()
mujoco: Any = importlib.import_module("mujoco")

JOINTS = ("waist", "shoulder", "elbow", "wrist")
CAMERAS = ("front", "hand")
TASKS = {"touch-the-red-ball": "touch the red ball", "touch-the-blue-ball": "touch the blue ball"}
"""Names as `skilltokens demos import` makes them of the instructions."""
FPS, HORIZON, SIZE = 20, 60, 64
NEAR = 0.06
"""Metres between the finger and the ball below which it is touched."""
SPREAD = np.array([0.04, 0.04, 0])
"""Metres by which a ball's place differs at most from its usual one."""
PACE = 6.0
"""Degrees that the expert moves a joint in a step at most."""
LOW, HIGH = np.array([-100.0, -20, -150, -100]), np.array([100.0, 100, 0, 100])
HOME = np.array([0.0, 30, -60, 20])

SCENE = """
<mujoco>
  <option timestep="0.005" gravity="0 0 0" integrator="implicitfast"/>
  <visual><headlight ambient=".5 .5 .5" diffuse=".5 .5 .5"/><quality shadowsize="0" offsamples="0"/></visual>
  <default>
    <joint type="hinge" damping="2" armature=".05"/>
    <geom type="capsule" size=".02" rgba=".85 .85 .88 1" contype="0" conaffinity="0"/>
    <position kp="60" kv="4"/>
  </default>
  <worldbody>
    <geom type="plane" size="1 1 .1" rgba=".35 .3 .28 1"/>
    <camera name="front" pos=".95 0 .75" xyaxes="0 1 0 -.6 0 .8" fovy="50"/>
    <body name="red" mocap="true" pos=".3 .2 .05"><geom type="sphere" size=".03" rgba=".9 .15 .1 1"/></body>
    <body name="blue" mocap="true" pos=".3 -.2 .05"><geom type="sphere" size=".03" rgba=".1 .2 .9 1"/></body>
    <body pos="0 0 .1">
      <geom size=".04" fromto="0 0 -.1 0 0 0"/>
      <joint name="waist" axis="0 0 1"/>
      <body>
        <joint name="shoulder" axis="0 -1 0"/>
        <geom fromto="0 0 0 .22 0 0" rgba=".95 .6 .1 1"/>
        <body pos=".22 0 0">
          <joint name="elbow" axis="0 -1 0"/>
          <geom fromto="0 0 0 .2 0 0"/>
          <body pos=".2 0 0">
            <joint name="wrist" axis="0 -1 0"/>
            <geom fromto="0 0 0 .06 0 0" size=".015" rgba=".2 .2 .2 1"/>
            <site name="finger" pos=".08 0 0"/>
            <camera name="hand" pos="0 0 .05" xyaxes="0 -1 0 .5 0 1" fovy="75"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position joint="waist"/><position joint="shoulder"/><position joint="elbow"/><position joint="wrist"/>
  </actuator>
</mujoco>
"""


class Arm(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """One task of the arm. An action is where each joint shall go, in degrees; `info["is_success"]` says "touched"."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012 (as Gymnasium has it)

    def __init__(self, task: str) -> None:
        self.task, self.render_mode = task, "rgb_array"
        self.ball = "red" if task == "touch-the-red-ball" else "blue"
        self.model = mujoco.MjModel.from_xml_string(SCENE)
        self.data = mujoco.MjData(self.model)
        self.pictures: Pictures | None = None
        picture = Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        state = Box(-180, 180, (len(JOINTS),), np.float32)
        self.observation_space = DictSpace({"state": state, **dict.fromkeys(CAMERAS, picture)})
        self.action_space = Box(LOW.astype(np.float32), HIGH.astype(np.float32))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        for number, side in enumerate((1, -1)):
            self.data.mocap_pos[number] = np.array([0.3, side * 0.2, 0.05]) + self.np_random.uniform(-SPREAD, SPREAD)
        self.data.qpos[:] = np.radians(HOME + self.np_random.uniform(-10, 10, 4))
        self.data.ctrl[:] = self.data.qpos
        mujoco.mj_forward(self.model, self.data)
        return self._observation(), {"is_success": False}

    def step(self, action: NDArray[Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.data.ctrl[:] = np.radians(np.clip(action, LOW, HIGH))
        mujoco.mj_step(self.model, self.data, nstep=int(1 / FPS / self.model.opt.timestep))
        touched = bool(np.linalg.norm(self._finger() - self.data.body(self.ball).xpos) < NEAR)
        return self._observation(), float(touched), touched, False, {"is_success": touched}

    def render(self) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._picture("front", 4 * SIZE)

    def close(self) -> None:
        if self.pictures is not None:
            self.pictures.close()

    def expert(self) -> NDArray[np.float64]:
        """The next action of a scripted expert, which knows where the ball is: a step towards joints that reach it."""
        now = np.degrees(self.data.qpos)
        goal = self._reaching(self.data.body(self.ball).xpos)
        return now + np.clip(goal - now, -PACE, PACE)

    def _reaching(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Joint positions (4,) in degrees that bring the finger there, by damped least squares from where it is."""
        other = mujoco.MjData(self.model)
        other.qpos[:] = self.data.qpos
        jacobian = np.zeros((3, 4))
        for _ in range(50):
            mujoco.mj_forward(self.model, other)
            mujoco.mj_jacSite(self.model, other, jacobian, None, self.model.site("finger").id)
            error = place - other.site("finger").xpos
            other.qpos[:] += jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(3), error)
            other.qpos[:] = np.clip(other.qpos, np.radians(LOW), np.radians(HIGH))
        return np.degrees(other.qpos)

    def _finger(self) -> NDArray[np.float64]:
        return self.data.site("finger").xpos

    def _observation(self) -> dict[str, Any]:
        state = np.degrees(self.data.qpos).astype(np.float32)
        return {"state": state, **{camera: self._picture(camera, SIZE) for camera in CAMERAS}}

    def _picture(self, camera: str, size: int) -> NDArray[np.uint8]:
        if self.pictures is None:
            self.pictures = Pictures(self.model, 4 * SIZE, 4 * SIZE)
        mujoco.mj_forward(self.model, self.data)
        return np.ascontiguousarray(self.pictures.take(self.data, camera, size, size))


def suite() -> GymnasiumSuite:
    """The arm as a suite whose actions are in degrees."""
    cameras = {f"observation.images.{camera}": camera for camera in CAMERAS}
    return GymnasiumSuite(
        "arm", Arm, TASKS, observation={"observation.state": "state", **cameras}, actions="own", horizon=HORIZON
    )
