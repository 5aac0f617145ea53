"""adapt(): one task learned from reward on a frozen policy, measured on the way, resumable."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from skilltokens.behaviour.agents import Agent
from skilltokens.behaviour.builder import make_agent
from skilltokens.behaviour.environments import Challenge, Make, Stacked
from skilltokens.behaviour.ppo import ppo as run_ppo
from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.configuration import flat, plain
from skilltokens.experiments.checkpoint import read_state, write_state
from skilltokens.experiments.record import differences
from skilltokens.model.policy import Policy
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate
from skilltokens.types import Array, Progress, Report, RunError, silent

FREE = ("ppo.rate", "ppo.policy_rate", "ppo.critic_rate", "ppo.workers")
"""Settings with which a training may go on though they differ: a lower rate mends one that diverged."""


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
) -> tuple[Agent, dict[str, Any]]:
    """Learns a challenge by one learner; goes on from the file `state` if that is there.

    Args:
        policy: frozen; its bits are the same afterwards.
        embedding: the instruction that it is given.
        state: where the last good state is kept.
        learner: one of LEARNERS.
        board: a folder for TensorBoard.

    Returns:
        The agent, and what was measured: {"steps", "successes", "lengths"} at each point, "episodes", "trained"
        (parameters that act and were trained), "seconds", "reward" (steps and mean returns of the training).

    Raises:
        Diverged: numbers that are not finite; the file keeps the last good state.
        SettingError: the environment does not fit the policy.
        RunError: the file is damaged, or of a training with other settings.
    """
    made_with = _made_with(policy, challenge, learner, settings, ppo, seed)
    start = _start(state, made_with)
    make = environment_for(policy, challenge, settings)
    env = make()
    space: Any = env.observation_space
    agent = make_agent(learner, policy, embedding, space, ppo, seed, settings.body, settings.picture)
    env.close()
    found: dict[str, Any] = {
        "steps": [], "successes": [], "lengths": [], "episodes": settings.episodes, "trained": trained(agent),
        "seconds": 0.0,
    }  # fmt: skip
    if start is not None:
        found = start[1]["found"]
    last = settings.steps if agent.learned() else 0
    points = sorted({round(last * point / settings.points) for point in range(settings.points + 1)})

    def tell(news: Progress) -> None:
        report(Progress("train", news.done, last, challenge.name, news.figures))

    clock = time.perf_counter()
    with Pool(challenge.suite) as pool:
        for stop in run_ppo(
            agent, make, ppo, points, seed, horizon=challenge.horizon, start=start, report=tell, board=board
        ):
            found["seconds"] = round(found["seconds"] + time.perf_counter() - clock, 1)
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
            found["steps"].append(stop.steps)
            found["successes"].append(sum(outcome.success for outcome in outcomes))
            found["lengths"].append(round(sum(outcome.steps for outcome in outcomes) / len(outcomes), 1))
            found["reward"] = {"steps": stop.curve.steps, "mean": stop.curve.reward}
            tensors, rest = stop.state()
            write_state(state, tensors, {**rest, "found": found, "made_with": made_with})
            rate = found["successes"][-1] / settings.episodes
            report(Progress("train", stop.steps, last, challenge.name, {"success": rate}))
            clock = time.perf_counter()
    return agent, found


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
        **flat({"adapt": plain(settings), "ppo": plain(ppo)}),
    }


def _start(state: Path, made_with: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The kept state, if there is one.

    Raises:
        RunError: it is damaged, or belongs to another training.
    """
    if not state.exists():
        return None
    tensors, rest = read_state(state)
    found = differences(rest.get("made_with", {}), made_with, FREE)
    if found:
        raise RunError(
            f"{state} keeps a training of another configuration ({found}): give these settings to go on with it, or "
            "remove it to start again"
        )
    return tensors, rest


def environment_for(policy: Policy, challenge: Challenge, settings: AdaptSettings) -> Make:
    """How to make an environment that shows a policy as many steps at once as it looks at."""
    length = settings.window or policy.settings.history
    pictures = any(feature.dtype == "uint8" for feature in challenge.suite.features.values())
    if length == 1 and not pictures:  # pictures alone would be turned round by Stable-Baselines3
        return challenge.make
    return functools.partial(_stacked, challenge.make, length)


def _stacked(make: Make, length: int) -> Stacked:
    return Stacked(make(), length)


def trained(agent: Agent) -> int:
    """Parameters that act and are trained."""
    return sum(parameter.numel() for parameter in agent.learned())
