"""A-GEM (arXiv 1812.00420): a step may not, to first order, raise the loss on what was seen before."""

from dataclasses import dataclass

import torch
from tests.methods.rivals.er import ER, ERSettings

from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, imitation
from skilltokens.methods.rule import Now, Rule


@dataclass(frozen=True)
class AGEMSettings(ERSettings):
    """Fine-tune everything, along gradients that do not raise the loss on a reservoir of all that was seen."""


class Project(Rule):
    """Takes out of the gradient what points against the gradient of old windows."""

    def __init__(self, method: ER) -> None:
        self.policy, self.train, self.memory = method.base, method.train, Examples.of(method.kept)

    def gradients(self, now: Now) -> None:
        old = self.memory.sample(self.train.batch, now.generator)
        parameters = [parameter for parameter in self.policy.parameters() if parameter.grad is not None]
        reference = torch.autograd.grad(imitation(self.policy, old, self.train, now.generator), parameters)
        pairs = [(p.grad, r) for p, r in zip(parameters, reference, strict=True) if p.grad is not None]
        product = sum(((gradient * r).sum() for gradient, r in pairs), torch.zeros(()))
        if product < 0:
            scale = product / sum((r.square().sum() for r in reference), torch.zeros(()))
            for gradient, r in pairs:
                gradient -= scale * r


class AGEM(ER):
    """Keeps what ER keeps, and asks it for a direction only."""

    def rule(self, lesson: Lesson) -> Rule:
        return Project(self) if self.kept else Rule()
