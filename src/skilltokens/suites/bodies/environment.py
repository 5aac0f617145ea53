"""A body with a task in it, as a Gymnasium environment: reward, success, and what a frozen policy needs to see.

Observations are a dictionary by LeRobot's names: `observation.state` (the body's own), `observation.environment_state`
(the task's, as seen from the body, padded to one width for all tasks) and the goals of the behaviour model, which are
given only where the policy takes a command beside the task.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace

from skilltokens.suites.bodies.body import COMMAND, Body
from skilltokens.suites.bodies.moment import Moment
from skilltokens.suites.rendering import Pictures, choose_backend
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, SettingError

choose_backend()

from gymnasium.envs.mujoco.mujoco_env import MujocoEnv  # noqa: E402  (MuJoCo reads MUJOCO_GL when it is imported)

if TYPE_CHECKING:
    from skilltokens.suites.bodies.goal import GoalTask

PICTURE = "observation.images.side"
PIXELS = (32, 96)
"""Height and width of the picture that a policy may see: 14 m across."""
WIDTH = 8
"""Numbers in `observation.environment_state`."""


class BodyEnvironment(MujocoEnv):
    """One body, one task.

    Args:
        body, task: what moves, and what it is rewarded for.
        gravity, friction: factors on the model's own, for tests out of distribution.
        command: what is given beside the task at every step. False: nothing, and no goal is observed; True: the task's
            own command; a number: the task's own command at that share of the body's fastest speed; or goals by their
            feature's name, the same at every step.
        picture: observe a picture besides, from the side, wide enough for what the task is about (planar bodies).
        render_mode: "rgb_array" or None.

    `info` has "is_success" and "fallen". An episode ends when the body falls; it has no limit of its own.

    Raises:
        SettingError: a picture of a body that moves out of it.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(
        self,
        body: Body,
        task: GoalTask,
        *,
        gravity: float = 1.0,
        friction: float = 1.0,
        command: Mapping[str, Array] | float | bool = False,
        picture: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if picture and not body.planar:
            raise SettingError(f"there is no picture of {body.name}, which moves out of it: use a body in a plane")
        self.body, self.task, self.command, self.picture = body, task, command, picture
        self._gravity, self._friction = gravity, friction
        self.steps = 0
        self._pictures: Pictures | None = None
        self._now: Moment | None = None
        mujoco: Any = importlib.import_module("mujoco")
        self._mujoco = mujoco
        self.metadata = {**BodyEnvironment.metadata, "render_fps": round(1 / body.step)}
        super().__init__(body.asset, body.skip, None, render_mode=render_mode, width=320, height=240)
        motors: Any = self.action_space  # the model's own range, such as -0.4 to 0.4
        assert (motors.low == -motors.high).all()
        self._strength = motors.high.astype(np.float64) * body.strength
        self.action_space = Box(-1.0, 1.0, motors.shape, np.float32)
        self.widths = body.widths(self._sizes[0] - body.root[0])
        shown = {STATE: self.widths[STATE], ENVIRONMENT_STATE: WIDTH}
        if command is not False:
            goals = command if isinstance(command, Mapping) else (COMMAND,)  # the feature of every task's own command
            shown |= {name: self.widths[name] for name in goals}
        spaces: dict[str, Any] = {name: _box(width) for name, width in sorted(shown.items())}
        if picture:
            spaces[PICTURE] = Box(0, 255, (*PIXELS, 3), np.uint8)
        self.observation_space = DictSpace(spaces)

    # ---------------------------------------------------------------- the simulator

    def _initialize_simulation(self) -> tuple[Any, Any]:
        """The body's own model, with the task's things in it; the body keeps the masses that it has without them."""
        mujoco = self._mujoco
        spec = _spec(mujoco, self.body)
        alone = spec.compile()
        self._sizes = alone.nq, alone.nv
        self.task.build(spec, mujoco)
        if self.picture:
            camera = {"fovy": 16.4, "pos": [0.0, -16.0, 0.5], "quat": [0.5**0.5, 0.5**0.5, 0.0, 0.0]}
            spec.body("torso").add_camera(name="side", mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM, **camera)
        # Four times as fast as the Runge-Kutta steps of some of these models, and as stable at their time steps.
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.compiler.settotalmass = -1
        model = spec.compile()
        for index in range(alone.nbody):
            name = mujoco.mj_id2name(alone, mujoco.mjtObj.mjOBJ_BODY, index)
            here = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name) if name else index
            model.body_mass[here], model.body_inertia[here] = alone.body_mass[index], alone.body_inertia[index]
        model.opt.gravity[:] *= self._gravity
        model.geom_friction[:, 0] *= self._friction
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        data = mujoco.MjData(model)
        mujoco.mj_setConst(model, data)
        mujoco.mj_resetData(model, data)  # where a joint has a reference, setConst leaves the data elsewhere
        self._floor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, "floor")
        self._own = {g for g in range(model.ngeom) if 0 < model.geom_bodyid[g] < alone.nbody}
        return model, data

    @property
    def now(self) -> Moment:
        """The body at this moment."""
        if self._now is None:
            n_q, n_v = self._sizes
            self._now = Moment(self.body, self.data.qpos[:n_q].copy(), self.data.qvel[:n_v].copy())
        return self._now

    def set_state(self, qpos: Array, qvel: Array) -> None:
        """Puts the simulator into a state (nq,) and (nv,)."""
        super().set_state(qpos, qvel)
        self._now = None

    @property
    def airborne(self) -> bool:
        """Whether no part of the body touches the ground."""
        if not self.data.ncon:
            return True
        contact = self.data.contact
        return not any(
            (a == self._floor and b in self._own) or (b == self._floor and a in self._own)
            for a, b in zip(contact.geom1.tolist(), contact.geom2.tolist(), strict=True)
        )

    # ---------------------------------------------------------------- Gymnasium

    def reset_model(self) -> Any:
        """The first observation of a new episode, drawn from the environment's own generator."""
        n_q, n_v = self._sizes
        qpos, qvel = self.init_qpos.copy(), self.init_qvel.copy()
        joints = slice(self.body.root[0], n_q)
        qpos[joints] += self.np_random.normal(0.0, self.body.noise, joints.stop - joints.start)
        qvel[:n_v] += self.np_random.normal(0.0, self.body.noise, n_v)
        self.steps = 0
        self.set_state(qpos, qvel)
        self.task.begin(self, self.np_random)
        self._mujoco.mj_forward(self.model, self.data)
        return self.observation()

    def step(self, action: Array) -> Any:
        """One control step; actions (A,) in [-1, 1] are shares of the motors' range that the body may use."""
        action = self.move(action)
        self.steps += 1
        self.task.after(self)
        fallen = self.now.fallen
        success = bool(self.task.success(self)) and not fallen
        reward = 0.0 if fallen else float(self.task.reward(self))
        cost = 0.02 * float(np.square(action).mean())
        return self.observation(), reward - cost, fallen, False, {"is_success": success, "fallen": fallen}

    def move(self, action: Array) -> Array:
        """Only the simulator's part of a step; returns the action, clipped to [-1, 1]."""
        action = np.minimum(np.maximum(np.asarray(action, np.float64), -1.0), 1.0)
        self.data.ctrl[:] = action * self._strength
        # Without Gymnasium's mj_rnePostConstraint behind it: nothing here looks at forces.
        self._mujoco.mj_step(self.model, self.data, self.frame_skip)
        self._now = None
        return action

    def render(self) -> Any:
        """The scene now, (height, width, 3), by the camera that goes with the body."""
        return self._picture("track", self.height, self.width)

    def _picture(self, camera: str, height: int, width: int) -> Array:
        """What a camera of the model sees now, (height, width, 3)."""
        if self._pictures is None:
            self._pictures = Pictures(self.model, self.height, self.width)
        self._mujoco.mj_comPos(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)
        return np.ascontiguousarray(self._pictures.take(self.data, camera, height, width))

    def close(self) -> None:
        """Frees the renderer."""
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None

    def observation(self) -> dict[str, Array]:
        """What a policy sees now."""
        padded = np.zeros(WIDTH, np.float32)
        task = np.asarray(self.task.observe(self), np.float32)
        padded[: len(task)] = task
        features = {STATE: self.now.state(), ENVIRONMENT_STATE: padded}
        if self.picture:
            features[PICTURE] = self._picture("side", *PIXELS)
        if self.command is False:
            return features
        goals = self.command
        if isinstance(goals, bool | float | int):
            goals = self.task.command(self) if goals is True else self.task.command(self, float(goals))
        return {**features, **goals}


def _spec(mujoco: Any, body: Body) -> Any:
    from gymnasium.envs import mujoco as home

    return mujoco.MjSpec.from_file(f"{home.__path__[0]}/assets/{body.asset}")


def _box(width: int) -> Box:
    return Box(-np.inf, np.inf, (width,), np.float32)
