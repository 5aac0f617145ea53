"""Every setting of a run, as frozen dataclasses; their field docstrings are the command's help.

Nothing here imports torch, so that `skilltokens run RECIPE --help` answers at once. A recipe (recipes.py)
returns a complete `RunSettings`; the command line overrides single fields; functions get the slice they need.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar


@dataclass(frozen=True)
class PolicySettings:
    """The transformer that every method learns in."""

    width: int = 96
    """Width of a token."""
    layers: int = 2
    """Number of transformer layers."""
    heads: int = 4
    """Attention heads; must divide the width."""
    history: int = 10
    """Time steps that a layer attends to, the current one included."""
    maps: Literal["pattention", "linear"] = "pattention"
    """The layers' maps: parameter tokens (TPST), or ordinary linear layers for comparisons."""
    step: Literal["joint", "separate"] = "joint"
    """Tokens of a time step: one, the sum of its features' encodings, or one for each feature (twice the cost here)."""
    head: Literal["regression", "mixture"] = "regression"
    """Action head: deterministic regression, or a Gaussian mixture that acts by its mode."""
    modes: int = 5
    """Modes of the mixture head."""


@dataclass(frozen=True)
class TrainSettings:
    """The training loop: AdamW with a cosine rate."""

    iterations: int = 800
    """Optimizer steps for each new task (multitask: for each of its tasks, spent jointly)."""
    first_iterations: int = 1000
    """Optimizer steps for the first task, from scratch."""
    rate: float = 1e-3
    """Peak learning rate, where the method does not set its own."""
    warmup: int = 20
    """Steps of linear warm-up before the cosine."""
    batch: int = 32
    """Windows in a batch."""
    window: int = 20
    """Time steps in a training window; longer than the history, so that acting with a cache is exact."""
    weight_decay: float = 0.0
    """Decoupled weight decay of the trained parameters; frozen ones are in no optimizer group."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.98
    """Decay of the running average of the trained parameters that is evaluated and kept; 0 keeps the last ones."""
    observation_noise: float = 0.0
    """Standard deviation of noise added to scaled observations while training."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 autocasts the forward pass; worth it on a GPU only."""
    device: str = "cpu"
    """Where to train and act: cpu, cuda or cuda:1."""
    threads: int = 1
    """Threads of torch while training; part of what a bit-exact repetition needs to keep."""
    log_every: int = 50
    """Steps between two records of loss and gradient flow."""


@dataclass(frozen=True)
class EvaluateSettings:
    """The rollout loop: how often, on which states and by how many processes."""

    episodes: int = 20
    """Test episodes in a cell."""
    points: int = 6
    """Points of the learning curve, evenly spaced from 0 to the end of training; 1 is the end alone."""
    split: Literal["validation", "test"] = "test"
    """Initial states to use: validation states choose settings, test states are reported."""
    horizon: int = 0
    """The most steps of an episode; 0: the suite's own limit."""
    variants: tuple[str, ...] = ()
    """Suites with the same tasks in other words or places, on which every task is evaluated once at the end."""
    group: int = 10
    """Episodes that act in one fixed batch; part of what bit-exact actions depend on."""
    workers: int = 0
    """Simulator processes; 0 steps them in this process. Results do not depend on it."""
    films: bool = False
    """Record one short film of each skill at the end."""
    wordings: bool = True
    """Count how often held-out wordings choose the right skill."""


@dataclass(frozen=True)
class DemonstrationSettings:
    """The demonstrations that all methods share."""

    episodes: int = 50
    """Demonstrations a task."""
    noise: float = 0.1
    """Standard deviation of noise added to the expert's action while it demonstrates (recoveries)."""
    seed: int = 0
    """Seed of the demonstrations; the same for every method and every training seed."""
    folder: str = "demos"
    """Where stores are kept and looked for: FOLDER/SUITE/TASK."""


@dataclass(frozen=True)
class T2SSettings:
    """T2S: a new skill adds a few parameter tokens and trains only those (and its own small head and encoders)."""

    share: float = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy, head and encoders included."""
    rate: float = 1e-2
    """Peak learning rate of the new rows."""
    own_rate: float = 1e-2
    """Peak learning rate of the skill's own head, encoders and gates."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""
    gates: bool = False
    """A skill has a factor of its own on each shared row (one number a row)."""
    reuse: float = 0.0
    """Rows of earlier skills that Top-K selection makes active in a map, for each new row there."""
    start: Literal["base", "nearest", "copy"] = "copy"
    """A skill starts as the base, with its nearest skill's head and encoders, or as a copy with its rows as well."""
    near: float = 0.5
    """Cosine below which no skill counts as near; a skill without a near one starts from the newest."""
    base_rows: float = 1.0
    """Share of the base's rows that Top-K selection keeps active; the base of one task has one key, so all is best."""
    mu: float = 0.5
    """The largest share of a skill's active rows in a map that may be new."""
    place: Literal["all", "attention", "feed-forward"] = "feed-forward"
    """Where new rows go: into one kind of map only, or into all in proportion to the base's rows."""
    value_std: float = 0.2
    """Standard deviation of a new row's values; its key starts at zero."""


@dataclass(frozen=True)
class LoraSettings:
    """LoRA: one low-rank adapter a skill on the frozen base, chosen by the instruction, of the same trained size."""

    share: float = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy, head and encoders included."""
    rate: float = 1e-2
    """Peak learning rate of the adapters."""
    own_rate: float = 5e-3
    """Peak learning rate of the skill's own head and encoders."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""
    start: Literal["base", "copy"] = "base"
    """Where a new skill starts: from the base, or as a copy of the skill that its instruction is nearest to."""
    near: float = 0.5
    """Cosine below which no skill counts as near; a copy is then one of the newest skill."""


@dataclass(frozen=True)
class SequentialSettings:
    """Fine-tune everything, task after task."""

    rate: float = 2e-3
    """Peak learning rate."""


@dataclass(frozen=True)
class MultitaskSettings:
    """All tasks at once, with the budget of all: the upper bound."""

    rate: float = 1e-3
    """Peak learning rate."""


@dataclass(frozen=True)
class SingleTaskSettings:
    """A policy of its own for every task, from scratch."""

    rate: float = 1e-3
    """Peak learning rate."""


@dataclass(frozen=True)
class PpoSettings:
    """Learning from reward, by PPO through Stable-Baselines3."""

    envs: int = 16
    """Environments that are stepped side by side."""
    rollout: int = 32
    """Steps of each environment between two updates."""
    batch: int = 128
    """Steps in a minibatch."""
    epochs: int = 10
    """Passes over a rollout in an update."""
    rate: float = 1e-3
    """Learning rate of the encoder, or of an MLP that acts."""
    policy_rate: float = 2e-4
    """Learning rate of the policy itself, or of its adapters, where a learner trains them."""
    critic_rate: float = 1e-3
    """Learning rate of the critic."""
    gamma: float = 0.99
    """Discount factor."""
    gae: float = 0.95
    """Lambda of the generalised advantage estimate."""
    clip: float = 0.2
    """PPO's clip range."""
    entropy: float = 0.0
    """Weight of the entropy bonus."""
    gradient: float = 1.0
    """Largest norm of the gradient."""
    normalize: bool = True
    """Scale advantages to a deviation of one; where rewards are rare, that turns noise into steps."""
    target_kl: float = 0.05
    """An update ends where the policy has moved this far (approximate KL); 0: never."""
    log_std: float = -1.2
    """Logarithm of the actions' standard deviation, at the start."""
    learn_std: bool = False
    """Train the deviation as well."""
    hidden: tuple[int, ...] = (128, 128)
    """Hidden layers of the encoder, or of an MLP that acts."""
    critic_hidden: tuple[int, ...] = (128, 128)
    """Hidden layers of the critic."""
    tokens: int = 1
    """Task tokens."""
    presence: float = -3.0
    """Logarithm of a task token's weight in attention at the start: from low ones it grows into the policy; 0: all."""
    stagger: bool = False
    """Cut first episodes to different lengths, so that an update sees all phases of a task and not one at a time."""
    workers: bool = False
    """Step each environment in a process of its own."""
    device: str = "cpu"
    """Where to train: cpu, cuda or cuda:1."""
    threads: int = 1
    """Threads of torch; part of what a bit-exact repetition needs to keep."""


@dataclass(frozen=True)
class MotionSettings:
    """Expert motion, from which a behaviour model is distilled."""

    steps: int = 1_500_000
    """Environment steps to train each expert; above one part rounded up to whole ones, and raised, they go on."""
    part: int = 150_000
    """Steps between two saved states of an expert; each part begins with fresh episodes."""
    motion_steps: int = 160_000
    """Steps of motion to store."""
    kinds: tuple[Literal["runner", "leaper"], ...] = ("runner", "leaper")
    """Experts: one that moves as it is told, and one that leaps on the way (not of bodies that move freely)."""
    noise: float = 0.3
    """Largest standard deviation of the noise on an expert's actions while it moves."""
    seed: int = 0
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

    steps: int = 400_000
    """Environment steps to learn with."""
    points: int = 10
    """Points of the learning curve, evenly spaced up to the end of training; the untrained one comes besides."""
    episodes: int = 50
    """Episodes that measure each point."""
    group: int = 25
    """Episodes that act in one fixed batch; part of what bit-exact actions depend on."""
    split: Literal["validation", "test"] = "test"
    """Initial states to use: validation states choose settings, test states are reported."""
    horizon: int = 0
    """Steps of an episode at most; 0: the suite's, or the environment's own."""
    window: int = 0
    """Steps that a policy with a history is trained on at once; 0: its history."""
    body: bool = True
    """Show the encoder the body's own state (`observation.state`) besides the task's."""
    picture: bool = False
    """Show the encoder the environment's pictures instead of the task's numbers (`observation.environment_state`)."""


COMMANDED = ("token-goal", "goal", "finetune-goal")
"""Learners whose policy is given each task's obvious command (StudySettings.learner)."""


@dataclass(frozen=True)
class StudySettings:
    """A comparison of ways to learn from reward: expert motion, a behaviour model, then task after task."""

    learner: str = "token"
    """Way to learn; `skilltokens run` takes it from --methods."""
    body: str = "halfcheetah"
    """The body whose behaviour model is made and steered: halfcheetah, walker2d, ant or humanoid."""
    library: str = ""
    """A skill library to steer instead; the settings of motion, policy and train are not used then."""
    suite: str = ""
    """The suite of the tasks, where a library is steered."""
    on: str = ""
    """The skill of it to steer; empty: the one that the task's instruction means."""
    tasks: tuple[str, ...] = ()
    """Tasks, each learned on the same frozen policy; empty: all of the suite."""
    seed: int = 0
    """Seed of first weights, episodes and actions; experts, motion and model have their own."""
    encoder: str = "minilm"
    """Sentence encoder of the behaviour model's library."""
    motion: MotionSettings = field(default_factory=MotionSettings)
    policy: PolicySettings = field(
        default_factory=lambda: PolicySettings(width=64, layers=3, history=1, maps="linear", step="separate")
    )
    train: TrainSettings = field(default_factory=lambda: TrainSettings(first_iterations=4000, batch=256, window=1))
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    ppo: PpoSettings = field(default_factory=PpoSettings)
    gravity: tuple[float, ...] = (1.25, 1.5)
    """Factors on gravity under which what was learned is measured besides."""
    friction: tuple[float, ...] = (0.7, 0.4)
    """Factors on friction under which what was learned is measured besides."""
    noise: tuple[float, ...] = (-2.3, -1.7, -1.2, -0.7)
    """Logarithms of the deviation of noise on actions (`ppo.log_std`) under which an untrained model is measured."""
    prompts: tuple[float, ...] = (0.3, 0.6, 0.9)
    """Shares of the body's speed that are asked for by a goal beside what was learned, to measure both together."""
    films: bool = True
    """Record one short film of each task at the end."""


Method = TypeVar("Method")


@dataclass(frozen=True)
class RunSettings(Generic[Method]):
    """One run: a method learns a sequence of tasks and is evaluated on the way."""

    method: Method
    """The method's own settings."""
    suite: str = "metaworld"
    """A suite by name; see `skilltokens list suites`."""
    tasks: tuple[str, ...] = ()
    """Tasks in the order they are learned; empty: all of the suite."""
    seed: int = 0
    """Seed of initial weights, new tokens and batches."""
    encoder: str = "minilm"
    """Sentence encoder: minilm (offline), or any sentence-transformers name or folder."""
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    demonstrations: DemonstrationSettings = field(default_factory=DemonstrationSettings)


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass of settings as JSON has it: what is kept in files, and compared with them."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as one level of dotted names."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
