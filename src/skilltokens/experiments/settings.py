"""Settings of the two kinds of experiment. Free of torch.

A recipe (recipes.py) returns a complete configuration; the command line overrides single fields; functions get the
slice they need.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from skilltokens.behaviour.settings import AdaptSettings, MotionSettings, PpoSettings
from skilltokens.configuration import Count, CountFrom0, NotNegative, Seed
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings, check_training
from skilltokens.types import SettingError

Method = TypeVar("Method")

BODY_MEASURES = ("gravity", "friction", "noise", "commands")
"""What a body's task is measured under besides."""


@dataclass(frozen=True)
class RunSettings(Generic[Method]):
    """One run: a method learns a sequence of tasks and is evaluated on the way."""

    method: Method
    """The method's own settings."""
    suite: str = "metaworld"
    """A suite by name; see `skilltokens list suites`."""
    tasks: tuple[str, ...] = ()
    """Tasks in the order they are learned; empty: all of the suite."""
    protocol: Literal["A", "A+", "B"] = "A"
    """A: one task after another from scratch. A+: the same from --base. B: the first --first tasks together."""
    base: str = ""
    """Protocol A+: a skill library, whose policy and skills are there when the first lesson begins."""
    first: Count = 1
    """Protocol B: how many tasks the first lesson teaches together."""
    order: Literal["given", "shuffled", "power-law"] = "given"
    """Tasks as given, shuffled by --order-seed, or drawn by it with repetition: a few often, most seldom."""
    order_seed: Seed = 0
    """Seed of the order; the same for every method and every training seed."""
    lessons: CountFrom0 = 0
    """How many tasks of the order are taught; 0: each task once."""
    exponent: NotNegative = 1.0
    """Order power-law: the n-th task of a shuffle is drawn as often as n to the power of -exponent says."""
    seed: Seed = 0
    """Seed of initial weights, new tokens and batches."""
    encoder: str = "minilm"
    """Sentence encoder: minilm (offline), or any sentence-transformers name or folder."""
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    demonstrations: DemonstrationSettings = field(default_factory=DemonstrationSettings)

    def check(self, _: str = "") -> None:
        """Checks what the settings ask of each other.

        Raises:
            SettingError: windows shorter than the history, more points than iterations, or a protocol without what it
                needs or with what belongs to another one.
        """
        check_training(self.train, self.policy.history)
        stretches = min(self.train.iterations, self.train.first_iterations)
        if self.evaluate.points - 1 > stretches:
            raise SettingError(
                f"evaluate.points {self.evaluate.points} is impossible where a lesson has {stretches} iterations: use "
                f"at most {stretches + 1}"
            )
        self._check_protocol()

    def _check_protocol(self) -> None:
        if self.protocol == "A+" and not self.base:
            raise SettingError("protocol A+ begins from a skill library: name its folder with --base")
        if self.protocol != "A+" and self.base:
            raise SettingError(f"--base {self.base} is for protocol A+: add --protocol A+")
        if self.protocol == "B" and self.first < 2:
            raise SettingError("protocol B teaches several tasks together at first: say how many with --first")
        if self.protocol != "B" and self.first > 1:
            raise SettingError(f"--first {self.first} is for protocol B: add --protocol B")
        if self.protocol == "B" and self.order == "power-law":
            raise SettingError(
                "protocol B teaches its first tasks together, so each once: use --order given or shuffled"
            )
        if self.order == "power-law" and not self.lessons:
            raise SettingError("--order power-law draws tasks with repetition: say how many lessons with --lessons")


@dataclass(frozen=True)
class RewardSettings:
    """One run from reward: a learner learns task after task, each on the same frozen policy."""

    learner: str = "token"
    """Way to learn; `skilltokens run` takes it from --methods."""
    body: str = "halfcheetah"
    """The body whose behaviour model is made and steered: halfcheetah, walker2d, ant or humanoid."""
    library: str = ""
    """A skill library to steer instead; the settings of motion, policy and train are not used then."""
    suite: str = ""
    """The suite of the tasks, where a library is steered."""
    on: str = ""
    """The library's skill to steer, by name; empty: the nearest by the task's instruction."""
    tasks: tuple[str, ...] = ()
    """Tasks, each learned on the same frozen policy; empty: all of the suite."""
    seed: Seed = 0
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
    commands: tuple[float, ...] = (0.3, 0.6, 0.9)
    """Shares of the body's speed that a command asks for beside what was learned, to measure both together."""
    videos: bool = True
    """Record one short video of each task at the end."""

    def check(self, _: str = "") -> None:
        """Raises SettingError where a body's and a library's settings are mixed: those of the other one are refused."""
        if self.library and not self.suite:
            raise SettingError("--library needs --suite, the suite whose tasks are to be learned")
        foreign, reason = ("suite", "on"), "is for a library: name one with --library"
        if self.library:
            foreign, reason = ("body", *BODY_MEASURES), "is for bodies, not for a library"
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        for name in foreign:
            if getattr(self, name) not in (usual[name], ()):
                raise SettingError(f"--{name} {reason}")
