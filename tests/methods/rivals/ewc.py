"""EWC (arXiv 1612.00796), its online form: springs hold what mattered to earlier tasks where it was."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skilltokens.configuration import Count, NotNegative
from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, Source, imitation
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential


@dataclass(frozen=True)
class EWCSettings(SequentialSettings):
    """Fine-tune everything, near to where it was in the directions that earlier tasks depend on."""

    weight: NotNegative = 100.0
    """Of the penalty; 0 is fine-tuning."""
    windows: Count = 200
    """Windows of a task from which its Fisher information is estimated."""


class Springs(Rule):
    """Adds half the weight times the Fisher information times the square of the way from the anchor."""

    def __init__(self, method: Sequential) -> None:
        self.policy, self.springs, self.weight = method.base, method.kept, method.settings.weight

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        for name, parameter in self.policy.named_parameters():
            way = parameter - self.springs[f"anchor.{name}"]
            loss = loss + 0.5 * self.weight * (self.springs[f"fisher.{name}"] * way.square()).sum()
        return loss


class EWC(Sequential):
    """Keeps the diagonal of the Fisher information, summed over the tasks, and the newest parameters."""

    def rule(self, lesson: Lesson) -> Rule:
        return Springs(self) if self.kept else Rule()

    def finish(self, lesson: Lesson) -> None:
        parameters = dict(self.base.named_parameters())
        fisher = {name: self.kept.get(f"fisher.{name}", torch.zeros_like(p)) for name, p in parameters.items()}
        source, generator = Source(lesson, self.train, self.base), np.random.default_rng([self.seed, lesson.index])
        for number in generator.integers(len(source), size=(self.settings.windows, 1)):
            # one window at a time: the square of a batch's mean gradient would be too small by the batch
            loss = imitation(self.base, source.at(number, generator), self.train, generator)
            for name, gradient in zip(parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True):
                fisher[name] = fisher[name] + gradient.square() / self.settings.windows
        self.kept = {f"fisher.{name}": value for name, value in fisher.items()}
        self.kept |= {f"anchor.{name}": p.detach().clone() for name, p in parameters.items()}
