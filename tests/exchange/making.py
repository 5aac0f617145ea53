"""HDF5 files for the tests to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from skilltokens.types import Task

OPEN = Task("open-door", "open the door", ("swing the door open",))


def opened(path: Path, mode: str, **settings: Any) -> Any:
    """An HDF5 file, typed as Any: h5py says of every member that it may be of three kinds."""
    return h5py.File(path, mode, **settings)


def foreign(path: Path, obs: dict[str, tuple[int, ...]], lengths: tuple[int, ...] = (4, 6), actions: int = 7) -> Path:
    """A file in robomimic's layout that another program wrote: float64, obs keys with the given shapes of a step."""
    random = np.random.default_rng(0)
    path.parent.mkdir(exist_ok=True)
    with opened(path, "w") as file:
        for number, steps in enumerate(lengths):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"] = steps
            demo["actions"] = random.uniform(-1, 1, size=(steps, actions))
            for key, shape in obs.items():
                image = len(shape) == 3
                values = random.integers(0, 256, (steps, *shape)) if image else random.normal(size=(steps, *shape))
                demo[f"obs/{key}"] = values.astype(np.uint8 if image else np.float64)
    return path


ROBOMIMIC = {
    "robot0_eef_pos": (3,),
    "robot0_eef_quat": (4,),
    "robot0_gripper_qpos": (2,),
    "robot0_joint_vel": (7,),
    "object": (10,),
    "agentview_image": (6, 6, 3),
}
