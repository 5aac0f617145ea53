"""Slow learner (SLCA, arXiv 2303.05118, section 3.2): what is general moves slowly, what is a task's own moves fast.

After the first lesson the trunk's learning rate is `trunk` times that of the head: SLCA uses 1/10 to 1/100. Its second
part aligns a classifier with the statistics of each class, which a policy that predicts actions does not have.
"""

from __future__ import annotations

from itertools import groupby

from skilltokens.methods.base import Lesson, Training
from skilltokens.methods.sequential.method import Sequential
from skilltokens.methods.slow_learner import SlowLearnerSettings


class SlowLearner(Sequential):
    """Fine-tunes everything at two rates."""

    settings: SlowLearnerSettings

    def begin(self, lesson: Lesson) -> Training:
        if self.begins_fresh(lesson):
            return super().begin(lesson)
        fast = ("head.", "encoders.") if self.settings.fast_encoders else ("head.",)
        # the parameters stay in their order, in which gradients are summed when they are clipped
        stretches = groupby(self.base.named_parameters(), lambda named: named[0].startswith(fast))
        groups = [
            {
                "params": [parameter for _, parameter in named],
                "lr": self.settings.rate * (1.0 if is_fast else self.settings.trunk),
            }
            for is_fast, named in stretches
        ]
        return Training(self.base, groups, [lesson], self.rule(lesson))
