"""Multitask learning: all tasks at once in one policy, with the budget of all. The upper bound; nothing is lifelong."""

from __future__ import annotations

from skilltokens.methods.base import Lesson, Method, Training
from skilltokens.methods.multitask import MultitaskSettings


class Multitask(Method):
    """One lesson with every task in it."""

    joint = True
    settings: MultitaskSettings

    def begin(self, lesson: Lesson) -> Training:
        return Training(self.base, [{"params": list(self.base.parameters()), "lr": self.settings.rate}], [lesson])
