"""Both of LIBERO's pictures of one state: ours, ours with a lean robot, and MuJoCo's renderer as LIBERO sets it.

LIBERO's own smooths edges (four samples a pixel), draws mirrors and shadows, and what is out of view. Good: below 0.4;
a lean robot (suites/libero/meshes.py) below 0.7 of the full one.
"""

from __future__ import annotations

import copy

from benchmarks.setting import Bench
from benchmarks.timing import Row, row, take_turns
from skilltokens.suites.libero.images import CAMERAS, SIZE, Cameras

SUITE, TASK = "libero-goal", "put_the_bowl_on_the_plate"


def run(bench: Bench) -> list[Row]:
    """Ours against MuJoCo's, and lean against full."""
    from skilltokens.suites.libero.environment import LiberoEnvironment, Scene, mujoco

    environment = LiberoEnvironment(SUITE, TASK)
    environment.reset("validation", 0)
    model, data, cameras = environment.model, environment.data, Scene.of(SUITE, TASK).cameras
    lean = Cameras(environment.domain, copy.copy(model), lean=True)
    option = mujoco.MjvOption()
    option.geomgroup[0] = 0  # what things collide with
    with mujoco.Renderer(model, SIZE, SIZE) as renderer:  # before ours, which switches the samples off

        def theirs() -> None:
            for camera in CAMERAS.values():
                renderer.update_scene(data, camera, option)
                renderer.render()

        sides = {
            "both pictures": lambda: cameras.look(data),
            "LIBERO's renderer": theirs,
            "lean robot": lambda: lean.look(data),
        }
        times = take_turns(sides, bench.effort)
    lean.close()
    return [
        row("pictures", times, "both pictures", "LIBERO's renderer", "below 0.4"),
        row("pictures", times, "lean robot", "both pictures", "below 0.7"),
    ]
