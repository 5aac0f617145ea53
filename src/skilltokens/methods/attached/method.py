"""Five ways to learn skill after skill on a policy of another make, which stays frozen; an instruction calls a skill.

All five are a skill of `skilltokens.attached`, whose numbers are learned by the policy's own loss. They differ in what
a skill is: what stands beside the policy's maps, or copies of its parameters, all of them for a full copy and for
learning from scratch. So the demonstrations, the batches, the statistics and the way of acting are the same for all.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from skilltokens.attached.acting import AttachedActor, Prepare
from skilltokens.attached.base import OtherBase
from skilltokens.attached.batches import StoreBatches, steps_of
from skilltokens.attached.beside import Attached, attach
from skilltokens.attached.describing import observed
from skilltokens.attached.kinds import Kind
from skilltokens.attached.patterns import patterns_of
from skilltokens.attached.places import unwrapped
from skilltokens.attached.skill import AttachedSkill
from skilltokens.attached.statistics import measured
from skilltokens.methods.attached import (
    AttachedFullCopySettings,
    AttachedLoraSettings,
    AttachedOwnSettings,
    AttachedRowsSettings,
    AttachedScratchSettings,
)
from skilltokens.methods.attached.fresh import fresh_numbers
from skilltokens.methods.attached.training import training_of
from skilltokens.methods.base import Choice, Lesson, Method, Training, count, under
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.selection import choose
from skilltokens.skills.skill import Skill
from skilltokens.tensors import fingerprint
from skilltokens.types import ACTION, Array, Feature, SettingError


@dataclass(eq=False)
class Entry:
    """A skill of the run: how it is called, its numbers, and how it acts."""

    name: str
    wordings: tuple[str, ...]
    embeddings: Array
    attached: Attached
    skill: AttachedSkill
    shapes: Mapping[str, tuple[int, ...]]
    prepare: Prepare | None = None

    def actor(self) -> AttachedActor:
        self.attached.policy.eval()
        return AttachedActor(
            self.attached, self.skill, self.skill.statistics, self.shapes, self.wordings[0], self.prepare
        )

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.attached.base} {self.skill.kind}\n{self.wordings[0]}\n".encode())
        digest.update(fingerprint(self.skill.tensors()).encode())
        return digest.hexdigest()


class AttachedMethod(Method):
    """A method on a policy of another make.

    Args:
        base: the policy; skills are attached to it.
        features: what the demonstrations have; of these the skills have what the policy reads, where that is known.
        settings, train, seed: as for every method.

    Raises:
        AttachError: skills cannot stand beside the policy as the settings ask.
        LibraryError: the policy cannot be loaded, or reads what the demonstrations have not.
    """

    keeps = True
    alone = True
    whole = False
    """Whether a skill is a copy of all of the policy."""

    def __init__(
        self, base: OtherBase, features: Mapping[str, Feature], settings: Any, train: TrainSettings, seed: int
    ) -> None:
        policy = cast(Policy, base.policy)  # the loops count its parameters, and ask nothing else of it
        super().__init__(policy, settings, train, seed)
        self.other, self.features = base, observed(features, base.whole, base.path)
        self.adopted = True
        self.entries: list[Entry] = []
        self.steps = steps_of(unwrapped(base.policy))
        self.attached = self.attach()
        base.policy.to(train.device).eval()

    @abstractmethod
    def attach(self) -> Attached:
        """The policy with the places that a skill has."""

    def new(self, seed: int) -> AttachedSkill:
        """A skill before its training."""
        return self.attached.new(seed)

    def groups(self, skill: AttachedSkill) -> list[dict[str, Any]]:
        """What is trained, with its rates."""
        return skill.groups(self.settings.rate, self.settings.rate)

    # ---------------------------------------------------------------- the protocol of methods

    @property
    def seen(self) -> list[str]:
        return [name for name in self.features if name != ACTION]

    @property
    def chunk(self) -> int:
        """One: a policy of another make is told which of the actions that it predicts lie behind an episode's end."""
        return 1

    def begin(self, lesson: Lesson) -> Training:
        (store,) = lesson.stores
        self.attached.use(None)
        skill = self.new((self.seed * 1_000_003 + lesson.index) % 2**63)
        skill.statistics = measured(store, self.other.whole.spreads)
        del self.entries[lesson.first :]
        self._enter(lesson, skill)
        device = self.attached.device
        batches = StoreBatches(
            store,
            self.steps,
            lesson.wordings[0],
            skill.statistics,
            self.train.batch,
            device,
            self.other.whole.prepare,
            self.other.whole.features or None,
        )
        return training_of(self.attached, skill, batches, self.groups(skill), self.train, self.whole)

    def finish(self, lesson: Lesson) -> None:
        """Raises AttachError where the policy wrote into its own numbers."""
        self.entries[lesson.first].skill.frozen()
        self.attached.use(None)
        self.attached.check_base()

    def _enter(self, lesson: Lesson, skill: AttachedSkill) -> None:
        shapes = {name: self.features[name].shape for name in self.seen}
        (name,), (wordings,), (vectors,) = lesson.names, lesson.wordings, lesson.embeddings
        prepare = self.other.whole.prepare
        self.entries.append(Entry(name, wordings, vectors, self.attached, skill, shapes, prepare))

    def choose(self, embedding: Array) -> Choice:
        number, cosine = choose(embedding, [entry.embeddings for entry in self.entries])
        entry = self.entries[number]
        return Choice(self.base, entry.embeddings[0], number, cosine, entry.name, other=entry)

    def stored(self) -> int:
        return (0 if self._alone else count(self.base)) + sum(entry.skill.parameters for entry in self.entries)

    @property
    def _alone(self) -> bool:
        """Whether the skills need nothing of the base's numbers."""
        return False

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        raise SettingError("skills beside a policy of another make are kept by experiments.leaving alone")

    def state(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": value
            for number, entry in enumerate(self.entries)
            for name, value in entry.skill.tensors().items()
        }

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.entries.clear()
        for lesson in lessons:
            tensors = under(f"{lesson.first}.", state)
            self._enter(lesson, self.attached.skill_of(tensors, self.attached.kind))


class _Beside(AttachedMethod):
    """A skill is what stands beside chosen maps, with own copies of small parts."""

    settings: AttachedRowsSettings | AttachedLoraSettings
    kind: Kind

    def attach(self) -> Attached:
        chosen = self.settings
        own = chosen.own or (() if chosen.targets else None)
        return attach(self.other.policy, chosen.targets or None, own, chosen.share, self.kind, chosen.rows or None)

    def groups(self, skill: AttachedSkill) -> list[dict[str, Any]]:
        return skill.groups(self.settings.rate, self.settings.own_rate)


class AttachedRows(_Beside):
    """Rows beside the policy's maps."""

    kind = "rows"


class AttachedLora(_Beside):
    """Low-rank adapters beside the policy's maps."""

    kind = "lora"


class AttachedOwn(AttachedMethod):
    """Own copies of small parts alone."""

    settings: AttachedOwnSettings

    def attach(self) -> Attached:
        policy = self.other.policy
        own = self.settings.own or patterns_of(unwrapped(policy)).own
        return attach(policy, (), own, self.settings.share)


class _Whole(AttachedMethod):
    """A copy of every parameter."""

    whole = True

    def attach(self) -> Attached:
        return attach(self.other.policy, (), ("*",), share=1.0)


class AttachedFullCopy(_Whole):
    """A copy of every parameter, which begins with the policy's."""

    settings: AttachedFullCopySettings


class AttachedScratch(_Whole):
    """A copy of every parameter, which begins with fresh numbers."""

    settings: AttachedScratchSettings

    def new(self, seed: int) -> AttachedSkill:
        skill = super().new(seed)
        with torch.no_grad():
            for name, value in fresh_numbers(self.other.policy, seed).items():
                skill.own[name].copy_(value)
        return skill

    @property
    def _alone(self) -> bool:
        return True
