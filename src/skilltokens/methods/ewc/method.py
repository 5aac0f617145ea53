"""EWC (arXiv 1612.00796): each parameter is pulled back as strongly as what was learned before depends on it.

How much a task depends on a parameter is the diagonal of its Fisher information (`fisher.py`).

- per task (equation 3): the loss gains weight / 2 * sum over tasks k and i of F_k,i * (theta_i - theta_k,i)^2, where
  theta_k is how task k left the policy. F_k and theta_k are kept for each task.
- online (arXiv 1805.06370, section 4): F = decay * F + F_k, and the loss gains
  weight / 2 * sum over i of decay * F_i * (theta_i - theta_i of the end of the last lesson)^2. One F is kept.
"""

from __future__ import annotations

import numpy as np
import torch

from skilltokens.methods.base import Lesson
from skilltokens.methods.ewc import EWCSettings
from skilltokens.methods.ewc.fisher import fisher
from skilltokens.methods.examples import Source
from skilltokens.methods.pull import Pull, vector
from skilltokens.methods.rule import Rule
from skilltokens.methods.sequential.method import Sequential


class EWC(Sequential):
    """Keeps the Fisher information, (1, P) or (tasks, P), and per task where each task left the parameters."""

    settings: EWCSettings

    def rule(self, lesson: Lesson) -> Rule:
        if not self.kept:
            return Rule()
        weight, strength = self.settings.weight, self.kept["fisher"]
        if self.settings.form == "per-task":
            return Pull(self.base, weight, self.kept["anchor"], strength)
        return Pull(self.base, weight, vector(self.base).detach().clone()[None], self.settings.decay * strength)

    def finish(self, lesson: Lesson) -> None:
        rows = []
        for number, task in enumerate(lesson.apart()):
            generator = np.random.default_rng([self.seed, lesson.index, number])
            rows.append(fisher(self.base, Source(task, self.train, self.base), self.settings.samples, generator))
        new, before = torch.stack(rows), self.kept.get("fisher")
        if self.settings.form == "online":
            new = new.sum(0, keepdim=True)
            self.kept = {"fisher": new if before is None else self.settings.decay * before + new}
            return
        anchor = vector(self.base).detach().expand(len(new), -1).clone()
        if before is not None:
            new, anchor = torch.cat([before, new]), torch.cat([self.kept["anchor"], anchor])
        self.kept = {"fisher": new, "anchor": anchor}

    def stored(self) -> int:
        return super().stored() + sum(tensor.numel() for tensor in self.kept.values())
