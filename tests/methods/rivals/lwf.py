"""LwF (arXiv 1606.09282): on new observations, old instructions are still answered as before."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skilltokens.configuration import NotNegative
from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, imitation
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential


@dataclass(frozen=True)
class LwFSettings(SequentialSettings):
    """Fine-tune everything, and imitate the policy of before where an old instruction is given."""

    weight: NotNegative = 1.0
    """Of the distillation; 0 is fine-tuning."""


class Distil(Rule):
    """Adds the loss of imitating the earlier policy, given an earlier instruction, on what the new task shows."""

    def __init__(self, method: Sequential) -> None:
        self.policy, self.train, self.weight = method.base, method.train, method.settings.weight
        self.teacher, self.words = copy.deepcopy(method.base).requires_grad_(False), method.kept["words"]

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        words = self.words[torch.from_numpy(now.generator.integers(len(self.words), size=len(learned)))]
        actions = self.teacher.head(self.teacher(learned.observation, words, learned.mask))
        old = replace(learned, words=words, action=actions)
        return loss + self.weight * imitation(self.policy, old, self.train, now.generator)


class LwF(Sequential):
    """Keeps the instructions of the tasks learned, and nothing else."""

    def rule(self, lesson: Lesson) -> Rule:
        return Distil(self) if self.kept else Rule()

    def finish(self, lesson: Lesson) -> None:
        words = [torch.from_numpy(wordings[:1]).to(self.base.device) for wordings in lesson.embeddings]
        self.kept = {"words": torch.cat([*self.kept.values(), *words])}
