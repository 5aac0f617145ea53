"""Sequential fine-tuning: one policy, all of its parameters, task after task. What forgetting looks like."""

from __future__ import annotations

from skilltokens.methods.base import Lesson, Method, Training
from skilltokens.methods.sequential import SequentialSettings


class Sequential(Method):
    """Each lesson goes on where the last one ended and trains everything."""

    settings: SequentialSettings

    def begin(self, lesson: Lesson) -> Training:
        rate = self.train.rate if self.begins_fresh(lesson) else self.settings.rate
        return Training(self.base, [{"params": list(self.base.parameters()), "lr": rate}], [lesson])
