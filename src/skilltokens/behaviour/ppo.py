"""PPO (arXiv 1707.06347) by Stable-Baselines3, in parts: a generator that stops where its caller evaluates and saves.

Every part begins with fresh episodes and random numbers drawn from (seed, part). So a run that resumes from a saved
state ends with the same numbers as one that was never stopped (same machine, same threads), and a state holds no
simulator.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import obs_as_tensor, set_random_seed
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from torch import Tensor

from skilltokens.behaviour.agents import Agent, normal_log_prob
from skilltokens.behaviour.environments import Make, Staggered
from skilltokens.behaviour.parallel import Limit, side_by_side
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.tensors import State, check_like, on_cpu
from skilltokens.types import Progress, Report, RunError, SettingError, SkilltokensError, silent


class Diverged(SkilltokensError):
    """Numbers that are not finite any more."""


@dataclass
class Curve:
    """What the training saw: steps so far, and the mean return of recent episodes, after each update that had some."""

    steps: list[int] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)


@dataclass
class Stop:
    """A stop of ppo(): after `steps` environment steps, at part `part`."""

    part: int
    steps: int
    curve: Curve
    _save: Callable[[], State]

    def state(self) -> State:
        """What ppo(start=...) needs to resume from here."""
        return self._save()


def ppo(
    agent: Agent,
    make: Make,
    settings: PpoSettings,
    stops: Sequence[int],
    seed: int,
    *,
    horizon: int = 0,
    start: State | None = None,
    report: Report = silent,
    board: Path | None = None,
    limit: Limit | None = None,
) -> Iterator[Stop]:
    """Trains the agent in place, and yields after each of `stops` environment steps (rounded up to whole rollouts).

    Args:
        make: a new environment with a dictionary of observations; called once for each parallel one.
        stops: rising numbers of environment steps; 0 is before the training.
        seed: of episodes, actions and the order of batches.
        horizon: steps of an episode at most, over which first episodes are staggered (`ppo.stagger`); 0: they are not.
        start: what `Stop.state` returned; see `check_start`.
        board: a folder for TensorBoard's files, one for each call; None: none are written.
        limit: how long an environment is waited for; changes no number.

    Raises:
        Diverged: a reward, a loss or a parameter is not finite; the last stop's state is the last good one.
        SuiteError: an environment in a process of its own hung or ended; the last stop's state is whole.
        SettingError: `board` cannot be written.
    """
    torch.set_num_threads(settings.threads)
    with _environments(make, settings, horizon, limit or Limit(report=report)) as env, _logger(board) as logger:
        algorithm = _Algorithm(agent, env, settings, logger)
        done, curve = 0, Curve()
        if start is not None:
            done, curve = _load(start, agent, algorithm, env)
        for part, steps in enumerate(stops):
            if part < done:
                continue
            _seed(env, algorithm, seed, part)
            algorithm.learn_until(steps, _Watcher(curve, steps, report))
            save = functools.partial(_save, part + 1, curve, agent, algorithm, env)
            yield Stop(part, algorithm.num_timesteps, curve, save)


def options(settings: PpoSettings) -> dict[str, Any]:
    """The settings as Stable-Baselines3's PPO has them, but for the policy's own."""
    return {
        "learning_rate": settings.rate,
        "n_steps": settings.rollout,
        "batch_size": settings.batch,
        "n_epochs": settings.epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae,
        "clip_range": settings.clip,
        "ent_coef": settings.entropy,
        "max_grad_norm": settings.gradient,
        "normalize_advantage": settings.normalize,
        "target_kl": settings.target_kl or None,
        "device": settings.device,
    }


class _Algorithm(PPO):
    """Stable-Baselines3's PPO with rates of the agent's own."""

    def __init__(self, agent: Agent, env: VecNormalize, settings: PpoSettings, logger: Logger) -> None:
        self.agent = agent
        super().__init__(_Policy, env, policy_kwargs={"agent": agent}, **options(settings))
        self.set_logger(logger)

    def learn_until(self, steps: int, watcher: BaseCallback) -> None:
        """Trains up to so many environment steps in all."""
        left = steps - self.num_timesteps
        if left > 0:
            self.learn(left, callback=watcher, reset_num_timesteps=False)
            self.logger.dump(self.num_timesteps)  # of the last update, which would wait for the next part

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: Any = None) -> None:
        """Leaves out the returns of episodes that were cut short."""
        super()._update_info_buffer([{} if Staggered.CUT in info else info for info in infos], dones)

    def _update_learning_rate(self, optimizers: Any) -> None:
        """Leaves each group its own rate."""

    def train(self) -> None:
        """One update. Inputs' norms take in a rollout after it was learned from, not between acting and learning."""
        super().train()
        for name, value in self.agent.named_parameters():
            if value.requires_grad and not bool(torch.isfinite(value).all()):
                raise Diverged(
                    f"{name} is not finite after {self.num_timesteps} steps: lower the rate (--ppo.rate); what was "
                    "saved last is kept"
                )
        self.agent.watch(obs_as_tensor(self.rollout_buffer.observations, self.device))  # pyright: ignore


class _Policy(ActorCriticPolicy):
    """An agent as Stable-Baselines3 wants a policy to be."""

    def __init__(self, *words: Any, agent: Agent, **others: Any) -> None:
        self._given = [agent]  # in a list, since no module can be assigned before the constructor of nn.Module
        super().__init__(*words, **others)

    def _build(self, lr_schedule: Any) -> None:
        self.agent = self._given[0]
        self.optimizer = torch.optim.Adam(self.agent.groups(), eps=1e-5)

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        """Those that are trained: Stable-Baselines3 goes through them at each step, for the gradient's norm."""
        return (parameter for group in self.optimizer.param_groups for parameter in group["params"])

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_std = self.agent.mean(obs), self.agent.log_std
        action = mean if deterministic else mean + torch.randn_like(mean) * log_std.exp()
        return action, self.agent.value(obs), normal_log_prob(action, mean, log_std)

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_std = self.agent.mean(obs), self.agent.log_std
        entropy = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum().expand(len(mean))
        return self.agent.value(obs), normal_log_prob(actions, mean, log_std), entropy

    def predict_values(self, obs: Any) -> Tensor:
        return self.agent.value(obs)


class _Watcher(BaseCallback):
    """Writes the curve down and reports progress."""

    def __init__(self, curve: Curve, total: int, report: Report) -> None:
        super().__init__()
        self.curve, self.total, self.report = curve, total, report

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer or ()
        if not episodes:  # a part begins with fresh ones, and none has ended yet
            self.report(Progress("train", self.num_timesteps, self.total))
            return
        mean = float(np.mean([episode["r"] for episode in episodes]))
        if not math.isfinite(mean):
            raise Diverged(f"the return became {mean} after {self.num_timesteps} steps: check the environment's reward")
        self.curve.steps.append(self.num_timesteps)
        self.curve.reward.append(round(mean, 4))
        self.report(Progress("train", self.num_timesteps, self.total, figures={"return": mean}))


class _Returns(VecNormalize):
    """Scales rewards only; observations pass through, where Stable-Baselines3 copies them deeply at every step."""

    def normalize_obs(self, obs: Any) -> Any:
        return obs


@contextmanager
def _environments(make: Make, settings: PpoSettings, horizon: int, limit: Limit) -> Iterator[VecNormalize]:
    """The vectorised environments, closed at the end."""
    makes: list[Make] = [make] * settings.envs
    if settings.stagger and horizon:
        firsts = [math.ceil(horizon * (number + 1) / settings.envs) for number in range(settings.envs)]
        makes = [functools.partial(_staggered, make, first) for first in firsts]
    env = side_by_side(makes, settings.workers, limit)
    env = _Returns(VecMonitor(env), norm_obs=False, gamma=settings.gamma)
    try:
        yield env
    finally:
        env.close()


def _staggered(make: Make, first: int) -> Staggered:
    return Staggered(make(), first)


@contextmanager
def _logger(board: Path | None) -> Iterator[Logger]:
    """For all parts of a training: Stable-Baselines3 by itself would open one more at each, and close none."""
    try:
        logger = Logger(None, [] if board is None else [TensorBoardOutputFormat(str(board))])
    except OSError as problem:
        raise SettingError(f"{board} cannot be written for TensorBoard ({problem}): name another folder") from problem
    try:
        yield logger
    finally:
        logger.close()


def _seed(env: VecNormalize, algorithm: PPO, seed: int, part: int) -> None:
    """Fresh episodes and random numbers for one part."""
    drawn = int(np.random.default_rng([seed, part]).integers(2**31 - 2**16))
    set_random_seed(drawn)
    env.seed(drawn)
    algorithm._last_obs = None  # the next rollout begins with a reset
    algorithm.ep_info_buffer = None


def _save(part: int, curve: Curve, agent: Agent, algorithm: PPO, env: VecNormalize) -> State:
    tensors = {f"agent.{name}": value.detach().clone() for name, value in agent.state_dict().items()}
    for index, entry in algorithm.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value).clone() for name, value in entry.items()}
    scale = env.ret_rms
    rest = {
        "part": part,
        "steps": algorithm.num_timesteps,
        "updates": algorithm._n_updates,
        "returns": [float(scale.mean), float(scale.var), float(scale.count)],
        "curve": json.dumps({"steps": curve.steps, "reward": curve.reward}),
    }
    return tensors, rest


class _Plain(msgspec.Struct, kw_only=True):
    """What JSON holds of a training; its callers keep more beside it."""

    part: Annotated[int, msgspec.Meta(ge=0)]
    steps: Annotated[int, msgspec.Meta(ge=0)]
    updates: Annotated[int, msgspec.Meta(ge=0)]
    returns: tuple[float, float, float]
    curve: str


def check_start(start: State, agent: Agent, path: Path) -> None:
    """Checks that what was kept is of a training of this agent, before anything of it is taken over.

    Args:
        start: what `Stop.state` returned.
        path: where it was kept.

    Raises:
        RunError: it is not: other tensors, other shapes or kinds, numbers that are not finite or cannot be.
    """
    tensors, rest = start
    try:
        kept = msgspec.convert(dict(rest), _Plain)
        msgspec.json.decode(kept.curve, type=Curve)
        moments = _moments(tensors)
        parameters = [parameter for group in agent.groups() for parameter in group["params"]]
        needed = {f"agent.{name}": value for name, value in agent.state_dict().items()}
        for i in moments:
            needed[f"optimizer.{i}.step"] = torch.tensor(0.0)
            needed |= {f"optimizer.{i}.{name}": parameters[i].detach() for name in ("exp_avg", "exp_avg_sq")}
        if not all(map(math.isfinite, kept.returns)) or kept.returns[1] < 0 or kept.returns[2] < 0:
            raise ValueError("its returns cannot be")
    except (LookupError, ValueError, TypeError) as problem:
        reason = str(problem).replace("`", "").replace("$.", "")[:200]
        raise RunError(
            f"{path} is altered ({reason}): restore it from a copy, or remove it to start again"
        ) from problem
    check_like(tensors, on_cpu(needed), str(path))


def _moments(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimizer's tensors by number of the parameter."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value.clone()
    return moments


def _load(start: State, agent: Agent, algorithm: PPO, env: VecNormalize) -> tuple[int, Curve]:
    tensors, rest = start
    agent.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("agent.")})
    optimizer = algorithm.policy.optimizer
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(tensors)})
    algorithm.num_timesteps, algorithm._n_updates = rest["steps"], rest["updates"]
    scale = env.ret_rms
    mean, var, scale.count = (np.float64(x) for x in rest["returns"])
    scale.mean, scale.var = np.asarray(mean), np.asarray(var)
    return rest["part"], Curve(**json.loads(rest["curve"]))
