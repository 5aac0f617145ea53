"""What PPO trains: an actor of some kind and a critic, on dictionaries of observed vectors.

An agent says which of its parameters are trained and how fast; everything else is frozen. `watch` is shown the
observations of each batch of experience, for running input normalisation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skilltokens.behaviour.environments import STEPS
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.model.observing import Sense, Senses
from skilltokens.model.policy import Policy
from skilltokens.model.scaled import ActionUnits
from skilltokens.model.steered import Steered
from skilltokens.model.task_token import RunningNorm, joined, mlp
from skilltokens.model.traced import WORTH, TracedActor
from skilltokens.types import Actor, Array, Observation, Scale


class Critic(nn.Module):
    """The value of what is observed, by a ReLU MLP on normalised inputs."""

    def __init__(self, features: Mapping[str, int], hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.features = dict(features)
        self.norm = RunningNorm(sum(features.values()))
        self.net = mlp((sum(features.values()), *hidden, 1), generator)

    def inputs(self, observation: Mapping[str, Tensor]) -> Tensor:
        return joined(observation, self.features)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return self.net(self.norm(self.inputs(observation)))


class Agent(nn.Module):
    """An actor and a critic. Actions are normal around `mean`, with one deviation for each of them.

    Args:
        features: the vectors that the critic (and an MLP actor) reads, by name.
        actions: their number.
    """

    def __init__(
        self, features: Mapping[str, int], actions: int, settings: PpoSettings, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.features, self.settings = dict(features), settings
        self.critic = Critic(features, settings.critic_hidden, generator)
        self.log_std = nn.Parameter(torch.full((actions,), settings.log_std), requires_grad=settings.learn_std)

    def mean(self, observation: Mapping[str, Tensor]) -> Tensor:
        """The action (B, A) in the middle, not clipped, in [-1, 1] or in units of the actions' constants."""
        raise NotImplementedError

    def value(self, observation: Mapping[str, Tensor]) -> Tensor:
        """(B, 1)"""
        return self.critic(latest(observation))

    def learned(self) -> list[nn.Parameter]:
        """The actor's parameters that are trained, but for the deviations."""
        raise NotImplementedError

    def tuned(self) -> list[nn.Parameter]:
        """Those of `learned` that belong to a policy which is trained, in whole or by adapters."""
        return []

    def groups(self) -> list[dict[str, Any]]:
        """Adam's parameter groups."""
        tuned = self.tuned()
        known = {id(parameter) for parameter in tuned}
        actor = [parameter for parameter in self.learned() if id(parameter) not in known]
        actor += [self.log_std] if self.log_std.requires_grad else []
        rates = ((actor, self.settings.rate), (tuned, self.settings.policy_rate))
        groups = [{"params": list(self.critic.parameters()), "lr": self.settings.critic_rate}]
        return groups + [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters]

    def watch(self, observation: Mapping[str, Tensor]) -> None:
        """Shows a batch (N, ...) to all running norms."""
        now = latest(observation)
        self.critic.norm.update(self.critic.inputs(now))

    def actor(self) -> Actor:
        """What acts after the training, by the mean action; later training does not change it."""
        raise NotImplementedError


class MlpAgent(Agent):
    """Plain PPO: a ReLU MLP from what is observed to the action, which is in [-1, 1] or in `units`."""

    def __init__(
        self,
        features: Mapping[str, int],
        actions: int,
        settings: PpoSettings,
        generator: torch.Generator,
        units: Scale | None = None,
    ) -> None:
        super().__init__(features, actions, settings, generator)
        self.units = None if units is None else ActionUnits(units)
        self.norm = RunningNorm(sum(features.values()))
        self.net = mlp((sum(features.values()), *settings.hidden, actions), generator, gain=0.01)

    def mean(self, observation: Mapping[str, Tensor]) -> Tensor:
        return self.net(self.norm(self.critic.inputs(latest(observation))))

    def learned(self) -> list[nn.Parameter]:
        return list(self.net.parameters())

    def watch(self, observation: Mapping[str, Tensor]) -> None:
        super().watch(observation)
        self.norm.update(self.critic.inputs(latest(observation)))

    def actor(self) -> Actor:
        return MlpActor(self)


class PolicyAgent(Agent):
    """A policy with a task token: frozen but for the task token, or with other parts to be trained as well.

    Args:
        policy: with its task token in place; parameters that require gradients are trained.
        embedding: the instruction's unit vector (language,).
    """

    def __init__(
        self,
        policy: Policy,
        embedding: Array,
        features: Mapping[str, int],
        settings: PpoSettings,
        generator: torch.Generator,
    ) -> None:
        super().__init__(features, policy.shape.actions, settings, generator)
        self.policy = policy
        self.embedding: Tensor
        self.register_buffer("embedding", torch.as_tensor(embedding, dtype=torch.float32))
        self.steered = Steered(policy, self.embedding) if Steered.fits(policy) else None
        """The same policy, where the task token is all that is trained of it: much faster."""

    def mean(self, observation: Mapping[str, Tensor]) -> Tensor:
        seen, mask = stacked(observation)
        batch, length = next(iter(seen.values())).shape[:2]
        if length == 1:
            mask = None
        if self.steered is not None:
            return self.policy.predicted(self.steered(seen, mask))[:, 0]
        embedding = self.embedding.expand(batch, -1)
        return self.policy.predicted(self.policy(seen, embedding, mask)[:, -1])[:, 0]

    def learned(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.policy.parameters() if parameter.requires_grad]

    def tuned(self) -> list[nn.Parameter]:
        own = () if self.policy.task_token is None else self.policy.task_token.parameters()
        token = {id(parameter) for parameter in own}
        return [parameter for parameter in self.learned() if id(parameter) not in token]

    def watch(self, observation: Mapping[str, Tensor]) -> None:
        super().watch(observation)
        if self.policy.task_token is not None:
            self.policy.task_token.norm.update(self.policy.task_token.inputs(latest(observation)))

    def actor(self) -> Actor:
        return TracedActor(self.policy, self.embedding.cpu().numpy(), after=WORTH)


class MlpActor:
    """Acts by an MLP agent as it is now; implements `types.Actor`."""

    def __init__(self, agent: MlpAgent) -> None:
        self.agent = copy.deepcopy(agent).cpu().requires_grad_(False).eval()
        self.senses = Senses(Sense(name, "flat", width) for name, width in agent.features.items())

    def start(self, batch: int) -> None:
        """It remembers nothing."""

    @torch.inference_mode()
    def act(self, observation: Observation, memory: None) -> Array:
        seen = {name: torch.from_numpy(array) for name, array in self.senses.read(observation).items()}
        mean, units = self.agent.mean(seen), self.agent.units
        return (mean.clamp(-1.0, 1.0) if units is None else units.restored(mean)).numpy()


class Shaken:
    """Another actor with normal noise on its actions, as PPO has while it learns; implements `types.Actor`.

    Args:
        log_std: the logarithm of the noise's deviation, in units of the actions' constants.
        units: those constants; None: actions are in [-1, 1].
    """

    def __init__(self, actor: Actor, log_std: float, units: Scale | None = None) -> None:
        self.inner, self.deviation, self.units = actor, math.exp(log_std), units

    def start(self, batch: int) -> tuple[Any, np.random.Generator]:
        """The other one's memory, and noise from its beginning, so that episodes are the same each time."""
        return self.inner.start(batch), np.random.default_rng(0)

    def act(self, observation: Observation, memory: tuple[Any, np.random.Generator]) -> Array:
        inner, generator = memory
        actions = self.inner.act(observation, inner)
        noise = self.deviation * generator.standard_normal(actions.shape)
        if self.units is not None:
            return (actions + noise * np.asarray(self.units.unit)).astype(np.float32)
        return np.clip(actions + noise, -1.0, 1.0).astype(np.float32)


def latest(observation: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The newest of stacked observations; others as they are."""
    if STEPS not in observation:
        return observation
    return {name: value[:, -1] for name, value in observation.items() if name != STEPS}


def stacked(observation: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Observations (B, T, ...) and which of the steps there were (B, T)."""
    if STEPS not in observation:
        seen = {name: value[:, None] for name, value in observation.items()}
        return seen, torch.ones(next(iter(seen.values())).shape[:2], dtype=torch.bool)
    seen = {name: value for name, value in observation.items() if name != STEPS}
    length = next(iter(seen.values())).shape[1]
    age = torch.arange(length - 1, -1, -1, device=observation[STEPS].device)
    return seen, age < observation[STEPS]


def normal_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Of independent normals, summed over the actions (B,)."""
    error = (action - mean) * torch.exp(-log_std)
    return (-0.5 * error.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
