"""Settings of learning from reward. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt

from skilltokens.configuration import Count, CountFrom0, Infinite, NotNegative, Positive, Seed, ShareFrom0
from skilltokens.settings import check_device
from skilltokens.types import SettingError


@dataclass(frozen=True)
class PpoSettings:
    """Learning from reward, by PPO through Stable-Baselines3."""

    envs: Count = 16
    """Environments that are stepped side by side."""
    rollout: Count = 32
    """Steps of each environment between two updates."""
    batch: Count = 128
    """Steps in a minibatch."""
    epochs: Count = 10
    """Passes over a rollout in an update."""
    rate: Positive = 1e-3
    """Learning rate of the encoder, or of an MLP that acts."""
    policy_rate: Positive = 2e-4
    """Learning rate of the policy itself, or of its adapters, where a learner trains them."""
    critic_rate: Positive = 1e-3
    """Learning rate of the critic."""
    gamma: ShareFrom0 = 0.99
    """Discount factor."""
    gae: ShareFrom0 = 0.95
    """Lambda of the generalised advantage estimate."""
    clip: Annotated[float, Gt(0), Infinite] = 0.2
    """PPO's clip range."""
    entropy: NotNegative = 0.0
    """Weight of the entropy bonus."""
    gradient: Annotated[float, Gt(0), Infinite] = 1.0
    """Largest norm of the gradient."""
    normalize: bool = True
    """Scale advantages to a deviation of one; where rewards are rare, that turns noise into steps."""
    target_kl: NotNegative = 0.05
    """An update ends where the policy has moved this far (approximate KL); 0: never."""
    log_std: float = -1.2
    """Logarithm of the actions' standard deviation, at the start."""
    learn_std: bool = False
    """Train the deviation as well."""
    hidden: tuple[Count, ...] = (128, 128)
    """Hidden layers of the encoder, or of an MLP that acts."""
    critic_hidden: tuple[Count, ...] = (128, 128)
    """Hidden layers of the critic."""
    tokens: Count = 1
    """Task tokens."""
    presence: float = -3.0
    """Logarithm of a task token's weight in attention at the start: from low ones it grows into the policy; 0: all."""
    stagger: bool = False
    """Cut first episodes to different lengths, so that an update sees all phases of a task and not one at a time."""
    workers: bool = False
    """Step each environment in a process of its own."""
    device: str = "cpu"
    """Where to train: cpu, cuda or cuda:1."""
    threads: Count = 1
    """Threads of torch; part of what a bit-exact repetition needs to keep."""

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
class MotionSettings:
    """Expert motion, from which a behaviour model is distilled."""

    steps: Count = 1_500_000
    """Environment steps to train each expert; above one part rounded up to whole ones, and raised, they go on."""
    part: Count = 150_000
    """Steps between two saved states of an expert; each part begins with fresh episodes."""
    motion_steps: Count = 160_000
    """Steps of motion to store."""
    kinds: tuple[Literal["runner", "leaper"], ...] = ("runner", "leaper")
    """Experts: one that moves as it is told, and one that leaps on the way (not of bodies that move freely)."""
    noise: NotNegative = 0.3
    """Largest standard deviation of the noise on an expert's actions while it moves."""
    seed: Seed = 0
    """Seed of experts and motion."""
    folder: str = "demos"
    """Where experts and motion are kept: FOLDER/BODY/."""
    ppo: PpoSettings = field(
        default_factory=lambda: PpoSettings(
            rollout=64, rate=3e-4, gamma=0.98, gae=0.92, gradient=0.8, log_std=-1.5, learn_std=True
        )
    )


@dataclass(frozen=True)
class AdaptSettings:
    """How a task is learned from reward, and how that is measured."""

    steps: Count = 400_000
    """Environment steps to learn with."""
    points: Count = 10
    """Points of the learning curve, evenly spaced up to the end of training; the untrained one comes besides."""
    episodes: Count = 50
    """Episodes that measure each point."""
    group: Count = 25
    """Episodes that act in one fixed batch; part of what bit-exact actions depend on."""
    split: Literal["validation", "test"] = "test"
    """Initial states to use: validation states choose settings, test states are reported."""
    horizon: CountFrom0 = 0
    """Steps of an episode at most; 0: the suite's, or the environment's own."""
    window: CountFrom0 = 0
    """Steps that a policy with a history is trained on at once; 0: its history."""
    body: bool = True
    """Show the encoder the body's own state (`observation.state`) besides the task's."""
    picture: bool = False
    """Show the encoder the environment's pictures instead of the task's numbers (`observation.environment_state`)."""
