"""PPO with a task token on a frozen policy, against plain PPO with an MLP and the plain form of the same policy.

A turn is a rollout and its update, by the real loop, in an environment of HalfCheetah's shapes that costs nothing, so
that what is compared is acting and learning alone. Good: below 2.5 times as long as plain PPO. The frozen transformer
has some ten times the products of the MLP, and calls eight times as many operations, each on few numbers. The second
row says what is gained by computing apart what does not depend on the token (model/steered.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace

from benchmarks.setting import LANGUAGE, Bench, embedding
from benchmarks.timing import Row, row, take_turns
from skilltokens.behaviour.agents import Agent, PolicyAgent
from skilltokens.behaviour.builder import make_agent
from skilltokens.behaviour.ppo import ppo
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.experiments.settings import RewardSettings
from skilltokens.model.policy import Policy, Shape
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, Scale

WIDTHS = {STATE: 17, ENVIRONMENT_STATE: 4}
ACTIONS, HORIZON = 6, 200
SPACE = DictSpace({name: Box(-1, 1, (width,), np.float32) for name, width in WIDTHS.items()})


class Empty(gymnasium.Env[Any, Any]):
    """Shows the same numbers at every step."""

    observation_space = SPACE
    action_space = Box(-1, 1, (ACTIONS,), np.float32)

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._seen = {name: rng.uniform(-1, 1, width).astype(np.float32) for name, width in WIDTHS.items()}
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._steps = 0
        return self._seen, {}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._seen, float(action[0]), False, self._steps >= HORIZON, {}


def run(bench: Bench) -> list[Row]:
    """Two rows."""
    settings = PpoSettings(envs=2, rollout=64, epochs=2) if bench.quick else PpoSettings(target_kl=0.0)
    sides = {
        "PPO, task token": updates(_agent("token", settings), settings),
        "PPO, task token, plain form": updates(_plain(_agent("token", settings)), settings),
        "PPO, MLP": updates(_agent("mlp", settings), settings),
    }
    times = take_turns(sides, bench.effort)
    return [
        row("steering", times, "PPO, task token", "PPO, MLP", "below 2.5"),
        row("steering", times, "PPO, task token", "PPO, task token, plain form", "below 0.9"),
    ]


def policy_of_a_body() -> Policy:
    """A behaviour model with random weights, as recipes from reward distil it."""
    scale = Scale((0.0,) * WIDTHS[STATE], (1.0,) * WIDTHS[STATE])
    generator = torch.Generator().manual_seed(0)
    return Policy(Shape({STATE: scale}, ACTIONS, LANGUAGE), RewardSettings().policy, generator)


def _agent(learner: str, settings: PpoSettings) -> Agent:
    return make_agent(learner, policy_of_a_body(), embedding(0)[0], SPACE, settings, 0)


def _plain(agent: Agent) -> Agent:
    assert isinstance(agent, PolicyAgent)
    agent.steered = None
    return agent


def updates(agent: Agent, settings: PpoSettings) -> Callable[[], object]:
    """A function that takes one rollout and learns from it, each time."""
    size = settings.envs * settings.rollout
    loop = ppo(agent, Empty, settings, [size * (i + 1) for i in range(100_000)], seed=0)
    return lambda: next(loop)
