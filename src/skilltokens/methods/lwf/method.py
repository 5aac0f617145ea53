"""LwF, learning without forgetting (arXiv 1606.09282): on new observations, old instructions are answered as before.

Beside the loss L on the new task, a step minimises the distance to what the policy of before the lesson, theta', would
do with the same observations o, had it been given the instruction l' of an earlier task:

    L(theta) + weight * E_o,l' [ loss( pi_theta(o, l'), pi_theta'(o, l') ) ]

For actions, the loss is the head's own: the squared error, or for a mixture the likelihood of the action that the
policy of before takes. For features, it is the mean squared difference of the last layer's normed outputs, of which the
head makes actions. Nothing is kept but the sentence vectors of the tasks learned.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson, under
from skilltokens.methods.examples import Examples, precision
from skilltokens.methods.lwf import LwFSettings
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.skill import Skill
from skilltokens.types import Array

WORDS = "words."


class LwF(Sequential):
    """Keeps for each task its wordings' vectors (wordings, language), by the task's name."""

    alone = True
    settings: LwFSettings

    def adopt(self, base: Policy, skills: Sequence[Skill]) -> None:
        """What the library's policy does by itself is kept as well; skills with tensors of their own act by these."""
        super().adopt(base, skills)
        for skill in skills:
            if not skill.tensors and skill.task_token is None:
                self._keep(skill.name, skill.embeddings)

    def rule(self, lesson: Lesson) -> Rule:
        old = [self.kept[f"{WORDS}{name}"] for name in sorted(under(WORDS, self.kept)) if name not in lesson.names]
        if not old or not self.settings.weight:
            return Rule()
        return Distil(self.base, old, self.settings, self.train)

    def finish(self, lesson: Lesson) -> None:
        for name, vectors in zip(lesson.names, lesson.embeddings, strict=True):
            self._keep(name, vectors)

    def _keep(self, name: str, vectors: Array) -> None:
        self.kept[f"{WORDS}{name}"] = torch.from_numpy(np.array(vectors)).to(self.base.device)


class Distil(Rule):
    """Adds the distance from the policy of before, for an old instruction at random in each window.

    Args:
        policy: as it is before the lesson; a frozen copy is the teacher.
        old: for each earlier task its wordings' vectors (wordings, language).
    """

    passes = 2 + 1 / 3  # the new instructions, the old ones, and the teacher without gradients

    def __init__(self, policy: Policy, old: Sequence[Tensor], settings: LwFSettings, train: TrainSettings) -> None:
        self.policy, self.old, self.settings, self.train = policy, old, settings, train
        self.teacher = copy.deepcopy(policy).requires_grad_(False)

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        words = self._words(len(learned), now.generator)
        given = learned.mask, learned.noise, learned.stride  # both see the same noise: what differs is the policy
        with precision(self.train):
            with torch.no_grad():
                before = self.teacher(learned.observation, words, *given)
                actions = self.teacher.head(before)
            after = self.policy(learned.observation, words, *given)
            if self.settings.what == "actions":
                away = self.policy.head.loss(after, actions)
            else:
                away = (after - before).square().mean(-1)
        return loss + self.settings.weight * (away * learned.mask).sum() / learned.mask.sum()

    def _words(self, number: int, generator: np.random.Generator) -> Tensor:
        """A sentence vector (number, language) for each window: of any old task alike, and any of its wordings."""
        tasks, places = generator.integers(len(self.old), size=number), generator.random(number)
        return torch.stack([self.old[t][int(p * len(self.old[t]))] for t, p in zip(tasks, places, strict=True)])
