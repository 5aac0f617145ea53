"""A-GEM (arXiv 1812.00420): a step may not, to first order, raise the mean loss on what was learned before.

It keeps what experience replay keeps, and asks it for a direction only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from skilltokens.methods.base import Lesson
from skilltokens.methods.er.memory import Replayed
from skilltokens.methods.er.method import ER
from skilltokens.methods.examples import imitation
from skilltokens.methods.rule import Now, Rule
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings


class Project(Rule):
    """Takes out of the gradient what points against the gradient on old windows, before it is clipped."""

    passes = 2.0

    def __init__(self, policy: Policy, memory: Replayed, train: TrainSettings) -> None:
        self.policy, self.memory, self.train = policy, memory, train

    def gradients(self, now: Now) -> None:
        old = self.memory.sample(self.train.batch, now.generator).to(self.policy.device)
        trained = [parameter for parameter in self.policy.parameters() if parameter.grad is not None]
        loss = imitation(self.policy, old, self.train, now.generator)
        reference = torch.autograd.grad(loss, trained)
        project([parameter.grad for parameter in trained if parameter.grad is not None], reference)


@torch.no_grad()
def project(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """Changes a gradient g in place where g . r < 0, by equation 11: g - (g . r / r . r) r, for the reference r.

    Both are lists of tensors of the same shapes, and stand for all their numbers in one vector.
    """
    product = _sum((gradient * r).sum() for gradient, r in zip(gradients, reference, strict=True))
    if product < 0:
        share = product / _sum(r.square().sum() for r in reference)
        for gradient, r in zip(gradients, reference, strict=True):
            gradient -= share * r


def _sum(numbers: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(numbers)).sum()


class AGEM(ER):
    """Keeps windows as experience replay does."""

    def rule(self, lesson: Lesson) -> Rule:
        return Project(self.base, self.memory.source(self.base), self.train) if len(self.memory) else Rule()
