"""Files as LIBERO published them, small: the same groups, attributes and types, recorded in the same way.

LIBERO's script scripts/create_dataset.py puts a recorded state back, plays the recorded actions, and stores what it
sees after each action beside that action; `states` are those before. Names of arrays and attributes, their types and
the values of the attributes are those of libero_goal/open_the_middle_drawer_of_the_cabinet_demo.hdf5.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from skilltokens.suites.libero.environment import LiberoEnvironment, Scene
from skilltokens.types import Array

SIZE = 128
CONTROLLER = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "damping_ratio": 1,
    "impedance_mode": "fixed",
    "kp_limits": [0, 300],
    "damping_ratio_limits": [0, 10],
    "position_limits": None,
    "orientation_limits": None,
    "uncouple_pos_ori": True,
    "control_delta": True,
    "interpolation": None,
    "ramp_ratio": 0.2,
}


@dataclass
class Recording:
    """One demonstration: what a published file says of it, and what our environment observed before each action."""

    arrays: dict[str, Array]
    model_file: str
    seen: dict[str, Array]


def opened(suite: str, task: str) -> LiberoEnvironment:
    """A task whose scene is the one that was compiled last, since MuJoCo writes no other, and other tests compile
    theirs."""
    Scene.forget()
    return LiberoEnvironment(suite, task)


def record(environment: LiberoEnvironment, index: int, steps: int) -> Recording:
    """Episode `index` of an `opened` task: random actions, observed by robosuite's own sensors after each action."""
    random = np.random.default_rng(index)
    width = 1 + environment.model.nq + environment.model.nv
    observation = environment.reset("train", index)
    xml = scene(environment)
    rows: dict[str, list[Array]] = {}
    seen: dict[str, list[Array]] = {}
    for number in range(steps):
        action = random.uniform(-1, 1, 7)
        for name, value in observation.items():
            seen.setdefault(name, []).append(value)
        rows.setdefault("states", []).append(environment.state()[:width])
        observation, _ = environment.step(action)
        for name, value in {"actions": action, **sensed(environment), **pictures(index, number)}.items():
            rows.setdefault(name, []).append(value)
    arrays = {name: np.stack(values) for name, values in rows.items()}
    end = np.zeros(steps, np.uint8)
    end[-1] = 1
    return Recording(
        {**arrays, "rewards": end, "dones": end}, xml, {name: np.stack(values) for name, values in seen.items()}
    )


def scene(environment: LiberoEnvironment) -> str:
    """The scene's XML as robosuite takes it from MuJoCo, which saves the scene compiled last."""
    import mujoco

    with tempfile.TemporaryDirectory() as folder:
        mujoco.mj_saveLastXML(f"{folder}/model.xml", environment.model)  # pyright: ignore[reportAttributeAccessIssue]
        return Path(folder, "model.xml").read_text()


def sensed(environment: LiberoEnvironment) -> dict[str, Array]:
    """The arm as robosuite's sensors see it, under LIBERO's names."""
    from robosuite.utils.transform_utils import quat2axisangle

    environment.activate()
    environment.domain.sim.forward()
    observation = environment.domain._get_observations(force_update=True)
    fingers, position, turn = (observation[f"robot0_{key}"] for key in ("gripper_qpos", "eef_pos", "eef_quat"))
    hand = np.concatenate([position, quat2axisangle(turn.copy())])
    return {
        "obs/gripper_states": fingers,
        "obs/joint_states": observation["robot0_joint_pos"],
        "obs/ee_states": hand,
        "obs/ee_pos": hand[:3],
        "obs/ee_ori": hand[3:],
        "robot_states": np.concatenate([fingers, position, turn]),
    }


def pictures(index: int, number: int) -> dict[str, Array]:
    """Pictures that say which they are: upright, the first row is the demonstration's number, the second the step's."""
    upright = np.zeros((SIZE, SIZE, 3), np.uint8)
    upright[0], upright[1] = index, number
    return {"obs/agentview_rgb": upright[::-1], "obs/eye_in_hand_rgb": 255 - upright[::-1]}


def publish(path: Path, environment: LiberoEnvironment, recordings: list[Recording], instruction: str) -> Path:
    """Writes the recordings as LIBERO's file of one task."""
    domain = environment.domain
    scene = f"chiliocosm/bddl_files/{environment.suite.replace('-', '_')}/under_an_earlier_name.bddl"
    kwargs: dict[str, Any] = {
        "robots": ["Panda"],
        "controller_configs": CONTROLLER,
        "bddl_file_name": scene,
        "has_renderer": False,
        "has_offscreen_renderer": True,
        "ignore_done": True,
        "use_camera_obs": True,
        "camera_depths": False,
        "camera_names": ["robot0_eye_in_hand", "agentview"],
        "reward_shaping": True,
        "control_freq": 20,
        "camera_heights": SIZE,
        "camera_widths": SIZE,
        "camera_segmentations": None,
    }
    name, problem = type(domain).__name__, domain.parsed_problem["problem_name"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_name"] = name
        data.attrs["problem_info"] = json.dumps(
            {"problem_name": problem, "domain_name": "robosuite", "language_instruction": instruction}
        )
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["bddl_file_name"] = scene
        data.attrs["env_args"] = json.dumps(
            {"type": 1, "env_name": name, "problem_name": problem, "bddl_file": scene, "env_kwargs": kwargs}
        )
        data.attrs["num_demos"] = len(recordings)
        data.attrs["total"] = sum(len(one.arrays["actions"]) for one in recordings)
        data.attrs["tag"] = "libero-v1"
        for number, one in enumerate(recordings):
            demo = data.create_group(f"demo_{number}")
            for key, array in one.arrays.items():
                demo.create_dataset(key, data=array)
            demo.attrs["num_samples"] = len(one.arrays["actions"])
            demo.attrs["model_file"] = one.model_file
            demo.attrs["init_state"] = one.arrays["states"][0]
    return path
