"""A control step of LIBERO: ours, LIBERO's own, and the physics alone.

All sides take the same random actions from the same state of one scene. "LIBERO's own step" is its wrapper's `step`
without cameras, observables included, as its users call it. "physics alone" is mj_step with as many substeps and no
controller. Good against LIBERO's own: below 0.5. Against the physics: below 3; the rest is the arm's controller, in
Python, 500 times a simulated second.
"""

from __future__ import annotations

import numpy as np

from benchmarks.setting import Bench
from benchmarks.timing import Row, row, take_turns

SUITE, TASK = "libero-goal", "put_the_bowl_on_the_plate"


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
        row("libero", times, "step", reference, good, units=(steps, steps))
        for reference, good in (("LIBERO's own step", "below 0.5"), ("physics alone", "below 3"))
    ]
