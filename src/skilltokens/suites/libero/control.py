"""LIBERO's arm controller: operational space control of the Panda's hand, at 20 Hz over 25 physics steps of 2 ms.

The same equations, gains and order as robosuite's OSC_POSE with fixed impedance, which LIBERO uses. robosuite runs
the whole forward dynamics twice before each physics step only to read poses; here a physics step is split
(mj_step1, torques, mj_step2), so they are run once. That is more than twice as fast. The one difference is where the
constraint solver starts from: about 1e-18 in the first step, which contacts may amplify later on, as they do between
two versions of MuJoCo.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.suites.libero.rotations import rotation_matrix

mujoco: Any = importlib.import_module("mujoco")  # type checkers do not see the names of this binary module

SUBSTEPS = 25
POSITION, ROTATION = 0.05, 0.5
"""What an action's component of 1 moves and turns in one step: metres and radians."""
FINGERS = 0.01
"""How far a physics step moves the fingers' goal, which ranges from -1 to 1."""


class Controller:
    """The arm and hand of one model. It keeps nothing between steps; `Grip` does.

    Args:
        robot: robosuite's robot, whose controller's gains, limits and home posture are used.
        model: the compiled model.
    """

    def __init__(self, robot: Any, model: Any) -> None:
        from robosuite.utils.control_utils import nullspace_torques, opspace_matrices, orientation_error

        self._nullspace, self._opspace, self._turn = nullspace_torques, opspace_matrices, orientation_error
        controller = robot.controller
        self.model = model
        self.site: int = model.site(controller.eef_name).id
        self.dofs, self.joints = np.asarray(controller.qvel_index), np.asarray(controller.qpos_index)
        self.home = np.array(controller.initial_joint)
        self.stiffness, self.damping = np.array(controller.kp), np.array(controller.kd)
        self.low, self.high = (np.array(limit) for limit in robot.torque_limits)
        self.motors = np.asarray(robot._ref_joint_actuator_indexes)
        self.fingers = np.array([model.actuator(name).id for name in robot.gripper.actuators])
        reach = model.actuator_ctrlrange[self.fingers]
        self._middle, self._half = reach.mean(1), np.ptp(reach, axis=1) / 2
        self._square = np.ix_(self.dofs, self.dofs)
        self._jacobian, self._mass = np.zeros((6, model.nv)), np.zeros((model.nv, model.nv))

    def step(self, data: Any, grip: Grip, action: NDArray[np.float64]) -> None:
        """One control step of `action` (7,) in [-1, 1]; poses in `data` are then those before the last physics step."""
        push = np.array([-FINGERS, FINGERS]) * np.sign(action[6])
        for substep in range(SUBSTEPS):
            mujoco.mj_step1(self.model, data)
            if substep == 0:
                self._aim(data, grip, action)
            data.ctrl[self.motors] = self._torques(data, grip)
            grip.fingers = np.minimum(np.maximum(grip.fingers + push, -1.0), 1.0)
            data.ctrl[self.fingers] = self._middle + self._half * grip.fingers
            mujoco.mj_step2(self.model, data)

    def _aim(self, data: Any, grip: Grip, action: NDArray[np.float64]) -> None:
        """Sets the pose to reach: the present one moved by the action. Without a rotation in it, the old one stays."""
        grip.position = data.site_xpos[self.site] + POSITION * action[:3]
        turn = ROTATION * action[3:6]
        if turn.any():
            grip.rotation = rotation_matrix(turn) @ data.site_xmat[self.site].reshape(3, 3)

    def _torques(self, data: Any, grip: Grip) -> NDArray[np.float64]:
        """J^T (Lambda_x F, Lambda_r tau) + gravity + the posture's torques in the null space of J (Khatib 1987)."""
        jacobian = self._jacobian
        mujoco.mj_jacSite(self.model, data, jacobian[:3], jacobian[3:], self.site)
        mujoco.mj_fullM(self.model, self._mass, data.qM)
        speed = jacobian @ data.qvel
        mass = self._mass[self._square]
        arm = jacobian.take(self.dofs, axis=1)  # rows after one another in memory, as the compiled functions want them
        error = np.empty(6)
        error[:3] = grip.position - data.site_xpos[self.site]
        error[3:] = self._turn(grip.rotation, data.site_xmat[self.site].reshape(3, 3))
        force = self.stiffness * error - self.damping * speed
        _, linear, angular, free = self._opspace(mass, arm, arm[:3], arm[3:])
        wrench = np.concatenate([linear @ force[:3], angular @ force[3:]])
        torques = arm.T @ wrench + data.qfrc_bias[self.dofs]
        torques += self._nullspace(mass, free, self.home, data.qpos[self.joints], data.qvel[self.dofs])
        return np.minimum(np.maximum(torques, self.low), self.high)


class Grip:
    """What the controller remembers of one episode: the pose it heads for, and how far the fingers are to close."""

    def __init__(self, controller: Controller, data: Any) -> None:
        self.position = data.site_xpos[controller.site].copy()
        self.rotation = data.site_xmat[controller.site].reshape(3, 3).copy()
        self.fingers = np.zeros(2)
