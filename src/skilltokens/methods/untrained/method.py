"""The policy before any lesson: freshly drawn, or under protocol A+ the library's base given each task's instruction.

The line that says what of a figure is not learning (zero-shot). Nothing is trained, so nothing is forgotten.
"""

from __future__ import annotations

from skilltokens.methods.base import Lesson, Method, Training
from skilltokens.methods.untrained import UntrainedSettings


class Untrained(Method):
    """One policy, which no lesson changes."""

    settings: UntrainedSettings
    keeps = True

    def begin(self, lesson: Lesson) -> Training:
        self.base.requires_grad_(False)
        return Training(self.base, [{"params": [], "lr": self.train.rate}], [lesson])
