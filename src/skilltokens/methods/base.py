"""What a method is: how one lesson after another is learned, and which policy an instruction calls.

The loops do the rest: train.fit() trains what `begin` returns, experiments/lifelong.py evaluates what `choose` returns.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from skilltokens.demos.store import DemonstrationStore
from skilltokens.methods.neighbours import Neighbour
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.shift import Places
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.skill import Skill
from skilltokens.types import Actor, Array


@dataclass(frozen=True)
class Lesson:
    """What is learned at one time: a task, several together (protocol B's first), or for a joint method all of them."""

    index: int
    """Its number in the run; seeds whatever the lesson draws."""
    names: tuple[str, ...]
    stores: tuple[DemonstrationStore, ...]
    wordings: tuple[tuple[str, ...], ...]
    """For each task the sentences to train with, its instruction first."""
    embeddings: tuple[Array, ...]
    """Their unit vectors, (wordings, language) for each task."""
    first: int
    """How many tasks the run taught before: the place of this lesson's first task in the order."""
    chunk: int = 1
    """Actions that each step is to predict: the policy's `chunk`."""
    places: Places = field(default_factory=dict)
    """What `train.shift` moves; empty where it moves nothing."""

    def apart(self) -> list[Lesson]:
        """Its tasks, each as a lesson of its own."""
        parts = zip(self.names, self.stores, self.wordings, self.embeddings, strict=True)
        return [
            replace(self, names=(name,), stores=(store,), wordings=(texts,), embeddings=(vectors,))
            for name, store, texts, vectors in parts
        ]


@dataclass
class Training:
    """What fit() needs to know of a lesson."""

    policy: Policy
    """One of this package's; where `loss` is given, whatever has its parameters and modes (grow_attached.py)."""
    groups: list[dict[str, Any]]
    """AdamW's parameter groups, each with "params" and its peak "lr"; frozen parameters are in none. Where no group has
    any, nothing is learned: the loss alone is written down."""
    lessons: Sequence[Lesson] = ()
    """Where batches come from, lesson by lesson with equal shares."""
    rule: Rule = field(default_factory=Rule)
    """What the method does within each step."""
    loss: Callable[[Now], Tensor] | None = None
    """The loss of a step, a scalar, of a policy that is none of ours: it draws its batch from `now.batches`, and all
    other chance from there too. Then there are no lessons, and the rule's `examples` and `loss` are not asked."""

    @property
    def ours(self) -> Policy:
        """The policy, where it is one of this package's and learns from lessons."""
        assert isinstance(self.policy, Policy)
        return self.policy

    def parameters(self) -> list[torch.nn.Parameter]:
        """Everything that is trained."""
        return [parameter for group in self.groups for parameter in group["params"]]


class OtherPolicy(Protocol):
    """One skill of a policy of another make, as what is measured needs it."""

    def fingerprint(self) -> str:
        """SHA-256 of all that its actions are computed from."""
        ...

    def actor(self) -> Actor:
        """An actor that acts by it as it is now."""
        ...


@dataclass(frozen=True)
class Choice:
    """The policy that an instruction calls."""

    policy: Policy
    embedding: Array
    """What the policy is given as its instruction (language,)."""
    skill: int | None = None
    """The task of the run whose skill was chosen, by its place in the order; None where one policy serves all
    instructions, and for a skill of the library that the run began from."""
    cosine: float = 1.0
    name: str = ""
    """The skill's name, where there are skills."""
    expert: bool = False
    """The suite's scripted expert acts, and not the policy."""
    other: OtherPolicy | None = None
    """A policy of another make acts, and not `policy`."""


class Method(ABC):
    """A way to learn lessons one after another. Subclasses are registered in methods/__init__.py.

    Args:
        base: a freshly drawn policy; the method owns it.
        settings: the method's own settings.
        train: the training loop's settings (rates and budget of the first task).
        seed: seeds whatever the method draws.
    """

    joint: ClassVar[bool] = False
    """True where all tasks are one lesson."""
    keeps: ClassVar[bool] = False
    """True where no later lesson changes what an earlier skill does: only new skills are then evaluated afresh."""
    alone: ClassVar[bool] = False
    """True where the loss of a lesson depends on a batch as a whole, so that processes cannot share one."""
    maps: ClassVar[tuple[str, ...]] = ("pattention", "linear")
    """The kinds of policy that the method can grow."""

    def __init__(self, base: Policy, settings: Any, train: TrainSettings, seed: int) -> None:
        self.base, self.settings, self.train, self.seed = base, settings, train, seed
        self.adopted = False

    def adopt(self, base: Policy, skills: Sequence[Skill]) -> None:
        """Begins from a library instead of a fresh policy (protocol A+): called before the first lesson, or `restore`.

        Args:
            base: the library's policy, which is copied.
            skills: its skills, in the order learned; a method with one policy for all has no use for them.
        """
        self.base = copy.deepcopy(base).to(self.base.device).requires_grad_()
        self.adopted = True

    @property
    def seen(self) -> Collection[str]:
        """The features that its policies look at."""
        return self.base.shape.scales

    @property
    def chunk(self) -> int:
        """How many actions each step of a lesson has to have."""
        return self.base.settings.chunk

    def begins_fresh(self, lesson: Lesson) -> bool:
        """Whether the base has learned nothing before this lesson: no earlier one, and no library to begin from."""
        return lesson.first == 0 and not self.adopted

    def check(self, lessons: int) -> None:
        """Raises SettingError where one of so many lessons could not begin, as far as the fresh base can tell.

        Called once, before the first lesson or `restore`; what depends on the number of lessons is fixed here.
        """

    def check_memory(self, lessons: Sequence[Lesson]) -> None:
        """Raises SettingError where what it would keep of these lessons' demonstrations does not fit into memory."""

    def check_lessons(self, lessons: Sequence[Lesson]) -> None:
        """Raises SettingError where the settings name what there is not when one of these lessons begins."""

    @abstractmethod
    def begin(self, lesson: Lesson) -> Training:
        """Prepares a lesson. Called again with the same state it must return the same: runs resume here."""

    def finish(self, lesson: Lesson) -> None:
        """Keeps what was learned."""

    def choose(self, embedding: Array) -> Choice:
        """The policy for an instruction, the skill in training included."""
        return Choice(self.base, embedding)

    def stored(self) -> int:
        """Numbers that must be kept: parameters to act in every skill learned so far, and what a regulariser holds them
        by when the next is learned."""
        return count(self.base)

    def remembered(self) -> int:
        """Bytes of demonstrations that must be kept to learn on (replay); most methods keep none."""
        return 0

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        """What was learned as a skill library keeps it: the base, and the lessons' skills in the order learned.

        By default one policy serves all skills: each is the base, called by the task's own wordings. A method that has
        no skills leaves no library.
        """
        return self.base, [
            Skill(name, wordings, vectors)
            for lesson in lessons
            for name, wordings, vectors in zip(lesson.names, lesson.wordings, lesson.embeddings, strict=True)
        ]

    def reuse(self) -> dict[str, Any] | None:
        """Where the newest skill's active rows come from, summed over the maps; None where there are no rows.

        {"base": rows of the base, "new": its own, "from": {earlier skill's name: rows}}, and as "start" the name of
        the skill that it started from, if it did.
        """
        return None

    def neighbour(self) -> Neighbour | None:
        """What the newest skill started from, and why; None where it started from no earlier skill."""
        return None

    def state(self) -> dict[str, Tensor]:
        """All that must survive an interruption between two lessons."""
        return dict(self.base.state_dict())

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        """The reverse of `state`; `lessons` are those learned so far."""
        self.base.load_state_dict(dict(state))


def count(policy: torch.nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in policy.parameters())


def shorter_chunk(policy: Policy) -> str:
    """What else to do where a budget is too small: the head of a policy that predicts chunks takes much of it."""
    return "lower policy.chunk, " if policy.settings.chunk > 1 else ""


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state whose names begin with a prefix, by their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def generator_of(seed: int, lesson: int) -> torch.Generator:
    """The source of a lesson's draws."""
    return torch.Generator().manual_seed((seed * 1_000_003 + lesson) % 2**63)
