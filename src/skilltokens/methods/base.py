"""What a method is: how one lesson after another is learned, and which policy an instruction calls.

The loops do the rest: train.fit() trains what `begin` returns, experiments/lifelong.py evaluates what `choose` returns.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skilltokens.attached.beside import Attached
from skilltokens.demos.store import DemonstrationStore
from skilltokens.methods.neighbours import (
    Candidate,
    Neighbour,
    asked_about_data,
    by_name,
    by_words,
    cloning_losses,
    cosines,
    least,
)
from skilltokens.methods.registration import Otherwise
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.start.choosing import BASE_ITSELF, named_skill
from skilltokens.methods.start.held import Held
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.assembling import assemble, standing
from skilltokens.skills.selection import choose
from skilltokens.skills.skill import Skill, Skills
from skilltokens.types import Array

LEARNED = "learned"
"""The setting `start` of a method whose skills start where earlier ones have moved the start to."""
START = "start."
"""Before the names of the learned start's tensors in a state."""


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

    policy: Policy | Attached
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


class Entry:
    """One skill of a SkillMethod: how it is called and the policy that acts.

    Attributes:
        name, wordings: of the skill.
        embeddings: unit vectors of the wordings (wordings, language).
    """

    def __init__(
        self,
        name: str,
        wordings: tuple[str, ...],
        embeddings: Array,
        policy: Policy | Callable[[], Policy],
        instruction: Array | Callable[[], Array],
    ) -> None:
        """
        Args:
            policy, instruction: or what makes them, once, when they are needed.
        """
        self.name, self.wordings, self.embeddings = name, wordings, embeddings
        self._policy, self._instruction = policy, instruction

    @property
    def policy(self) -> Policy:
        if not isinstance(self._policy, Policy):
            self._policy = self._policy()
        return self._policy

    def act_by(self, policy: Policy) -> None:
        """The skill acts by another policy from here on."""
        self._policy = policy

    @property
    def instruction(self) -> Array:
        """What the policy is given, whatever the wording that called it (language,)."""
        if callable(self._instruction):
            self._instruction = self._instruction()
        return self._instruction


class SkillMethod(Method):
    """A method with one policy for each skill, chosen by the instruction; a chosen skill is given its own instruction,
    so that it acts the same whatever the wording that called it."""

    keeps = True

    def __init__(self, base: Policy, settings: Any, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.entries: list[Entry] = []
        self.adopted_skills = Skills()
        """Skills of the library that the run began from; their entries come first."""
        self._neighbour: Neighbour | None = None
        self.held: Held | None = None
        """The new skill in training, where it began by `hold`."""
        self.learned_start: dict[str, Tensor] = {}
        """Where the next skill starts, by its parameters' names, as the skills so far have moved it; see `keep`."""

    def adopt(self, base: Policy, skills: Sequence[Skill]) -> None:
        super().adopt(base, skills)
        self.base.requires_grad_(False)
        skills = skills if isinstance(skills, Skills) else Skills(skills)
        self.adopted_skills = skills.to(self.base.device)
        self.entries = [self._adopted_entry(skill) for skill in self.adopted_skills]

    def _adopted_entry(self, skill: Skill) -> Entry:
        """The entry of a library's skill. Its policy is put together when it is needed: most never are."""
        find = self.adopted_skills.find

        def policy() -> Policy:
            return assemble(self.base, find, skill).requires_grad_(False)

        return Entry(skill.name, skill.wordings, skill.embeddings, policy, lambda: np.array(standing(find, skill).key))

    def first_entry(self, lesson: Lesson) -> int:
        """The number of the lesson's first entry."""
        return len(self.adopted_skills) + lesson.first

    def enter(self, lesson: Lesson, policy: Policy) -> None:
        """Makes `policy` the skill of each of the lesson's tasks, replacing an earlier version of it."""
        del self.entries[self.first_entry(lesson) :]
        for name, wordings, vectors in zip(lesson.names, lesson.wordings, lesson.embeddings, strict=True):
            self.entries.append(Entry(name, wordings, vectors, policy, vectors[0]))

    def begin_base(self, lesson: Lesson) -> Training:
        """The first lesson from scratch: all of the base is trained, and the lesson's tasks act by it."""
        self.enter(lesson, self.base)
        return Training(self.base, [{"params": list(self.base.parameters()), "lr": self.train.rate}], [lesson])

    def check_lessons(self, lessons: Sequence[Lesson]) -> None:
        if getattr(self.settings, "neighbour", "") != "named":
            return
        names = [entry.name for entry in self.entries[: len(self.adopted_skills)]]
        for lesson in lessons:
            if not self.begins_fresh(lesson):
                named_skill(self.settings.named, lesson.names[0], names)
            names += lesson.names

    def start_from(self, lesson: Lesson) -> int | None:
        """The skill that a lesson's starts from, by the rule that the settings `neighbour`, `named` and `near` name;
        None: the base itself. The same each time; where a skill was learned already, `restore` needs no choice.

        Raises:
            SettingError: the settings name no skill that there is.
            DemonstrationError: the rule needs demonstrations that are gone.
        """
        embedding, before = lesson.embeddings[0][0], self.first_entry(lesson)
        nearest = self.nearest(embedding, before, self.settings.near, self.settings.otherwise)
        names = [entry.name for entry in self.entries[:before]]
        if self.settings.neighbour == "named":
            number = named_skill(self.settings.named, lesson.names[0], names)
            self._neighbour = by_name(number, names, names[nearest])
        elif self.settings.neighbour == "data":
            candidates = self._candidates(embedding, before)
            losses = cloning_losses(candidates, lesson, self.train)
            self._neighbour = least(candidates, losses, names[nearest])
        else:
            nearness = cosines(embedding, [entry.embeddings for entry in self.entries[:before]])
            self._neighbour = by_words(nearest, names, nearness)
        return self._neighbour.number

    def _candidates(self, embedding: Array, before: int) -> list[Candidate]:
        """What a new skill may start from: skills, each by its own instruction, and the base by the new one."""
        numbers = asked_about_data(embedding, [entry.embeddings for entry in self.entries[:before]])
        starts = [(number, self.entries[number], self.start_policy(number)) for number in numbers]
        skills = [
            Candidate(e.name, number, policy, e.instruction) for number, e, policy in starts if policy is not None
        ]
        return [*skills, Candidate(BASE_ITSELF, None, self.base, embedding)]

    def start_policy(self, number: int) -> Policy | None:
        """The policy that a new skill starts with as a copy of an earlier one; None where it cannot be copied."""
        return self.entries[number].policy

    def neighbour(self) -> Neighbour | None:
        return self._neighbour

    def hold(self, training: Training) -> Training:
        """The training of a new skill, bound to where it starts as the settings say (`StartSettings`): the last thing
        that `begin` does."""
        self.held = Held(training, self.settings, self.learned_start)
        return training

    def keep(self) -> None:
        """Keeps of the skill in training what its blend says, and moves the learned start: the first thing that
        `finish` does. A skill that is kept is changed by nothing that comes later."""
        if self.held is None:
            return
        self.held.keep()
        if getattr(self.settings, "start", "") == LEARNED:
            self.learned_start = self.held.start_after(self.learned_start)
        self.held = None

    def start_size(self) -> int:
        """Numbers of the learned start, as part of `stored`."""
        return sum(value.numel() for value in self.learned_start.values())

    def start_state(self) -> dict[str, Tensor]:
        """The learned start, as part of `state`."""
        return {f"{START}{name}": value for name, value in self.learned_start.items()}

    def restore_start(self, state: Mapping[str, Tensor]) -> None:
        """The reverse of `start_state`, for `restore`."""
        self.learned_start = under(START, state)

    def nearest(self, embedding: Array, before: int, near: float, otherwise: Otherwise = "newest") -> int:
        """The skill, of the first `before` ones, whose wordings are nearest to an instruction; if none has a cosine of
        at least `near`, the newest of them, or the first, which is the base itself, as `otherwise` says."""
        number, cosine = choose(embedding, [entry.embeddings for entry in self.entries[:before]])
        if cosine >= near:
            return number
        return before - 1 if otherwise == "newest" else 0

    def choose(self, embedding: Array) -> Choice:
        number, cosine = choose(embedding, [entry.embeddings for entry in self.entries])
        entry, task = self.entries[number], number - len(self.adopted_skills)
        policy, held = entry.policy, self.held
        policy = held.shown() if held is not None and held.policy is policy else policy
        return Choice(policy, entry.instruction, task if task >= 0 else None, cosine, entry.name)

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        """Each skill as a whole policy of its own, but those that act by the base itself; after a library's, if the run
        began from one."""
        return self.base, [
            Skill(
                entry.name,
                entry.wordings,
                entry.embeddings,
                {} if entry.policy is self.base else dict(entry.policy.state_dict()),
                form="whole",
            )
            for entry in self.entries[len(self.adopted_skills) :]
        ]

    def stored_before(self) -> int:
        """Parameters of the base and of the library's skills."""
        return count(self.base) + sum(skill.parameters for skill in self.adopted_skills)


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
