"""How well a behaviour model follows goals: it starts where recorded motion did, its goals are where that went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.suites.bodies import make_body
from skilltokens.suites.bodies.body import AHEAD, COMMAND, HORIZONS, Body, given
from skilltokens.types import GOAL, SIMULATOR_STATE, STATE, Array

STEPS = 40
"""Steps that a recording is followed for."""


def masks() -> dict[str, tuple[str, ...]]:
    """The goals to give, by the name of the row that reports them."""
    rows: dict[str, tuple[str, ...]] = {"none": ()}
    for horizon in HORIZONS:
        rows[f"pose in {horizon} steps"] = (f"{GOAL}pose_{horizon}",)
    for horizon in HORIZONS:
        rows[f"velocity in {horizon} steps"] = (f"{GOAL}velocity_{horizon}",)
    rows["command"] = (COMMAND,)
    rows["all"] = tuple(name for names in list(rows.values()) for name in names)
    return rows


def tracking(
    model: Policy, embedding: Array, body: Body, store: DemonstrationStore, episodes: Sequence[int], seed: int = 0
) -> list[dict[str, Any]]:
    """For each mask the errors after STEPS steps of following recorded motion, averaged over `episodes`.

    Returns:
        Rows {"goals", "way": metres between where the body is and where the recording was, "joints": radians (root
        mean square), "moved": metres that the recording moved}.
    """
    env: Any = make_body(body.name, "direction")
    env.reset(seed=0)
    actor = PolicyActor(model, embedding)
    generator = np.random.default_rng([seed, 5])
    clips = [_clip(store, index, generator) for index in episodes]
    rows = []
    for name, goals in masks().items():
        errors = np.array([_follow(env, actor, body, clip, goals) for clip in clips])
        way, joints, moved = errors.mean(0)
        rows.append({"goals": name, "way": round(way, 3), "joints": round(joints, 3), "moved": round(moved, 3)})
    env.close()
    return rows


def _clip(store: DemonstrationStore, index: int, generator: np.random.Generator) -> Array:
    """A stretch of recorded simulator states, long enough to ask for goals until its last followed step."""
    first, last = int(store.offsets[index]), int(store.offsets[index + 1])
    length = STEPS + max(HORIZONS) + 1
    start = first + int(generator.integers(max(last - first - length, 1)))
    return np.asarray(store[SIMULATOR_STATE][start : min(start + length, last)], np.float64)


def _follow(env: Any, actor: PolicyActor, body: Body, clip: Array, goals: Sequence[str]) -> tuple[float, float, float]:
    n_q = env.model.nq
    env.set_state(clip[0, :n_q], clip[0, n_q:])
    memory = actor.start(1)
    steps = min(STEPS, len(clip) - max(HORIZONS) - 1)
    for t in range(steps):
        observation = {STATE: env.observation()[STATE]}
        observation |= {name: value for name, value in _goals_at(env, body, clip, t).items() if name in goals}
        env.move(actor.act({n: v[None] for n, v in observation.items()}, memory)[0])
    now, then, first = env.now.qpos[None], clip[steps : steps + 1, :n_q], clip[:1, :n_q]
    way = float(np.linalg.norm(body.place(now) - body.place(then)))
    joints = float(np.sqrt(np.square(now[:, body.root[0] :] - then[:, body.root[0] :]).mean()))
    return way, joints, float(np.linalg.norm(body.place(then) - body.place(first)))


def _goals_at(env: Any, body: Body, clip: Array, t: int) -> dict[str, Array]:
    """The goals that the recording gives a body that stands where this one does."""
    n_q = env.model.nq
    now = env.now.qpos[None]
    goals = {}
    for horizon in HORIZONS:
        later, speed = clip[t + horizon : t + horizon + 1, :n_q], clip[t + horizon : t + horizon + 1, n_q:]
        goals[f"{GOAL}pose_{horizon}"] = given(body.pose(now, later)[0])
        goals[f"{GOAL}velocity_{horizon}"] = given(body.velocity(now, later, speed)[0])
    later = clip[t + AHEAD : t + AHEAD + 1, :n_q]
    goals[COMMAND] = given(body.command(now, later, np.array([AHEAD * env.dt]))[0])
    return goals
