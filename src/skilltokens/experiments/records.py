"""run.json as typed records (docs/formats.md); reading.py reads and writes them.

msgspec makes the records: it checks kinds while it reads, says where one is wrong, has no dependency of its own and
loads in milliseconds. Keys that a record does not know are passed over, so that files of later versions stay readable.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class _Record(msgspec.Struct, omit_defaults=True):
    """Keys without a default are always written, others where they say something."""


def _null() -> None:
    """The default of a key that a file may lack and that is written as null: `omit_defaults` heeds no such function."""


class Machine(msgspec.Struct):
    """What the figures of time depend on."""

    system: str = ""
    processor: str = ""
    cores: int | None = None


class TaskEntry(msgspec.Struct):
    """A task of the run, in the order of its lessons; a task that comes back stands twice."""

    name: str
    instruction: str


class Resumed(_Record, kw_only=True):
    """A run was resumed under another commit, or other versions."""

    at: str
    commit: str | None
    versions: dict[str, str | None]
    """Those that differ from before."""


class Demonstrations(msgspec.Struct):
    """What was learned from, task by task."""

    source: str = ""
    episodes: list[int] = []
    digest: list[str] | str | None = []
    """Files of before 2025-11-24 have one digest for all."""


class Cell(_Record, kw_only=True):
    """One task evaluated once: `successes` of `episodes`.

    `after` is the place of the last task taught before, `progress` the share of that lesson's training that was done.
    `policy` and `actions` are SHA-256 of the policy with its instruction, and of its actions on known observations;
    empty where no policy acted but the suite's scripted expert.
    `outcomes` has a letter for each initial state, in order: 1 for success, 0 for failure; empty in older files.
    """

    after: int
    progress: float
    task: int
    split: str
    selected_by: str
    policy: str = ""
    actions: str = ""
    skill: int | None = None
    """The task whose skill was called, by its place; None where one policy serves all."""
    called: str = ""
    """The skill of the base library that was called instead (protocol A+)."""
    successes: int
    episodes: int
    steps: int = 0
    outcomes: str = ""
    same_as: int | None = None
    """The earlier cell in which the same bits acted: this one was not rolled out again."""


class Variant(_Record, kw_only=True):
    """One task evaluated at the end on a variant of the suite."""

    suite: str
    task: int
    instruction: str
    split: str
    skill: int | None = None
    called: str = ""
    cosine: float | None = None
    successes: int
    episodes: int
    steps: int = 0
    outcomes: str = ""
    """As in `Cell`."""


class Wording(_Record, kw_only=True):
    """Which skill a wording called at the end."""

    task: int
    wording: str
    held_out: bool
    chosen: int | None
    called: str = ""
    cosine: float | None = None


class Parameters(msgspec.Struct, kw_only=True):
    """Parameters: of the policy after the first lesson, trained in each lesson, and kept after it."""

    base: int | None = None
    trunk: int | msgspec.UnsetType = msgspec.UNSET
    """Of a named frozen trunk that all skills see through, which no other figure counts; absent where there is none."""
    trained: list[int]
    total: list[int]


class Timing(msgspec.Struct, kw_only=True):
    """Seconds of each lesson, and the machine."""

    train_s: list[float] = []
    evaluate_s: list[float] = []
    train_cpu_s: list[float | None] | UnsetType = UNSET
    """Of the run's own process, which other work on the machine does not lengthen; None of a lesson that an older
    version began. Files of before 2026-12-01 have none."""
    machine: Machine | str | None = None


class Loss(_Record, kw_only=True):
    """The training loss of a lesson."""

    iterations: list[int]
    loss: list[float]


class Flow(_Record, kw_only=True):
    """Norms of gradients in a lesson: for each layer those of shared and of specific rows."""

    iterations: list[int]
    layers: dict[str, dict[str, list[float]]]


class Reuse(_Record, kw_only=True):
    """Where the rows come from that a skill has active, summed over the layers."""

    base: int
    new: int
    earlier: dict[str, int] = msgspec.field(name="from")
    start: str = ""
    """The skill that it started from."""


class Score(_Record, kw_only=True):
    """How a rule judged one candidate to start from."""

    skill: str
    number: int | None = None
    """Its place among all skills, a base library's first; None: the base with the new instruction."""
    score: float


class Start(_Record, kw_only=True):
    """What a lesson's skill started from, and why."""

    lesson: int
    rule: str
    skill: str
    """The name of the skill that was chosen; "base": the base itself."""
    number: int | None = None
    """Its place among all skills, a base library's first; None: the base itself."""
    asked: int = 0
    """How many candidates were judged."""
    by_instruction: str = ""
    """What the rule by instruction chooses."""
    scores: list[Score] = []
    """Of the best candidates, the best first: cosines by instruction, cloning losses by data."""


class BaseLibrary(_Record, kw_only=True):
    """The library, or the policy of another make, that a run of protocol A+ began from."""

    skills: list[str]
    parameters: int
    fingerprints: list[str]
    """SHA-256 of each skill's policy; of a policy of another make that of its numbers, and one over `files`."""
    type: str = ""
    """What kind of policy one of another make is; empty: a library was begun from."""
    revision: str = ""
    """Its commit, where it is from the Hub."""
    files: dict[str, str] = {}
    """Its files: name -> SHA-256."""


class LifelongRecord(_Record, kw_only=True):
    """run.json of a lifelong run."""

    schema: str
    recipe: str | None = msgspec.field(default_factory=_null)
    tag: str = ""
    """The user's own word for it."""
    method: str
    suite: str
    protocol: str
    observations: str
    seed: int
    encoder: str | None = None
    tasks: list[TaskEntry]
    first: int | None = None
    """How many tasks the first lesson taught; None in older files: one, or all for a joint method."""
    base: BaseLibrary | None = None
    demonstrations: Demonstrations
    cotrained: list[str] = []
    """Digests of the demonstrations of the base's tasks that co-training may draw from; empty where it does not."""
    cells: list[Cell] = msgspec.field(name="evaluations")
    parameters: Parameters
    remembered: list[int] = []
    """Bytes of demonstrations kept to learn on after each lesson; empty where none ever are."""
    processes: int = 1
    """How many processes share each training (docs/cluster.md); by another number last bits differ."""
    passes: list[float] = []
    """Passes of a batch through the policy that a training step of each lesson costs (`Rule.passes`); empty where each
    costs one."""
    timing: Timing
    learning: list[Loss] = []
    gradients: list[Flow] = []
    reuse: list[Reuse] = []
    starts: list[Start] = []
    """What each lesson's skill started from, of lessons that had a choice."""
    selection: list[Wording] = []
    variants: list[Variant] = []
    videos: dict[str, str] = msgspec.field(name="films", default_factory=dict)
    state: str = ""
    """Fingerprint (tensors.py) of the method's state after the last lesson, which lies beside the file."""
    config: dict[str, Any]
    versions: dict[str, str | None]
    commit: str | None = msgspec.field(default_factory=_null)
    command: str | list[str] = ""
    started: str
    resumed: list[Resumed] = []
    finished: str | None

    @property
    def lessons(self) -> int:
        """How many lessons are done."""
        return len(self.parameters.trained)

    @property
    def made_on(self) -> Machine | str | None:
        """The machine."""
        return self.timing.machine


class Motion(msgspec.Struct):
    """The experts' motion that a behaviour model was distilled from."""

    episodes: int
    steps: int
    digest: str


class Tracking(msgspec.Struct):
    """How well a behaviour model follows some goals (behaviour/tracking.py)."""

    goals: str
    way: float
    joints: float
    moved: float


class Model(_Record, kw_only=True):
    """What a run from reward steers."""

    parameters: int = 0
    fingerprints: list[str] = []
    tracking: list[Tracking] = []
    motion: Motion | None = None
    fingerprints_after: list[str] = []


class Counted(_Record, kw_only=True):
    """Successes of episodes under changed physics, beside a command, or with noise on the actions."""

    what: str = ""
    factor: float = 1.0
    asked: float = 0.0
    speed: float = 0.0
    log_std: float = 0.0
    successes: int
    episodes: int


class Returns(msgspec.Struct):
    """Mean returns of the training."""

    steps: list[int]
    mean: list[float]


class RewardResult(_Record, kw_only=True):
    """One task learned from reward: successes at each point of its curve, and what was measured besides."""

    task: str
    instruction: str
    steps: list[int]
    successes: list[int]
    lengths: list[float] = []
    episodes: int
    trained: int
    """Parameters that act and were trained."""
    seconds: float
    reward: Returns | None = None
    on: str = ""
    """The skill that was steered."""
    closeness: dict[str, float] | None = None
    """Distance to the experts' motion: "neighbour" and "discriminator" (behaviour/closeness.py)."""
    changed: list[Counted] = []
    commanded: list[Counted] = msgspec.field(name="prompted", default_factory=list)
    noisy: list[Counted] = msgspec.field(name="shaken", default_factory=list)
    video: str = msgspec.field(name="film", default="")


class RewardRecord(_Record, kw_only=True):
    """run.json of a run that learns from reward."""

    schema: str
    recipe: str | None = msgspec.field(default_factory=_null)
    tag: str = ""
    """The user's own word for it."""
    learner: str
    suite: str
    seed: int
    tasks: list[TaskEntry]
    model: Model
    results: list[RewardResult]
    resumed: list[Resumed] = []
    config: dict[str, Any]
    machine: Machine | None = None
    versions: dict[str, str | None]
    commit: str | None = msgspec.field(default_factory=_null)
    command: str = ""
    started: str
    finished: str | None

    @property
    def made_on(self) -> Machine | None:
        """The machine."""
        return self.machine
