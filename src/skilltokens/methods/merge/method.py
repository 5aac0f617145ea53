"""Weight merging, as in RETAIN (arXiv 2512.08333): after each lesson the mean of the policies before and after is kept,

    theta_k = (1 - share) * theta_k-1 + share * theta',   theta' fine-tuned from theta_k-1

The first lesson of a run from scratch has nothing to be merged with. The points of a learning curve show the policy
that would be kept if the training ended there, so they too are merged.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from skilltokens.methods.base import Choice, Lesson, Training
from skilltokens.methods.merge import MergeSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.types import Array


class Merge(Sequential):
    """One policy; while a lesson is in training, `before` has its parameters of before."""

    settings: MergeSettings

    def __init__(self, base: Policy, settings: Any, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.before: list[Tensor] = []

    def begin(self, lesson: Lesson) -> Training:
        training = super().begin(lesson)
        fresh = self.begins_fresh(lesson)
        self.before = [] if fresh else [parameter.detach().clone() for parameter in self.base.parameters()]
        return training

    def finish(self, lesson: Lesson) -> None:
        self._merge(self.base)
        self.before = []

    def choose(self, embedding: Array) -> Choice:
        if not self.before:
            return super().choose(embedding)
        policy = copy.deepcopy(self.base).requires_grad_(False)
        self._merge(policy)
        return Choice(policy, embedding)

    @torch.no_grad()
    def _merge(self, policy: Policy) -> None:
        for parameter, before in zip(policy.parameters(), self.before, strict=bool(self.before)):
            parameter.copy_(before.lerp(parameter, self.settings.share))
