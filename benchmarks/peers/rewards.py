"""PPO: a rollout and its update, ours against Stable-Baselines3's own PPO with its own networks.

Ours is Stable-Baselines3's loop with agents of ours in it, so the first row says what our agents and checks cost, and
the second what a task token on a frozen transformer does. All have the settings of ours, hidden layers included, and
the environment of benchmarks/steering.py, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from gymnasium.spaces import Dict as DictSpace
from torch import nn

from benchmarks.peers.sizes import Size, beside
from benchmarks.peers.sources import load
from benchmarks.setting import Bench, embedding
from benchmarks.steering import SPACE, Empty, policy_of_a_body, updates
from benchmarks.timing import Row, row, take_turns
from skilltokens.behaviour.agents import Agent
from skilltokens.behaviour.builder import make_agent
from skilltokens.behaviour.ppo import options
from skilltokens.behaviour.settings import PpoSettings

THEIRS = "Stable-Baselines3's PPO, MLP"


class Plain(Empty):
    """The same environment with names as networks of Stable-Baselines3 take them, without dots."""

    observation_space = DictSpace({name.replace(".", "-"): box for name, box in SPACE.spaces.items()})

    def __init__(self) -> None:
        super().__init__()
        self._seen = {name.replace(".", "-"): values for name, values in self._seen.items()}


def run(bench: Bench) -> list[Row]:
    """Two rows."""
    settings = PpoSettings(envs=2, rollout=64, epochs=2) if bench.quick else PpoSettings(target_kl=0.0)
    agents = {"PPO, MLP": _agent("mlp", settings), "PPO, task token": _agent("token", settings)}
    size, theirs = _published(settings)
    sides = {name: updates(agent, settings) for name, agent in agents.items()}
    times = take_turns({**sides, THEIRS: theirs}, bench.effort)
    good = {"PPO, MLP": "below 1", "PPO, task token": "below 1.67"}
    return [
        row("Stable-Baselines3", times, name, THEIRS, good[name], sizes=beside(_size(agent), size))
        for name, agent in agents.items()
    ]


def _agent(learner: str, settings: PpoSettings) -> Agent:
    return make_agent(learner, policy_of_a_body(), embedding(0)[0], SPACE, settings, 0)


def _size(agent: Agent) -> Size:
    return Size.of(agent, [parameter for group in agent.groups() for parameter in group["params"]])


def _published(settings: PpoSettings) -> tuple[Size, Callable[[], object]]:
    """The size of Stable-Baselines3's own networks, and a function that takes one rollout and learns from it."""
    package, environments = load("stable_baselines3"), load("stable_baselines3.common.vec_env")
    shape = {"pi": list(settings.hidden), "vf": list(settings.critic_hidden)}
    model = package.PPO(
        "MultiInputPolicy",
        environments.VecMonitor(environments.DummyVecEnv([Plain] * settings.envs)),
        policy_kwargs={"net_arch": shape, "activation_fn": nn.ReLU, "log_std_init": settings.log_std},
        seed=0,
        **options(settings),
    )
    steps = settings.envs * settings.rollout
    return Size.of(model.policy), lambda: model.learn(steps, reset_num_timesteps=False)
