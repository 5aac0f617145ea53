"""The words that all rooms share: features, tasks, episodes, suites, actors, and the errors a user may meet.

This module imports nothing of the project. Feature names follow LeRobot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STATE = "observation.state"
ENVIRONMENT_STATE = "observation.environment_state"
ACTION = "action"
GOAL = "observation.goal."
"""Features so named are goals or commands that may be left out: the first number is 1 where one is given, else 0."""
SIMULATOR = "simulator."
"""Features so named are for tools alone (the simulator's state, to render later): kept with the demonstrations of one
task, of any width, and never shown to a policy."""
SIMULATOR_STATE = SIMULATOR + "state"
"""All that a picture of a step depends on: the simulator's state before the action."""

Split = Literal["train", "validation", "test"]
"""Where an initial state comes from: demonstrations, choosing settings, reporting. The three never share a state."""

if TYPE_CHECKING:
    Array: TypeAlias = NDArray[Any]
    Observation: TypeAlias = Mapping[str, Array]
else:  # what only says a name, such as `skilltokens --help`, does without NumPy
    Array, Observation = Any, Mapping[str, Any]


class SkilltokensError(Exception):
    """A mistake that its user can fix. The message is one sentence: what is wrong, where, what to do."""


class SettingError(SkilltokensError):
    """An unknown or impossible recipe, method, suite, task or setting."""


class TrunkError(SettingError):
    """A frozen trunk that is not installed, is another one than it should be, or cannot be loaded safely."""


class DemonstrationError(SkilltokensError):
    """A demonstration or a store of them that cannot be used."""


class LanguageError(SkilltokensError):
    """An instruction that cannot be embedded, or an encoder that is missing."""


class SuiteError(SkilltokensError):
    """A simulator that is not installed, or an environment that broke."""


class NoSkillError(SkilltokensError):
    """No skill is sure enough to be what an instruction means."""


class LibraryError(SkilltokensError):
    """A skill library that is damaged, foreign or of another make."""


class AttachError(SkilltokensError):
    """A policy of somebody else beside which no skill can stand as asked, or which is no more what it was."""


class ObservationError(SkilltokensError):
    """What a policy is given to look at is not what it reads: a name, a shape, a dtype or a number is wrong."""


class HubError(SkilltokensError):
    """A Hugging Face Hub that cannot be reached or refuses, or a repository there that is not what was asked for."""


class RuleError(SkilltokensError):
    """A method's rule that returned what a training step cannot use."""


class ServeError(SkilltokensError):
    """A request that a policy server cannot answer, or a server that does not answer."""


class ClusterError(SkilltokensError):
    """A cluster that is not there, or whose machines cannot do the same as this one."""


class DistributedError(SkilltokensError):
    """Processes that share a training and have lost each other, or one of which failed."""


class RunError(SkilltokensError):
    """A run folder or run.json that is damaged, or belongs to another configuration."""


class OtherConfigurationError(RunError):
    """A folder that holds a run of another configuration.

    Args:
        folders: the folders of such runs.
        changes: where the configurations differ, a clause each.
        elsewhere: what to choose where they shall differ.
    """

    def __init__(
        self, folders: Sequence[str], changes: Sequence[str], elsewhere: str = "a new folder with --out"
    ) -> None:
        self.folders, self.changes = tuple(folders), tuple(changes)
        one = len(self.folders) == 1
        hold = "holds a run" if one else "hold runs"
        super().__init__(
            f"{', '.join(self.folders)} {hold} of another configuration ({shortened(self.changes)}): give these "
            f"settings to resume {'it' if one else 'them'}, or choose {elsewhere}"
        )


LONGEST = 600
"""Characters of what a sentence says of changes: a file may hold values of any length."""


def shortened(changes: Sequence[str]) -> str:
    """Clauses that begin with a name, as one text: what is too long is cut, and of the last ones the names remain."""
    whole: list[str] = []
    names: list[str] = []
    for change in changes:
        change = change if len(change) <= LONGEST else f"{change[:LONGEST]}..."
        if names or sum(map(len, whole)) + len(change) > LONGEST:
            names.append(change.partition(" ")[0][:100])
        else:
            whole.append(change)
    more = f"; also {', '.join(names[:50])}{', ...' if len(names) > 50 else ''}" if names else ""
    return "; ".join(whole) + more


@dataclass(frozen=True)
class Feature:
    """One array that every time step carries. `shape` is the shape of one step."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Scale:
    """Constants of a robot and its workspace: the policy sees (x - center) / unit, entry by entry.

    Of actions it is the reverse: the policy gives numbers in these units, and center + unit * number is done.
    """

    center: tuple[float, ...]
    unit: tuple[float, ...]


LIMIT = 8.0
"""So many units from the center reach a scale's constants: what lies beyond is clipped, so that one wrong reading of a
sensor cannot dominate, and no action leaves the robot's range by far."""


@dataclass(frozen=True)
class Task:
    """What a suite defines and a library learns.

    `instruction` is the canonical sentence, `wordings` are others that may be trained on, and `held_out`
    are wordings that are never trained on: they test whether the right skill is chosen.
    """

    name: str
    instruction: str
    wordings: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Episode:
    """One demonstration. Every array is (steps, *feature shape); step t holds the observation and the action taken."""

    features: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.features.values()), ()))


@dataclass(frozen=True)
class Outcome:
    """How one rollout ended: after `steps` environment steps, by success or by the suite's limit."""

    success: bool
    steps: int


@dataclass(frozen=True)
class Counts:
    """What some rollouts came to: rates are derived from it."""

    successes: int
    episodes: int
    steps: int
    outcomes: str = ""
    """A letter for each episode, in order: 1 for success, 0 for failure."""

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Counts:
        letters = "".join("1" if one.success else "0" for one in outcomes)
        return cls(letters.count("1"), len(outcomes), sum(one.steps for one in outcomes), letters)


class Environment(Protocol):
    """One simulator with one task in it. It is made, stepped and closed inside a single process.

    One whose episodes may end by themselves without success (a fall) says so by a property `over -> bool`; they count
    as failures then, and are not stepped on.
    """

    def reset(self, split: Split, index: int) -> Observation:
        """The first observation of episode `index`: a pure function of (suite, task, split, index)."""
        ...

    def step(self, action: Array) -> tuple[Observation, bool]:
        """Apply one action (A,), clipped to [-1, 1], or in the units of the suite's `scales["action"]` where it has
        them; returns the next observation and the simulator's success flag."""
        ...

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (height, width, 3)."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Suite(Protocol):
    """A set of tasks on one robot. A suite object is small and picklable: workers make their own environments.

    One that has not as many different episodes of a split as anybody may ask for says how many by a method
    `episodes(split) -> int | None`; more are then refused, since they would repeat some.

    One that knows how many steps its environments take a second says so by an attribute `frequency`; LeRobot's data
    sets need it.

    One that has a scripted expert may let it act on any initial state by a method `expert_in(environment)`: for an
    environment that was just reset it gives a function of no arguments, which gives the expert's action (A,) for each
    step, in the suite's units. The method expert asks for it.

    One that knows which of its numbers say where things lie may say by a method `from_hand(observation) -> Array` how
    alike two moments are: of observations (n, *shape) it gives numbers (n, d) in units of the workspace, such as the
    offset from the hand to the object. Co-training compares by them, else by all numbers that are seen.

    It may also say which numbers they are, by an attribute `places`: feature -> where the x of each place stands in
    it (in a set: in each of its slots), with y behind it. All stand in one level frame, and actions say how the
    hand moves, not where to: `train.shift` may then move them together.

    One whose tasks take place in several scenes may say by a method `scene(task) -> str` where a task does, in words
    that go behind its instruction ("in kitchen scene 3"; empty: nowhere in particular). Runs with `--context scene` use
    them, so that two tasks with one instruction are told apart.
    """

    @property
    def name(self) -> str: ...

    @property
    def tasks(self) -> tuple[Task, ...]: ...

    @property
    def features(self) -> Mapping[str, Feature]:
        """Every observation feature, and `action`."""
        ...

    @property
    def scales(self) -> Mapping[str, Scale]:
        """Constants for each observation feature but pictures, which need none; and for `action` where actions are
        not in [-1, 1] but in the robot's own units."""
        ...

    @property
    def horizon(self) -> int:
        """The most steps an episode may take."""
        ...

    def make(self, task: Task) -> Environment: ...

    def versions(self) -> dict[str, str]:
        """Versions of the simulator, the environments and the experts, as stored with demonstrations and runs."""
        ...

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        """Successful expert episodes on initial states of the split "train", the same for the same arguments."""
        ...


class Actor(Protocol):
    """A policy with one skill active, acting on a batch of fixed size in lock-step."""

    def start(self, batch: int) -> Any:
        """The memory of `batch` fresh episodes."""
        ...

    def act(self, observation: Observation, memory: Any) -> Array:
        """Actions (batch, A), in [-1, 1] or the robot's own units, for observations (batch, *shape); `memory` moves on
        one step in place."""
        ...


@dataclass(frozen=True)
class Progress:
    """One line of news from a loop, for progress bars and logs. `done` and `total` are in the loop's own unit."""

    stage: str
    done: int
    total: int
    note: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    lesson: int | None = None
    """The lesson of the run that it is about, counted from 0, if it is about one."""


NOTE = "note"
"""The stage of a sentence that its reader shall know, and that stays on the screen."""
Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The Report that tells nobody."""


def part_of(report: Report, number: int, parts: int, stage: str) -> Report:
    """News of one part as news of all: adds the share that is done, by progress in `stage`, as the figure "overall"."""

    def tell(news: Progress) -> None:
        share = news.done / max(news.total, 1) if news.stage == stage else 0.0
        report(replace(news, figures={**news.figures, "overall": (number + share) / parts}))

    return tell


def natural(words: str) -> list[str | int]:
    """A key that sorts by the numbers in names: demo_4 before demo_16."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", words)]


def is_over(environment: Environment) -> bool:
    """Whether its episode has ended by itself; never, where it does not say."""
    return bool(getattr(environment, "over", False))


def nearest(word: str, known: Sequence[str]) -> str:
    """A clause that helps with a mistyped name: `did you mean 'push'?`, or the list of what is known."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(sorted(known)[:30])
    return f"known are {shown}{', ...' if len(known) > 30 else ''}"
