"""What a method is: how one lesson after another is learned, and which policy an instruction calls.

The loops do the rest: train.fit() trains what `begin` returns, lifelong.learn() evaluates what `choose` returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skilltokens.demos.store import DemonstrationStore
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.selection import choose
from skilltokens.types import Array


@dataclass(frozen=True)
class Lesson:
    """What is learned at one time: a task, or for a joint method all of them."""

    index: int
    names: tuple[str, ...]
    stores: tuple[DemonstrationStore, ...]
    wordings: tuple[tuple[str, ...], ...]
    """For each task the sentences to train with, its instruction first."""
    embeddings: tuple[Array, ...]
    """Their unit vectors, (wordings, language) for each task."""


@dataclass
class Training:
    """What fit() needs to know of a lesson."""

    policy: Policy
    groups: list[dict[str, Any]]
    """AdamW's parameter groups, each with "params" and its peak "lr"; frozen parameters are in none."""
    lessons: Sequence[Lesson] = ()
    """Where batches come from, lesson by lesson with equal shares."""
    penalty: Callable[[], Tensor] | None = None
    """Added to the loss (regularising methods)."""
    augment: Callable[[dict[str, Array], np.random.Generator], None] | None = None
    """Changes the features of a batch in place before it is learned from (masks, noise)."""

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
    """The lesson whose skill was chosen; None where one policy serves all instructions."""
    cosine: float = 1.0


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
    maps: ClassVar[tuple[str, ...]] = ("pattention", "linear")
    """The kinds of policy that the method can grow."""

    def __init__(self, base: Policy, settings: Any, train: TrainSettings, seed: int) -> None:
        self.base, self.settings, self.train, self.seed = base, settings, train, seed

    def check(self, lessons: int) -> None:
        """Raises SettingError where one of so many lessons could not begin, as far as the fresh base can tell."""

    @abstractmethod
    def begin(self, lesson: Lesson) -> Training:
        """Prepares a lesson. Called again with the same state it must return the same: runs resume here."""

    def finish(self, lesson: Lesson) -> None:
        """Keeps what was learned."""

    def choose(self, embedding: Array) -> Choice:
        """The policy for an instruction, the skill in training included."""
        return Choice(self.base, embedding)

    def stored(self) -> int:
        """Parameters that must be kept to act in every skill learned so far."""
        return count(self.base)

    def reuse(self) -> dict[str, Any] | None:
        """Where the newest skill's active rows come from, summed over the maps; None where there are no rows.

        {"base": rows of the base, "new": its own, "from": {earlier skill's name: rows}}, and as "start" the name of
        the skill that it started from, if it did.
        """
        return None

    def state(self) -> dict[str, Tensor]:
        """All that must survive an interruption between two lessons."""
        return dict(self.base.state_dict())

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        """The reverse of `state`; `lessons` are those learned so far."""
        self.base.load_state_dict(dict(state))


@dataclass
class Entry:
    """One skill of a SkillMethod: how it is called and the policy that acts."""

    embeddings: Array
    policy: Policy


class SkillMethod(Method):
    """A method with one policy for each skill, chosen by the instruction; a chosen skill is given its own instruction,
    so that it acts the same whatever the wording that called it."""

    def __init__(self, base: Policy, settings: Any, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.entries: list[Entry] = []

    def enter(self, lesson: Lesson, policy: Policy) -> None:
        """Makes `policy` the skill of this lesson, replacing an earlier version of it."""
        del self.entries[lesson.index :]
        self.entries.append(Entry(lesson.embeddings[0], policy))

    def nearest(self, embedding: Array, lesson: int, near: float) -> int:
        """The skill, of those before `lesson`, whose wordings are nearest to an instruction; the newest if none is
        nearer than a cosine of `near`."""
        number, cosine = choose(embedding, [entry.embeddings for entry in self.entries[:lesson]])
        return number if cosine >= near else lesson - 1

    def choose(self, embedding: Array) -> Choice:
        found, cosine = choose(embedding, [entry.embeddings for entry in self.entries])
        entry = self.entries[found]
        return Choice(entry.policy, entry.embeddings[0], found, cosine)


def count(policy: torch.nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in policy.parameters())


def generator(seed: int, lesson: int) -> torch.Generator:
    """The source of a lesson's draws."""
    return torch.Generator().manual_seed((seed * 1_000_003 + lesson) % 2**63)
