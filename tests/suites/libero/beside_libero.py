"""Prints, for one task, how far our pictures are from those of LIBERO's OffScreenRenderEnv in the same state.

    python -m tests.suites.libero.beside_libero SUITE TASK

For each feature: the mean absolute difference (of 255), and what it would be if ours were upside down or mirrored.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.images import CAMERAS


def main(suite: str, task: str) -> None:
    from libero.libero import get_default_path_dict
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv

    ours = LiberoEnvironment(suite, task, images=True)
    seen = ours.reset("test", 0)
    for _ in range(10):
        seen, _ = ours.step(np.array([0.4, -0.2, -0.8, 0.1, 0, 0.3, -1]))
    file = Path(get_default_path_dict()["bddl_files"], suite.replace("-", "_"), f"{task}.bddl")
    np.random.seed(0)  # noqa: NPY002
    theirs: Any = OffScreenRenderEnv(bddl_file_name=str(file), camera_heights=128, camera_widths=128)
    theirs.reset()
    fixtures = [theirs.env.obj_body_id[name] for name in ours.domain.fixtures_dict]
    theirs.sim.model.body_pos[fixtures] = ours.model.body_pos[fixtures]
    theirs.sim.model.body_quat[fixtures] = ours.model.body_quat[fixtures]
    state = ours.state()[: 1 + ours.model.nq + ours.model.nv]
    images = theirs.regenerate_obs_from_state(state)
    for name, camera in CAMERAS.items():
        published = images[f"{camera}_image"][::-1].astype(float)  # the bottom row comes first there
        variants = (seen[name], seen[name][::-1], seen[name][:, ::-1])
        print(name, *(round(float(np.abs(published - variant).mean()), 3) for variant in variants))


if __name__ == "__main__":
    main(*sys.argv[1:])
