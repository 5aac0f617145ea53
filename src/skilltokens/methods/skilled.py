"""SkillMethod: a method with one policy for each skill, chosen by the instruction, and where a new skill starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from skilltokens.methods.base import Choice, Lesson, Method, Training, count, under
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
