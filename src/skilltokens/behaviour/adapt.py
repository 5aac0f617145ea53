"""adapt(): one task learned from reward on a frozen policy, measured on the way, resumable."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from skilltokens.behaviour.agents import Agent
from skilltokens.behaviour.builder import Sight, make_agent
from skilltokens.behaviour.environments import Challenge, Make, Stacked, Through, check_units
from skilltokens.behaviour.parallel import Limit
from skilltokens.behaviour.ppo import Stop, check_start
from skilltokens.behaviour.ppo import ppo as run_ppo
from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.configuration import differences, flat, plain, plain_as_before
from skilltokens.demos.kinds import PICTURES, kind_of
from skilltokens.model.policy import Policy
from skilltokens.model.trunks.naming import NONE
from skilltokens.model.trunks.opening import open_trunk
from skilltokens.simulation.memory import STAGE
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate
from skilltokens.tensors import read_state, write_state
from skilltokens.types import Array, Counts, Progress, Report, RunError, SettingError, silent


@dataclass
class Curve:
    """What was measured while a task was learned: one entry a point."""

    steps: list[int]
    """Environment steps of training."""
    successes: list[int]
    lengths: list[float]
    """Mean lengths of the episodes."""
    episodes: int
    """Episodes that measure each point."""
    trained: int
    """Parameters that act and were trained."""
    seconds: float = 0.0
    """Spent on training."""
    reward: dict[str, list[Any]] = field(default_factory=dict)
    """Of the training itself: "steps", and the "mean" return after them."""

    def add(self, stop: Stop, counts: Counts) -> None:
        """Adds a point: where the training stopped, and what was counted there."""
        self.steps.append(stop.steps)
        self.successes.append(counts.successes)
        self.lengths.append(round(counts.steps / counts.episodes, 1))
        self.reward = {"steps": stop.curve.steps, "mean": stop.curve.reward}


CURVE = "found"
"""The key of the curve in a training's file."""
FREE = ("ppo.rate", "ppo.policy_rate", "ppo.critic_rate", "ppo.workers", "adapt.step_limit")
"""Settings that may differ when a training is resumed: a lower rate fixes one that diverged."""


def adapt(
    policy: Policy,
    embedding: Array,
    challenge: Challenge,
    state: Path,
    *,
    learner: str = "token",
    settings: AdaptSettings,
    ppo: PpoSettings,
    seed: int = 0,
    report: Report = silent,
    board: Path | None = None,
) -> tuple[Agent, Curve]:
    """Learns a challenge by one learner; resumes from the file `state` if that is there.

    Args:
        policy: frozen; its bits are the same afterwards.
        embedding: the instruction's unit vector, which the policy gets (language,).
        state: where the last good state is kept.
        learner: one of LEARNERS.
        board: a folder for TensorBoard's files; None: none are written.

    Returns:
        The agent, and what was measured.

    Raises:
        Diverged: numbers that are not finite; the file keeps the last good state.
        SettingError: the environment does not fit the policy.
        SuiteError: a simulator failed, or one in a process of its own hung; the file keeps the last state.
        RunError: the file is damaged, or of a training with other settings.
    """
    check_units(policy, challenge.suite)
    made_with = _made_with(policy, challenge, learner, settings, ppo, seed)
    start = _start(state, made_with, report)
    make = environment_for(policy, challenge, settings)
    env = make()
    space: Any = env.observation_space
    sight = Sight(settings.body, settings.picture, settings.trunk)
    agent = make_agent(learner, policy, embedding, space, ppo, seed, sight)
    env.close()
    curve = Curve([], [], [], settings.episodes, trained(agent))
    if start is not None:
        check_start(start, agent, state)
        curve = _curve(start[1], state)
    last = settings.steps if agent.learned() else 0
    points = sorted({round(last * point / settings.points) for point in range(settings.points + 1)})

    def pass_on(news: Progress) -> None:
        report(Progress("train", news.done, last, challenge.name, news.figures))

    clock = time.perf_counter()
    limit = Limit(settings.step_limit, challenge.name, report)
    with Pool(challenge.suite, int(ppo.workers), report, settings.step_limit) as pool:
        for stop in run_ppo(
            agent,
            make,
            ppo,
            points,
            seed,
            horizon=challenge.horizon,
            start=start,
            report=pass_on,
            board=board,
            limit=limit,
        ):
            curve.seconds = round(curve.seconds + time.perf_counter() - clock, 1)
            counts = _measured(agent, challenge, settings, pool)
            curve.add(stop, counts)
            tensors, rest = stop.state()
            write_state(state, tensors, {**rest, CURVE: asdict(curve), "made_with": made_with})
            rate = counts.successes / counts.episodes
            report(Progress("train", stop.steps, last, challenge.name, {"success": rate}))
            clock = time.perf_counter()
    return agent, curve


def _measured(agent: Agent, challenge: Challenge, settings: AdaptSettings, pool: Pool) -> Counts:
    """How often the agent succeeds as it is now."""
    outcomes = evaluate(
        agent.actor(),
        challenge.suite,
        challenge.task,
        settings.split,
        range(settings.episodes),
        group=settings.group,
        horizon=challenge.horizon,
        pool=pool,
    )
    return Counts.of(outcomes)


def _made_with(
    policy: Policy, challenge: Challenge, learner: str, settings: AdaptSettings, ppo: PpoSettings, seed: int
) -> dict[str, Any]:
    """What a state belongs to, on one level."""
    return {
        "environment": challenge.name,
        "horizon": challenge.horizon,
        "learner": learner,
        "seed": seed,
        "steered": policy.fingerprint(),
        **flat({"adapt": plain_as_before(settings), "ppo": plain(ppo)}),
    }


def _curve(rest: dict[str, Any], state: Path) -> Curve:
    """What was measured so far, as the file of a training says it. Raises RunError where that cannot be."""
    try:
        curve = msgspec.convert(rest.get(CURVE), Curve)
    except ValueError as problem:
        reason = str(problem).replace("`", "").replace("$.", "")
        raise RunError(f"{state} is altered ({reason}): restore it, or remove it to start again") from problem
    points = {len(curve.steps), len(curve.successes), len(curve.lengths)}
    if points != {rest["part"]} or not all(0 <= n <= curve.episodes for n in curve.successes):
        raise RunError(f"{state} is altered (its curve cannot be): restore it, or remove it to start again")
    return curve


def _start(state: Path, made_with: dict[str, Any], report: Report) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The kept state, if there is one.

    Raises:
        RunError: it is damaged, or belongs to another training.
    """
    if not os.path.lexists(state):
        return None
    tensors, rest = read_state(state, lambda note: report(Progress(STAGE, 0, 1, note)))
    before = rest.get("made_with")
    changes = differences(before if isinstance(before, dict) else {}, made_with, FREE)
    if changes:
        raise RunError(
            f"{state} keeps a training of another configuration ({changes}): give these settings to resume it, or "
            "remove it to start again"
        )
    return tensors, rest


def environment_for(policy: Policy, challenge: Challenge, settings: AdaptSettings) -> Make:
    """How to make an environment that shows a policy as many steps at once as it looks at, and an encoder that sees
    through a frozen trunk what that makes of pictures.

    Raises:
        SettingError: the policy sees its own pictures otherwise.
    """
    _check_sight(policy, settings)
    length = settings.window or policy.settings.history
    pictures = any(kind_of(name, feature) == "image" for name, feature in challenge.suite.features.items())
    if length == 1 and not pictures:  # pictures alone would be turned round by Stable-Baselines3
        return challenge.make
    return functools.partial(_stacked, challenge.make, length, settings.trunk)


def _stacked(make: Make, length: int, trunk: str) -> Stacked:
    env = make()
    return Stacked(env if trunk == NONE else Through(env, open_trunk(trunk)), length)


def _check_sight(policy: Policy, settings: AdaptSettings) -> None:
    """Raises SettingError where the policy sees its own pictures otherwise than the encoder would."""
    sees = any(kind in PICTURES for kind in policy.shape.kinds.values())
    if settings.trunk != NONE and sees and policy.settings.trunk != settings.trunk:
        raise SettingError(
            f"adapt.trunk is {settings.trunk!r}, and the policy that it steers sees the same pictures through "
            f"{policy.settings.trunk!r}: use that, or leave adapt.trunk out"
        )


def trained(agent: Agent) -> int:
    """Parameters that act and are trained."""
    return sum(parameter.numel() for parameter in agent.learned())
