"""One Meta-World simulator: the same episode for the same seed, the goal visible, and no work that nothing needs.

Importing this module needs Meta-World and MuJoCo. Where Meta-World's own `reset` and `step` do work that no
observation and no success flag depends on, it is left out; the tests compare with Meta-World bit for bit.
"""

from __future__ import annotations

import copy
import functools
import importlib
import math
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.suites.metaworld.cameras import Cameras
from skilltokens.suites.metaworld.rotation import PlainRotation
from skilltokens.suites.rendering import choose_backend
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, Observation, Split, SuiteError

choose_backend()

import metaworld.policies  # noqa: E402  (after choose_backend: MuJoCo reads MUJOCO_GL when it is imported)
from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # noqa: E402

mujoco: Any = importlib.import_module("mujoco")  # type checkers do not see the names of this binary module

_EXPERTS = {"peg-insert-side": "SawyerPegInsertionSideV3Policy"}
"""Experts whose class is not spelled like their task."""


class MetaWorldEnvironment:
    """One task of Meta-World v3. `raw` is the simulator's own observation (39,), which the experts read."""

    horizon = 500

    def __init__(self, task: str, images: bool = False) -> None:
        """`task` is a plain name such as "push-wall".

        Args:
            images: observations are the hand's state and pictures (cameras.py) instead of what lies where.
        """
        self.task, self._images = task, images
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium on the precision of Meta-World's boxes
            self._simulator: Any = _simulator_class(task)()
        self._simulator._partially_observable = False  # or the goal is hidden
        self._simulator.__dict__.pop("sawyer_observation_space", None)  # cached with the goal's bounds at zero
        self._simulator._set_task_called = True
        self._simulator.seeded_rand_vec = True
        self._attributes = dict(self._simulator.__dict__)
        model = self._simulator.model
        self._poses = model.body_pos.copy(), model.site_pos.copy()
        self._cameras = Cameras(model)
        self._steps = self.horizon
        self.raw: NDArray[np.float64] = np.zeros(39)

    def reset(self, split: Split, index: int) -> Observation:
        """The first observation of episode `index`: a pure function of (suite, task, split, index)."""
        self.raw = self._start(episode_seed("metaworld", self.task, split, index))
        self._steps = 0
        return self._look()

    def _start(self, seed: int) -> NDArray[np.float64]:
        """Meta-World's reset to the initial state that `seed` draws.

        Meta-World ignores `reset(seed=...)`. Its own way to a random state is: draw it in `reset_model`, freeze it,
        and reset again. Whatever an earlier episode left behind (attributes, moved bodies and sites) is put back
        first, and the draw skips the 50 simulation steps that bring the hand home, because it does not need them.
        """
        simulator = self._simulator
        simulator.__dict__.clear()
        simulator.__dict__.update(self._attributes)
        model, data = simulator.model, simulator.data
        model.body_pos[:], model.site_pos[:] = self._poses
        mujoco.mj_resetData(model, data)
        mujoco.mj_forward(model, data)
        simulator.np_random = np.random.default_rng(seed)
        simulator._freeze_rand_vec, simulator.hand_steps = False, 0
        simulator.reset_model()
        simulator._freeze_rand_vec, simulator.hand_steps = True, 50
        mujoco.mj_resetData(model, data)
        simulator.reset_model()
        # Some tasks move a joint last of all, and their own first observation shows it where it was (20 cm off in
        # window-close). Poses are computed anew; the next step does so anyway, so nothing else changes.
        mujoco.mj_kinematics(model, data)
        raw = simulator._get_obs()
        simulator._prev_obs = raw[:18].copy()
        raw[18:36] = raw[:18]
        return raw

    def step(self, action: Array) -> tuple[Observation, bool]:
        """Apply one action (4,), clipped to [-1, 1].

        Raises:
            SuiteError: the episode is over (500 steps), or the action is not four finite numbers.
        """
        if self._steps >= self.horizon:
            raise SuiteError(
                f"metaworld task {self.task!r} was stepped past its limit of {self.horizon} steps: reset it first"
            )
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (4,) or not np.isfinite(values).all():
            raise SuiteError(
                f"metaworld task {self.task!r} got the action {values.tolist()} where four finite numbers are needed"
            )
        self.raw, _, _, _, info = self._simulator.step(np.clip(values, -1, 1))
        self._steps += 1
        return self._look(), bool(info["success"])

    def _look(self) -> Observation:
        """39 numbers (now 18, the step before 18, goal 3) as features; a policy's history has the step before."""
        state = self.raw.astype(np.float32)
        if self._images:
            return {STATE: state[:4], **self._cameras.look(self._simulator.data)}
        return {STATE: state[:4], ENVIRONMENT_STATE: np.concatenate([state[4:18], state[36:]])}

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (160, 160, 3). Raises SuiteError where this machine cannot render."""
        return self._cameras.render(self._simulator.data)

    def close(self) -> None:
        """Frees the renderer; the environment itself is freed with the object."""
        self._cameras.close()


def expert(task: str) -> Any:
    """The scripted policy of `task`; its `get_action(raw)` gives an action (4,) that may lie beyond [-1, 1]."""
    name = _EXPERTS.get(task) or "Sawyer" + "".join(word.capitalize() for word in task.split("-")) + "V3Policy"
    policy = getattr(metaworld.policies, name)()
    return _Opening(policy) if task == "push-back" else policy


class _Opening:
    """Meta-World's expert, but it opens the gripper where the original lets it be.

    In push-back a gripper that is left half closed after a missed grasp rests on top of the puck for 200 steps in
    half of the episodes; opened, it takes the puck at the next attempt.
    """

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def get_action(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        action = self._policy.get_action(raw)
        return np.append(action[:3], action[3] or -1.0)


@functools.lru_cache(maxsize=4)
def _compiled(path: str) -> Any:
    """The compiled model of one scene: compiling takes about 0.1 s, a copy of it 2 to 10 ms."""
    return mujoco.MjModel.from_xml_path(path)


class _Lean:
    """Goes in front of a Meta-World class and leaves out what no observation and no success flag depends on."""

    fullpath: str
    model: Any
    data: Any
    hand_steps: int = 50
    _obs_obj_max_len: int
    _get_pos_objects: Callable[[], Array]
    _get_quat_objects: Callable[[], Array]

    def _initialize_simulation(self) -> tuple[Any, Any]:
        self.model = copy.copy(_compiled(self.fullpath))
        return self.model, mujoco.MjData(self.model)

    def _step_mujoco_simulation(self, ctrl: Any, n_frames: int) -> None:
        """Without mj_rnePostConstraint, which only fills the contact forces on bodies."""
        self.data.ctrl[:] = ctrl
        mujoco.mj_step(self.model, self.data, nstep=n_frames)

    def _reset_hand(self, steps: int = 50) -> None:
        super()._reset_hand(min(steps, self.hand_steps))  # type: ignore[misc]

    def _gripper_caging_reward(self, *arguments: Any, **named: Any) -> float:
        """A part of the reward, which is not looked at; no task's success depends on it."""
        return 0.0

    def _get_curr_obs_combined_no_goal(self) -> NDArray[np.float64]:
        """What is seen of the hand and of the objects now (18,), without Meta-World's splitting and stacking."""
        apart = self.data.body("rightclaw").xpos - self.data.body("leftclaw").xpos
        positions, quaternions = self._get_pos_objects(), self._get_quat_objects()
        seen = np.zeros(4 + self._obs_obj_max_len)
        seen[:3] = self.data.body("hand").xpos
        seen[3] = min(max(math.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        for number in range(len(positions) // 3):
            place = 4 + 7 * number
            seen[place : place + 3] = positions[3 * number : 3 * number + 3]
            seen[place + 3 : place + 7] = quaternions[4 * number : 4 * number + 4]
        return seen

    def touching_object(self, object_geom_id: int) -> bool:
        """Meta-World's own test without a Python loop over contacts: both pads press on the object."""
        pairs = self.data.contact.geom
        on_object = (pairs == object_geom_id).any(axis=1)
        for pad in ("leftpad_geom", "rightpad_geom"):
            touching = on_object & (pairs == self.data.geom(pad).id).any(axis=1)
            if not sum(self.data.efc_force[self.data.contact.efc_address[touching]]) > 0:
                return False
        return True


@functools.cache
def _simulator_class(task: str) -> type:
    original = ALL_V3_ENVIRONMENTS[f"{task}-v3"]
    return type(f"Lean{original.__name__}", (_Lean, original), _plain_rotation(original._get_quat_objects))


def _plain_rotation(method: Any) -> dict[str, Any]:
    """A method that calls scipy's `Rotation` by its module's name for it, as one that calls ours; Meta-World's own
    module and classes stay as they are."""
    if "Rotation" not in method.__code__.co_names:
        return {}
    names = {**method.__globals__, "Rotation": PlainRotation}
    plain = types.FunctionType(method.__code__, names, method.__name__, method.__defaults__, method.__closure__)
    return {method.__name__: plain}
