"""Settings of learning from reward. Free of torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt

from skilltokens.configuration import Count, CountFrom0, Infinite, NotNegative, Positive, Seed, ShareFrom0
from skilltokens.model.trunks.naming import NONE, check_installed, check_name
from skilltokens.settings import STEP_LIMIT, check_device
from skilltokens.types import SettingError


@dataclass(frozen=True)
class CommonPpoSettings:
    """What PPO needs, whatever it trains."""

    envs: Count = 16
    """Environments that are stepped side by side."""
    rollout: Count = 32
    """Steps of each environment between two updates."""
    batch: Count = 128
    """Steps in a minibatch; a divisor of envs times rollout."""
    epochs: Count = 10
    """Passes over a rollout in an update."""
    rate: Positive = 1e-3
    """Learning rate of the encoder, or of an MLP that acts."""
    critic_rate: Positive = 1e-3
    """Learning rate of the critic."""
    gamma: ShareFrom0 = 0.99
    """Discount factor."""
    gae: ShareFrom0 = 0.95
    """Lambda of the generalised advantage estimate."""
    clip: Annotated[float, Gt(0), Infinite] = 0.2
    """PPO's clip range."""
    entropy: NotNegative = 0.0
    """Weight of the entropy bonus; 0: none."""
    gradient: Annotated[float, Gt(0), Infinite] = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    normalize: bool = True
    """Scale the advantages of a minibatch to a deviation of 1. Where rewards are rare, that blows up noise."""
    target_kl: NotNegative = 0.05
    """An update ends early where the actions have changed this much (approximate KL divergence); 0: never."""
    log_std: float = -1.2
    """Natural logarithm of the actions' standard deviation, at the start; actions lie between -1 and 1."""
    learn_std: bool = False
    """Train that deviation as well."""
    hidden: tuple[Count, ...] = (128, 128)
    """Widths of the hidden layers of the encoder, or of an MLP that acts."""
    critic_hidden: tuple[Count, ...] = (128, 128)
    """Widths of the critic's hidden layers."""
    workers: bool = False
    """Step each environment in a process of its own; changes no number."""
    device: str = "cpu"
    """Where to train: cpu, cuda or cuda:1."""
    threads: Count = 1
    """Threads of torch; an exact repetition needs the same number."""

    def check(self, name: str = "ppo") -> None:
        """Raises SettingError where a rollout cannot be cut into minibatches, or the device is not there."""
        steps = self.envs * self.rollout
        if steps % self.batch:
            raise SettingError(
                f"{name}.batch {self.batch} is no divisor of the {steps} steps of a rollout ({name}.envs times "
                f"{name}.rollout): choose one that is"
            )
        if self.normalize and self.batch == 1:
            raise SettingError(
                f"{name}.batch 1 leaves nothing to scale advantages by: use 2 or more, or --{name}.no-normalize"
            )
        check_device(self.device)


@dataclass(frozen=True)
class PpoSettings(CommonPpoSettings):
    """Learning a task from reward, by PPO through Stable-Baselines3."""

    policy_rate: Positive = 2e-4
    """Learning rate of the policy itself, or of its adapters, where a learner trains them."""
    tokens: Count = 1
    """Task tokens: how many the encoder makes."""
    presence: float = -3.0
    """Logarithm of a task token's weight in attention, at the start. 0: as much as any other token; lower: less."""
    stagger: bool = False
    """Cut the first episode of each environment to another length, so that an update sees all phases of the task."""


@dataclass(frozen=True)
class ExpertPpoSettings(CommonPpoSettings):
    """Learning to follow commands, by PPO with an MLP: how experts are trained."""

    DROPPED: ClassVar[frozenset[str]] = frozenset({"policy_rate", "tokens", "presence", "stagger"})
    """Older files have them; experts, which are MLPs, never used them."""

    rollout: Count = 64
    """Steps of each environment between two updates."""
    rate: Positive = 3e-4
    """Learning rate of the expert."""
    gamma: ShareFrom0 = 0.98
    """Discount factor."""
    gae: ShareFrom0 = 0.92
    """Lambda of the generalised advantage estimate."""
    gradient: Annotated[float, Gt(0), Infinite] = 0.8
    """Largest norm of the gradient; a larger one is scaled down to it."""
    log_std: float = -1.5
    """Natural logarithm of the actions' standard deviation, at the start; actions lie between -1 and 1."""
    learn_std: bool = True
    """Train that deviation as well."""
    hidden: tuple[Count, ...] = (128, 128)
    """Widths of the expert's hidden layers."""

    def ppo(self) -> PpoSettings:
        """The same as PPO takes them."""
        return PpoSettings(**dataclasses.asdict(self))


@dataclass(frozen=True)
class MotionSettings:
    """Expert motion, from which a behaviour model is distilled."""

    steps: Count = 1_500_000
    """Environment steps to train each expert; more than --motion.part are rounded up to a multiple of it."""
    part: Count = 150_000
    """Environment steps between two saves of an expert; it resumes from the last one, also to be trained longer."""
    motion_steps: Count = 160_000
    """Steps of motion to store, of all experts together."""
    kinds: tuple[Literal["runner", "leaper"], ...] = ("runner", "leaper")
    """Experts to train: a runner follows commanded velocities, a leaper leaps on the way. Ant and humanoid only run."""
    noise: NotNegative = 0.3
    """Noise on a moving expert's actions: each episode draws its standard deviation between 0 and this."""
    seed: Seed = 0
    """Seed of experts and motion."""
    folder: str = "demos"
    """Where experts and motion are kept: FOLDER/BODY/."""
    ppo: ExpertPpoSettings = field(default_factory=ExpertPpoSettings)


@dataclass(frozen=True)
class AdaptSettings:
    """How a task is learned from reward, and how that is measured."""

    steps: Count = 400_000
    """Environment steps to learn with."""
    points: Count = 10
    """Points of the learning curve, evenly spaced up to the end of training, besides the one before it."""
    episodes: Count = 50
    """Episodes that measure each point."""
    group: Count = 25
    """Episodes that act in one batch; an exact repetition needs the same number."""
    split: Literal["validation", "test"] = "test"
    """Initial states to use: validation states choose settings, test states are reported."""
    horizon: CountFrom0 = 0
    """The most steps of an episode; 0: the limit of the suite or of the environment."""
    window: CountFrom0 = 0
    """Latest steps that a policy with a history is shown while it learns; 0: as many as its history."""
    body: bool = True
    """Show the encoder the body's own state (`observation.state`) besides the task's."""
    picture: bool = False
    """Show the encoder the environment's pictures instead of the task's numbers (`observation.environment_state`)."""
    trunk: str = NONE
    """With a picture, the frozen trunk that it is seen through (docs/pictures.md); none: the encoder learns to see."""
    step_limit: NotNegative = STEP_LIMIT
    """Seconds that a step may take, a reset five times as many, before --ppo.workers are ended; 0: no limit."""

    ADDED: ClassVar[tuple[str, ...]] = ("trunk",)

    def check(self, name: str = "adapt") -> None:
        """Raises SettingError where there is no such trunk, it is not installed, or nothing is seen through it."""
        if self.trunk == NONE:
            return
        check_name(self.trunk, f"{name}.trunk")
        if not self.picture:
            raise SettingError(
                f"{name}.trunk {self.trunk!r} is for an encoder that sees pictures: say --{name}.picture too"
            )
        check_installed(self.trunk)
