"""L2: every parameter is pulled back to where the last lesson left it, as strongly as every other.

In Continual World's form (arXiv 2105.10919): importances, here 1 for each parameter and task, are summed over the tasks
learned, and the anchor is the newest one alone. So with k tasks learned the loss gains

    weight / 2 * k * sum over i of (theta_i - theta_i of the end of the last lesson)^2
"""

from __future__ import annotations

import torch

from skilltokens.methods.base import Lesson
from skilltokens.methods.l2 import L2Settings
from skilltokens.methods.pull import Pull, vector
from skilltokens.methods.rule import Rule
from skilltokens.methods.sequential.method import Sequential


class L2(Sequential):
    """Keeps nothing: the anchor is the policy as a lesson finds it, be it a library's."""

    settings: L2Settings

    def rule(self, lesson: Lesson) -> Rule:
        if self.begins_fresh(lesson):
            return Rule()
        anchor = vector(self.base).detach().clone()[None]
        tasks = lesson.first + int(self.adopted)
        return Pull(self.base, self.settings.weight, anchor, torch.full((1, 1), float(tasks), device=anchor.device))
