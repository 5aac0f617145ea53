"""adapt(): one task learned from reward on a frozen policy, measured on the way, resumable."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from skilltokens.behaviour.agents import Agent
from skilltokens.behaviour.learners import make_agent
from skilltokens.behaviour.ppo import ppo as run_ppo
from skilltokens.checkpoint import read_state, write_state
from skilltokens.model.policy import Policy
from skilltokens.pool import Pool
from skilltokens.rollout import evaluate
from skilltokens.settings import AdaptSettings, PpoSettings
from skilltokens.suites.reward import Challenge, Make, Stacked
from skilltokens.types import Array, Progress, Report, silent


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
        RunError: the file is damaged.
    """
    make = environment_for(policy, challenge, settings)
    env = make()
    space: Any = env.observation_space
    agent = make_agent(learner, policy, embedding, space, ppo, seed, settings.body, settings.picture)
    env.close()
    start = read_state(state) if state.exists() else None
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
        for stop in run_ppo(agent, make, ppo, points, seed, start=start, report=tell, board=board):
            found["seconds"] = round(found["seconds"] + time.perf_counter() - clock, 1)
            outcomes = evaluate(
                agent.actor(),
                challenge.suite,
                challenge.task,
                settings.split,
                range(settings.episodes),
                horizon=challenge.horizon,
                pool=pool,
            )
            found["steps"].append(stop.steps)
            found["successes"].append(sum(outcome.success for outcome in outcomes))
            found["lengths"].append(round(sum(outcome.steps for outcome in outcomes) / len(outcomes), 1))
            found["reward"] = {"steps": stop.curve.steps, "mean": stop.curve.reward}
            tensors, rest = stop.state()
            write_state(state, tensors, {**rest, "found": found})
            rate = found["successes"][-1] / settings.episodes
            report(Progress("train", stop.steps, last, challenge.name, {"success": rate}))
            clock = time.perf_counter()
    return agent, found


def environment_for(policy: Policy, challenge: Challenge, settings: AdaptSettings) -> Make:
    """How to make an environment that shows a policy as many steps at once as it looks at."""
    length = settings.window or policy.settings.history
    if length == 1 and not settings.picture:
        return challenge.make
    return functools.partial(_stacked, challenge.make, length)


def _stacked(make: Make, length: int) -> Stacked:
    return Stacked(make(), length)


def trained(agent: Agent) -> int:
    """Parameters that act and are trained."""
    return sum(parameter.numel() for parameter in agent.learned())
