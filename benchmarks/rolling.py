"""Rollout against raw MuJoCo stepping of the same scene, and against a plain loop over the same simulators.

"mj_step alone" is the physical limit: `mujoco.mj_step` with as many substeps as Meta-World takes, from the same initial
states, and no actions, observations, rewards or resets. "simulators alone" resets and steps the same simulators in a
plain loop, so what lies between it and the limit is Meta-World's own Python (observations, rewards, resets). A ratio
says how many times as long a step of evaluate() takes, resets included, simulators made beforehand, in one process.
"nobody acts" measures the rollout loop; "policy" adds acting in the default policy, ten episodes in a batch, and
"traced policy" the same by a traced step, which runs use. Good against the simulators: below 1.3, and below 2 with a
policy. Against mj_step: below 10, most of it Meta-World's. "Meta-World's own" are its environments as they come, which
do more work for the same numbers: good is below 0.7.

"two workers" is evaluate() with simulators in two processes, four batches of episodes, by the clock on the wall: it
counts on a quiet machine of two cores alone, where good is below 0.56 (1.8 times as fast).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.setting import Bench, embedding, make_policy
from benchmarks.timing import Row, row, take_turns
from skilltokens.model.actor import PolicyActor
from skilltokens.model.traced import TracedActor
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites import task_of
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import Actor, Array, Environment, Observation, Outcome, Task

TASK = "push"


class Nobody:
    """Gives the action of all zeros."""

    def __init__(self, width: int = 4) -> None:
        self.width = width

    def start(self, batch: int) -> None:
        return None

    def act(self, observation: Observation, memory: Any) -> Array:
        return np.zeros((len(next(iter(observation.values()))), self.width), np.float32)


def run(bench: Bench) -> list[Row]:
    """Both actors against the same raw stepping."""
    episodes, horizon = (2, 5) if bench.quick else (10, 100)
    suite = MetaWorld()
    task = task_of(suite, TASK)
    environment = suite.make(task)
    actors: dict[str, Actor] = {
        "nobody acts": Nobody(),
        "policy": PolicyActor(make_policy(), embedding(0)[0]),
        "traced policy": TracedActor(make_policy(), embedding(0)[0]),
    }
    with Pool(suite) as pool:

        def roll(actor: Actor) -> list[Outcome]:
            return evaluate(actor, suite, task, "validation", range(episodes), pool=pool, horizon=horizon)

        steps = {name: sum(outcome.steps for outcome in roll(actor)) for name, actor in actors.items()}
        sides: dict[str, Callable[[], object]] = {
            f"rollout, {name}": lambda actor=actor: roll(actor) for name, actor in actors.items()
        }
        sides["simulators alone"] = lambda: _plain(environment, episodes, horizon)
        sides["Meta-World's own"] = _own(episodes, horizon)
        sides["mj_step alone"] = _raw(suite.make(task), episodes, horizon)
        times = take_turns(sides, bench.effort)
    every = episodes * horizon
    alone = row("rollout", times, "simulators alone", "Meta-World's own", "below 0.7")
    faster = row("rollout", times, "rollout, traced policy", "rollout, policy", "below 1")
    return [alone, faster, *_rows(times, steps, every), _two(bench, suite, task, actors["traced policy"])]


def _rows(times: dict[str, list[float]], steps: dict[str, int], every: int) -> list[Row]:
    """The rollouts against the simulators and against the physics."""
    return [
        row("rollout", times, f"rollout, {name}", reference, good, units=(steps[name], every))
        for name, reference, good in (
            ("nobody acts", "simulators alone", "below 1.3"),
            ("nobody acts", "mj_step alone", "below 10"),
            ("policy", "simulators alone", "below 2"),
            ("policy", "mj_step alone", "below 10"),
        )
    ]


def _two(bench: Bench, suite: MetaWorld, task: Task, actor: Actor) -> Row:
    """Two processes of simulators against this one."""
    episodes, horizon = (2, 5) if bench.quick else (40, 100)
    with Pool(suite) as here, Pool(suite, 2) as workers:

        def roll(pool: Pool) -> list[Outcome]:
            return evaluate(actor, suite, task, "validation", range(episodes), pool=pool, horizon=horizon)

        sides = {"rollout, two workers": lambda: roll(workers), "rollout, no workers": lambda: roll(here)}
        times = take_turns(sides, bench.effort, time.perf_counter)
    return row("rollout", times, "rollout, two workers", "rollout, no workers", "below 0.56 (wall clock)")


def _plain(environment: Environment, episodes: int, horizon: int) -> None:
    """The episodes of "nobody acts" by the simulator's own interface."""
    nothing = np.zeros(4, np.float32)
    for index in range(episodes):
        environment.reset("validation", index)
        for _ in range(horizon):
            environment.step(nothing)


def _own(episodes: int, horizon: int) -> Callable[[], None]:
    """As many steps of Meta-World's own environment, its goal visible too, resets included."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    own: Any = ALL_V3_ENVIRONMENTS[f"{TASK}-v3"]()
    own._partially_observable = False
    own.__dict__.pop("sawyer_observation_space", None)
    own._set_task_called = own.seeded_rand_vec = True
    own._freeze_rand_vec = False
    nothing = np.zeros(4)

    def step() -> None:
        for _ in range(episodes):
            own.reset()
            for _ in range(horizon):
                own.step(nothing)

    return step


def _raw(environment: Any, episodes: int, horizon: int) -> Callable[[], None]:
    """Steps the scene of each episode in turn, and nothing else but putting its initial state back."""
    import mujoco  # type: ignore[import-untyped]

    physics: Any = mujoco
    simulator = environment._simulator
    model, data, substeps = simulator.model, simulator.data, simulator.frame_skip
    kind = physics.mjtState.mjSTATE_INTEGRATION
    starts = []
    for index in range(episodes):
        environment.reset("validation", index)
        environment.step(np.zeros(4))  # sets the actuators' command, which the gripper closes by
        starts.append(state := np.empty(physics.mj_stateSize(model, kind)))
        physics.mj_getState(model, data, state, kind)

    def step() -> None:
        for state in starts:
            physics.mj_setState(model, data, state, kind)
            for _ in range(horizon):
                physics.mj_step(model, data, nstep=substeps)

    return step
