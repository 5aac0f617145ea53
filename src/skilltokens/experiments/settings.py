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
from skilltokens.methods.cotrain import CotrainSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings, check_training
from skilltokens.suites.context import Context
from skilltokens.types import SettingError

Method = TypeVar("Method")

FREE = (
    *("evaluate.workers", "evaluate.step_limit", "evaluate.videos", "demonstrations.folder", "base", "pretrain"),
    *("loader", "cotrain.folders"),
)
"""Settings that change no number of a run: they may differ when it is resumed. What the base holds is compared by its
fingerprints, and what is in `cotrain.folders` by digests."""
FREE_FROM_REWARD = ("motion.folder", "motion.ppo.workers", "ppo.workers", "adapt.step_limit")
"""The same of a run from reward."""

BODY_MEASURES = ("gravity", "friction", "noise", "commands")
"""The further conditions that a body's task is evaluated under."""


@dataclass(frozen=True)
class RunSettings(Generic[Method]):
    """One run: a method learns a sequence of tasks and is evaluated on the way."""

    method: Method
    """The method's own settings."""
    suite: str = "metaworld"
    """A suite by name; see `skilltokens list suites`."""
    tasks: tuple[str, ...] = ()
    """Tasks by name, in the order they are learned; empty: all of the suite."""
    context: Context = "none"
    """scene: each instruction also says the task's scene, where the suite has words for it (libero-90, libero-10)."""
    protocol: Literal["A", "A+", "B"] = "A"
    """A: one task after another from scratch; A+: from the library --base, or of --pretrain; B: at first --first tasks
    together."""
    base: str = ""
    """Protocol A+: the folder of a skill library to begin from, with its policy and its skills; empty: --pretrain's.
    With attached_* methods a policy of another make: a file, a folder, or OWNER/NAME at the Hub."""
    loader: str = ""
    """With attached_* methods: who makes a policy of that base, MODULE:FUNCTION or the name of an installed one."""
    pretrain: str = ""
    """Protocol A+ without --base: a recipe whose tasks are learned together before, in bases/RECIPE, once for all runs;
    its library is the base. Other protocols do without."""
    first: Count = 1
    """Protocol B: how many tasks are learned together in the first lesson."""
    order: Literal["given", "shuffled", "power-law"] = "given"
    """given: as in --tasks. shuffled: by --order-seed. power-law: drawn with repetition, some tasks often."""
    order_seed: Seed = 0
    """Seed of a shuffled or drawn order, the same for every method and every --seed."""
    lessons: CountFrom0 = 0
    """How many tasks of that order are learned; 0: each task once. A task that comes again is learned again."""
    exponent: NotNegative = 1.0
    """With --order power-law: the n-th task of a shuffle is drawn with probability in proportion to n ** -exponent."""
    seed: Seed = 0
    """Seed of the initial weights, the new parameter tokens and the batches."""
    encoder: str = "minilm"
    """Sentence encoder: minilm (needs no network), or the name or folder of a sentence-transformers model."""
    later_demonstrations: CountFrom0 = 0
    """Demonstrations of each task that is taught after the first lesson; 0: as many as --demonstrations.episodes."""
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    demonstrations: DemonstrationSettings = field(default_factory=DemonstrationSettings)
    cotrain: CotrainSettings = field(default_factory=CotrainSettings)

    @property
    def later(self) -> DemonstrationSettings:
        """The demonstrations of tasks that are taught after the first lesson."""
        episodes = self.later_demonstrations or self.demonstrations.episodes
        return dataclasses.replace(self.demonstrations, episodes=episodes)

    def check(self, _: str = "") -> None:
        """Checks what the settings ask of each other.

        Raises:
            SettingError: windows shorter than the history, more actions a look than are predicted, more points than
                iterations, or a protocol without what it needs or with what belongs to another one.
        """
        check_training(self.train, self.policy.history)
        if self.evaluate.ahead > self.policy.chunk:
            raise SettingError(
                f"evaluate.ahead {self.evaluate.ahead} is more than policy.chunk {self.policy.chunk}, the actions that "
                "are predicted at a step: lower it, or raise policy.chunk"
            )
        stretches = min(self.train.iterations, self.train.first_iterations)
        points = self.evaluate.points
        if not self.evaluate.at and points - 1 > stretches:
            raise SettingError(
                f"evaluate.points {points} is impossible where a lesson has {stretches} iterations: use at most "
                f"{stretches + 1}"
            )
        stops = [round(share * stretches) for share in self.evaluate.at]
        if len(set(stops)) < len(stops):
            shown = " ".join(f"{share:g}" for share in self.evaluate.at)
            raise SettingError(
                f"evaluate.at {shown} is impossible where a lesson has {stretches} iterations: two of these shares are "
                "the same iteration; leave one out"
            )
        self._check_protocol()

    def _check_protocol(self) -> None:
        if self.protocol == "A+" and not (self.base or self.pretrain):
            raise SettingError(
                "protocol A+ begins from a skill library: name its folder with --base, or a recipe that makes one with "
                "--pretrain"
            )
        if self.protocol != "A+" and self.cotrain.folders:
            raise SettingError(
                f"cotrain.folders {self.cotrain.folders[0]} is for what a base has learned before the run: add "
                "--protocol A+, or leave it out"
            )
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
    """The learner of one run; `skilltokens run` sets it from --methods."""
    body: str = "halfcheetah"
    """The simulated body whose behaviour model is steered: halfcheetah, walker2d, ant or humanoid."""
    library: str = ""
    """The folder of a skill library to steer instead; the options motion, policy and train are not used then."""
    suite: str = ""
    """With --library: the suite of the tasks."""
    on: str = ""
    """With --library: the skill to steer; empty: for each task the one whose instruction is nearest."""
    tasks: tuple[str, ...] = ()
    """Tasks by name, each learned from the same policy; empty: all of the body or the suite."""
    seed: Seed = 0
    """Seed of the first weights, the episodes and the actions. Experts and motion have --motion.seed."""
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
    """Factors on gravity: the result is evaluated once more under each."""
    friction: tuple[float, ...] = (0.7, 0.4)
    """Factors on friction: the result is evaluated once more under each."""
    noise: tuple[float, ...] = (-2.3, -1.7, -1.2, -0.7)
    """Values of --ppo.log-std: an untrained model is evaluated once more with each, as noise on its actions."""
    commands: tuple[float, ...] = (0.3, 0.6, 0.9)
    """Shares of the body's top speed: a result on a frozen policy is evaluated once more beside a command for each."""
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
