"""GrownMethod: a frozen base, and for each further skill a few modules of its own in the place of the base's, or beside
them. What LoRA, PSEC, bottleneck adapters and an own head alone have in common.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skilltokens.methods.base import Lesson, Training, count, shorter_chunk, under
from skilltokens.methods.rule import Rule
from skilltokens.methods.skilled import SkillMethod
from skilltokens.model.lowrank import leaves, matrices
from skilltokens.model.policy import Policy
from skilltokens.skills.assembling import own_modules
from skilltokens.skills.skill import Form, Skill
from skilltokens.types import SettingError


@dataclass
class Grown:
    """A policy with what a new skill adds to the base, before its training."""

    policy: Policy
    groups: list[dict[str, Any]]
    """AdamW's parameter groups: all of the skill's own parameters."""
    rule: Rule = field(default_factory=Rule)


class GrownMethod(SkillMethod):
    """The first lesson trains the base, which is frozen then. Subclasses say what each further skill grows."""

    form: ClassVar[Form]
    """What a library calls the skills' tensors."""

    @abstractmethod
    def grow(self, lesson: Lesson) -> Grown:
        """What a lesson's skill begins as, beside the frozen base and the entries before it. The same each time.

        Raises:
            SettingError: the budget is too small.
        """

    def start(self, lesson: Lesson, policy: Policy) -> None:
        """Gives a skill that `grow` returned the numbers that it begins with, where these are not the base's."""

    def begin(self, lesson: Lesson) -> Training:
        if self.begins_fresh(lesson):
            return self.begin_base(lesson)
        self.base.requires_grad_(False)
        grown = self.grow(lesson)
        self.start(lesson, grown.policy)
        self.enter(lesson, grown.policy)
        groups = [group for group in grown.groups if group["params"]]
        return self.hold(Training(grown.policy, groups, [lesson], rule=grown.rule))

    def finish(self, lesson: Lesson) -> None:
        self.keep()
        self.entries[self.first_entry(lesson)].policy.requires_grad_(False)

    def stored(self) -> int:
        own = self.entries[len(self.adopted_skills) :]
        numbers = sum(p.numel() for entry in own for p in self.own(entry.policy).values())
        return self.stored_before() + numbers + self.start_size()

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        skills = []
        for entry in self.entries[len(self.adopted_skills) :]:
            own = dict(self.own(entry.policy))
            form = self.form if own else "rows"  # the base itself
            skills.append(Skill(entry.name, entry.wordings, entry.embeddings, own, form=form))
        return self.base, skills

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}
        for i, entry in enumerate(self.entries[len(self.adopted_skills) :]):
            tensors |= {f"skill.{i}.{name}": value for name, value in self.own(entry.policy).items()}
        return tensors | self.start_state()

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.restore_start(state)
        self.base.requires_grad_(False)
        for lesson in lessons:
            if self.begins_fresh(lesson):
                self.enter(lesson, self.base)
                continue
            grown = self.grow(lesson)
            kept = under(f"skill.{lesson.first}.", state)
            for name, value in self.own(grown.policy).items():
                value.copy_(kept[name])
            self.enter(lesson, grown.policy.requires_grad_(False))

    def own(self, policy: Policy) -> dict[str, nn.Parameter]:
        """A skill's parameters that are not the base's, by name."""
        frozen = {id(parameter) for parameter in self.base.parameters()}
        return {name: value for name, value in policy.named_parameters() if id(value) not in frozen}

    def room(self, share: float, own: Sequence[nn.Parameter]) -> int:
        """How many parameters a skill may train besides those of its own head and encoders."""
        return int(share * count(self.base)) - sum(parameter.numel() for parameter in own)


def own_copies(base: Policy, *, head: bool, encoders: bool) -> tuple[dict[str, nn.Module], list[nn.Parameter]]:
    """Copies of the base's head and encoders, by path, and their parameters."""
    kinds = {"head": head, "encoders": encoders}
    paths = [path for path in own_modules(base) if kinds[path.split(".")[0]]]
    copies = {path: copy.deepcopy(base.get_submodule(path)).requires_grad_() for path in paths}
    return copies, [parameter for module in copies.values() for parameter in module.parameters()]


def ranks_of(base: Policy, room: int, share: float) -> list[int]:
    """A rank for every matrix of the base, the same for all but for what rounding leaves over.

    Args:
        room: parameters that the adapters may have together.
        share: the setting `method.share` that this came from, for the message.

    Raises:
        SettingError: there is none.
    """
    shapes = [getattr(leaf, name).shape for _, leaf in leaves(base) for name in matrices(leaf)]
    ranks = spread_ranks(shapes, room)
    if not ranks:
        raise SettingError(
            f"method.share {share} leaves no rank for this policy's adapters: {shorter_chunk(base)}raise it"
        )
    return ranks


def spread_ranks(shapes: Sequence[tuple[int, ...]], room: int) -> list[int]:
    """A rank for a low-rank change of each matrix (a, b), the same for all but for what rounding leaves over, so that
    all changes together have at most `room` parameters; empty where that is not enough for a rank of 1."""
    rank = room // sum(a + b for a, b in shapes)
    if rank < 1:
        return []
    left = room - rank * sum(a + b for a, b in shapes)
    ranks = []
    for a, b in shapes:
        more = int(left >= a + b)
        ranks.append(rank + more)
        left -= more * (a + b)
    return ranks
