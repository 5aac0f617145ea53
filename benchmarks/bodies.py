"""A control step of a body with a task, against the physics alone.

"physics alone" is mj_step with as many substeps, from the same state and with the same controls held; what lies between
is observing, rewarding and NumPy's cost of calling on a few numbers. Good: below 3 in the plane, below 5 in space.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.setting import Bench
from benchmarks.timing import Row, row, take_turns

SIDES = (("halfcheetah", "reach", "below 3"), ("walker2d", "reach", "below 3"), ("ant", "steering", "below 5"))


def run(bench: Bench) -> list[Row]:
    """Every body that is studied, in one of its tasks."""
    return [_one(bench, *side) for side in SIDES]


def _one(bench: Bench, body: str, task: str, good: str) -> Row:
    from skilltokens.suites.bodies import make_body

    steps = 2 if bench.quick else 40
    env = make_body(body, task)
    env.reset(seed=0)
    physics: Any = env._mujoco
    kind = physics.mjtState.mjSTATE_INTEGRATION
    start = np.empty(physics.mj_stateSize(env.model, kind))
    physics.mj_getState(env.model, env.data, start, kind)
    actions = 0.3 * np.random.default_rng(0).uniform(-1, 1, (steps, len(env._strength)))

    def ours() -> None:
        physics.mj_setState(env.model, env.data, start, kind)
        for action in actions:
            env.step(action)

    def alone() -> None:
        physics.mj_setState(env.model, env.data, start, kind)
        for action in actions:
            env.data.ctrl[:] = action
            physics.mj_step(env.model, env.data, env.frame_skip)

    times = take_turns({f"{body} {task}": ours, "physics alone": alone}, bench.effort)
    env.close()
    return row("bodies", times, f"{body} {task}", "physics alone", good, units=(steps, steps))
