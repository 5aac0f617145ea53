"""PackNet (arXiv 1711.05769): each task owns a share of the weights, and what is owned never moves again."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from skilltokens.configuration import Count
from skilltokens.methods.base import Lesson, SkillMethod
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential


@dataclass(frozen=True)
class PackNetSettings(SequentialSettings):
    """Each task trains the weights that are free, keeps the largest half-way, and leaves the others to later tasks."""

    tasks: Count = 10
    """How many tasks share the weights, equally."""


class Pack(Rule):
    """Moves what nobody owns (0); half-way, weights beyond the task's share become zero, for later tasks (-1)."""

    def __init__(self, method: Sequential) -> None:
        self.parameters, self.tasks = dict(method.base.named_parameters()), method.settings.tasks
        self.kept = {n: method.kept.get(n, torch.zeros_like(p, dtype=torch.int16)) for n, p in self.parameters.items()}
        self.still = {name: p.detach().masked_fill(self.kept[name] == 0, 0) for name, p in self.parameters.items()}

    def stepped(self, now: Now) -> None:
        for name, parameter in self.parameters.items():
            owner = self.kept[name]
            if now.step + 1 == now.total // 2 and name.endswith(("key", "value", "weight")):
                order = parameter.abs().masked_fill(owner != 0, -1).flatten().argsort(descending=True)
                others = order[round(len(order) / self.tasks) : int((owner == 0).sum())]
                self.kept[name] = owner = owner.flatten().index_fill(0, others, -1).view_as(owner)
            parameter.copy_(torch.where(owner == 0, parameter, self.still[name]))


class PackNet(Sequential, SkillMethod):
    """One policy; a skill acts by what it and those before it own. Keeps the number of each entry's owner."""

    def rule(self, lesson: Lesson) -> Rule:
        self.enter(lesson, self.base)
        self.pack = Pack(self)
        return self.pack

    def finish(self, lesson: Lesson) -> None:
        self.kept = {n: o.masked_fill(o == 0, lesson.index + 1).clamp(0) for n, o in self.pack.kept.items()}
        self.restore(self.state(), [lesson])

    def restore(self, state: Mapping[str, torch.Tensor], lessons: Sequence[Lesson]) -> None:
        super().restore(state, lessons)
        for lesson in lessons:
            policy = copy.deepcopy(self.base).requires_grad_(False)
            for name, parameter in policy.named_parameters():
                parameter.mul_((self.kept[name] > 0) & (self.kept[name] <= lesson.index + 1))
            self.enter(lesson, policy)
