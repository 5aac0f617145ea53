"""A control step of LIBERO: ours, LIBERO's own, and the physics alone; and whole episodes from two cameras.

All sides take the same random actions from the same state of one scene. "LIBERO's own step" is its wrapper's `step`
without cameras, observables included, as its users call it. "physics alone" is mj_step with as many substeps and no
controller. Good against LIBERO's own: below 0.5. Against the physics: below 3; the rest is the arm's controller, in
Python, 500 times a simulated second.

An episode is a reset and 40 steps of an arm that rests, from a published initial state. Ours is evaluate()'s.
LIBERO's is what its evaluation does in each of its processes: reset, set_init_state, five steps of rest, then step.
Good: below 0.2. The sides take no turns: ours come before LIBERO's environment is made, which disturbs what others
draw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rolling import Nobody
from benchmarks.setting import Bench
from benchmarks.timing import Effort, Row, row, take_turns
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites import load_suite, task_of
from skilltokens.suites.libero.images import SIZE

SUITE, TASK = "libero-goal", "put_the_bowl_on_the_plate"
REST = 5
"""The steps for which LIBERO's evaluation lets things come to rest."""


def run(bench: Bench) -> list[Row]:
    """Ours against both."""
    from skilltokens.suites.libero.environment import LiberoEnvironment, Scene, mujoco  # isort: split
    from skilltokens.suites.libero.control import SUBSTEPS

    steps = 2 if bench.quick else 40
    environment = LiberoEnvironment(SUITE, TASK)
    environment.reset("validation", 0)
    start, wrapper = environment.state(), Scene.of(SUITE, TASK).wrapper
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 7))
    actions[:, 2] = np.abs(actions[:, 2])  # upwards: all sides see the same contacts

    def ours() -> None:
        environment.reset("validation", 0)
        for action in actions:
            environment.step(action)

    def begun() -> None:
        environment.reset("validation", 0)

    def theirs() -> None:
        environment.restore(start)
        environment.domain.done = False
        for action in actions:
            wrapper.step(action)

    def alone() -> None:
        environment.restore(start)
        for _ in range(steps):
            mujoco.mj_step(environment.model, environment.data, nstep=SUBSTEPS)

    times = take_turns(
        {"reset": begun, "step with reset": ours, "LIBERO's own step": theirs, "physics alone": alone}, bench.effort
    )
    times["step"] = [both - reset for both, reset in zip(times["step with reset"], times["reset"], strict=True)]
    return [
        *(
            row("libero", times, "step", reference, good, units=(steps, steps))
            for reference, good in (("LIBERO's own step", "below 0.5"), ("physics alone", "below 3"))
        ),
        _episodes(bench),
    ]


def _episodes(bench: Bench) -> Row:
    """Whole episodes with pictures, ours and LIBERO's; one call of each takes seconds."""
    steps, effort = (2 if bench.quick else 40), Effort(min(bench.effort.rounds, 5), bench.effort.seconds)
    suite = load_suite(f"{SUITE}-images")
    task = task_of(suite, TASK)
    with Pool(suite) as pool:

        def ours() -> None:
            evaluate(Nobody(7), suite, task, "test", [0], pool=pool, horizon=steps)

        times = take_turns({"episode": ours}, effort)
    with contextlib.closing(_own()) as own:
        times |= take_turns({"LIBERO's own episode": _theirs(own, steps)}, effort)
    return row("libero", times, "episode", "LIBERO's own episode", "below 0.2")


def _own() -> Any:
    """LIBERO's own environment, as its evaluation sets it."""
    from libero.libero import get_default_path_dict
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv

    file = Path(get_default_path_dict()["bddl_files"], SUITE.replace("-", "_"), f"{TASK}.bddl")
    return OffScreenRenderEnv(bddl_file_name=str(file), camera_heights=SIZE, camera_widths=SIZE)


def _theirs(own: Any, steps: int) -> Callable[[], None]:
    """The same episode by LIBERO's own environment."""
    from skilltokens.suites.libero.environment import Scene

    state = Scene.of(SUITE, TASK).states[0]
    rest = np.array([0, 0, 0, 0, 0, 0, -1.0])

    def episode() -> None:
        own.reset()
        own.set_init_state(state)
        for _ in range(REST + steps):
            own.step(rest)

    return episode
