"""run.json as typed records, read and written in one place (docs/formats.md).

msgspec makes the records: it checks kinds while it reads, says where one is wrong, has no dependency of its own and
loads in milliseconds. What a record means is checked behind it: counts that cannot be, tasks that do not exist.
Keys that a record does not know are passed over, so that files of later versions stay readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from skilltokens.files import REWARD_SCHEMA, RUN_SCHEMA, read_json, write_json
from skilltokens.types import RunError

SPLITS = ("test", "validation")
CHOOSERS = ("instruction", "task_id")


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
    `policy` and `actions` are SHA-256 of the policy with its instruction, and of its actions on known observations.
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
    trained: list[int]
    total: list[int]


class Timing(msgspec.Struct, kw_only=True):
    """Seconds of each lesson, and the machine."""

    train_s: list[float] = []
    evaluate_s: list[float] = []
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


class BaseLibrary(_Record, kw_only=True):
    """The library that a run of protocol A+ began from."""

    skills: list[str]
    parameters: int
    fingerprints: list[str]
    """SHA-256 of each skill's policy."""


class LifelongRecord(_Record, kw_only=True):
    """run.json of a lifelong run."""

    schema: str
    recipe: str | None = msgspec.field(default_factory=_null)
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
    cells: list[Cell] = msgspec.field(name="evaluations")
    parameters: Parameters
    remembered: list[int] = []
    """Bytes of demonstrations kept to learn on after each lesson; empty where none ever are."""
    timing: Timing
    learning: list[Loss] = []
    gradients: list[Flow] = []
    reuse: list[Reuse] = []
    selection: list[Wording] = []
    variants: list[Variant] = []
    videos: dict[str, str] = msgspec.field(name="films", default_factory=dict)
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
    learner: str
    suite: str
    seed: int
    tasks: list[TaskEntry]
    model: Model
    results: list[RewardResult]
    config: dict[str, Any]
    machine: Machine | None = None
    versions: dict[str, str | None]
    commit: str | None = msgspec.field(default_factory=_null)
    command: str = ""
    started: str
    finished: str | None


Record = TypeVar("Record", LifelongRecord, RewardRecord)


def run_file(path: Path) -> Path:
    """The run.json that is named, or the one in the folder that is named."""
    path = Path(path)
    return path / "run.json" if path.is_dir() else path


def read_record(path: Path) -> LifelongRecord | RewardRecord:
    """Any run.json, or the one in a folder.

    Raises:
        RunError: it is missing, truncated, altered or of another schema.
    """
    path = run_file(path)
    content = read_json(path, (RUN_SCHEMA, REWARD_SCHEMA), RunError)
    if content["schema"] == RUN_SCHEMA:
        return _checked_lifelong(path, content)
    return _checked_reward(path, content)


def read_lifelong(path: Path) -> LifelongRecord:
    """The run.json of a lifelong run, or the one in its folder.

    Raises:
        RunError: it is missing, truncated, altered (counts that cannot be, tasks that do not exist, cells that
            contradict each other) or of another schema.
    """
    path = run_file(path)
    return _checked_lifelong(path, read_json(path, RUN_SCHEMA, RunError))


def read_reward(path: Path) -> RewardRecord:
    """The run.json of a run from reward, or the one in its folder.

    Raises:
        RunError: it is missing, damaged or of another kind.
    """
    path = run_file(path)
    return _checked_reward(path, read_json(path, REWARD_SCHEMA, RunError))


def write_record(folder: Path, record: LifelongRecord | RewardRecord) -> None:
    """Replaces FOLDER/run.json atomically.

    Raises:
        RunError: it cannot be written.
    """
    write_json(Path(folder) / "run.json", msgspec.to_builtins(record), RunError)


def altered(path: Path, problem: str) -> RunError:
    """What to raise for a file that cannot be trusted."""
    return RunError(f"{path} is truncated or altered ({problem}): restore it, or run the same command again")


def _converted(path: Path, content: dict[str, Any], kind: type[Record]) -> Record:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as problem:
        raise altered(path, str(problem).replace("`", "").replace("$.", "")) from problem


def _checked_lifelong(path: Path, content: dict[str, Any]) -> LifelongRecord:
    record = _converted(path, content, LifelongRecord)
    for problem in _problems(record):
        raise altered(path, problem)
    return record


def _checked_reward(path: Path, content: dict[str, Any]) -> RewardRecord:
    record = _converted(path, content, RewardRecord)
    if not record.tasks:
        raise altered(path, "it names no task")
    for result in record.results:
        if not result.steps or len(result.steps) != len(result.successes) or result.episodes < 1:
            raise altered(path, f"the result of {result.task!r} has no whole curve")
    return record


def _problems(record: LifelongRecord) -> Iterator[str]:
    """What in a run.json cannot be right, though every value is of its kind."""
    tasks = len(record.tasks)
    if not tasks:
        yield "it names no task"
    yield from _cell_problems(record.cells, [task.name for task in record.tasks])
    for key, numbers in (("trained", record.parameters.trained), ("total", record.parameters.total)):
        if len(numbers) > tasks:
            yield f"parameters.{key} has more entries than there are tasks"
        if min(numbers, default=0) < 0:
            yield f"parameters.{key} holds a number below 0"
    for i, lesson in enumerate(record.learning):
        if len(lesson.iterations) != len(lesson.loss):
            yield f"learning[{i}] has more losses than iterations, or fewer"
    for i, flow in enumerate(record.gradients):
        for layer, series in flow.layers.items():
            for kind, norms in series.items():
                count = len(flow.iterations)
                if len(norms) not in (0, count):
                    yield f"gradients[{i}] has {len(norms)} norms of {kind} rows in {layer} for {count} records"
    for name, entries in (("selection", record.selection), ("variants", record.variants)):
        for i, entry in enumerate(entries):
            places = (entry.task, entry.chosen if isinstance(entry, Wording) else entry.skill)
            if not all(place is None or 0 <= place < tasks for place in places):
                yield f"{name}[{i}] is about a task that the run does not have"
    for i, variant in enumerate(record.variants):
        if not 0 <= variant.successes <= variant.episodes or variant.episodes == 0:
            yield f"variants[{i}] counts {variant.successes} successes of {variant.episodes} episodes"


def _cell_problems(cells: list[Cell], tasks: list[str]) -> Iterator[str]:
    known: set[tuple[Any, ...]] = set()
    for i, cell in enumerate(cells):
        place = f"evaluations[{i}]"
        if not (-1 <= cell.after < len(tasks) and 0 <= cell.task < len(tasks) and 0 <= cell.progress <= 1):
            yield f"{place} is about a task or a time that the run does not have"
        elif not 0 <= (cell.skill or 0) < len(tasks):
            yield f"{place} was acted by a skill that the run does not have"
        if cell.split not in SPLITS or cell.selected_by not in CHOOSERS:
            yield f"{place} has split {cell.split!r} and selected_by {cell.selected_by!r}"
        if not 0 <= cell.successes <= cell.episodes or cell.episodes == 0:
            yield f"{place} counts {cell.successes} successes of {cell.episodes} episodes"
        key = (cell.after, cell.progress, cell.task, cell.split, cell.selected_by)
        if key in known:
            yield f"{place} repeats a cell"
        known.add(key)
        if cell.same_as is not None and not (0 <= cell.same_as < i and _alike(cells[cell.same_as], cell, tasks)):
            yield f"{place} claims the same bits as entry {cell.same_as}, which differs"


def _alike(one: Cell, other: Cell, tasks: list[str]) -> bool:
    """Whether two cells may be of the same bits: the same task and states, and the same counts."""
    return tasks[one.task] == tasks[other.task] and all(
        getattr(one, name) == getattr(other, name) for name in ("split", "successes", "episodes")
    )
