"""The suite's scripted expert itself, on the same test states as any method and without noise: an upper line.

Nothing is learned. The expert sees what the simulator knows, so it is no policy: a cell of it has no fingerprint, and
no library is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens.methods.base import Choice, Lesson, Method, Training
from skilltokens.methods.expert import ExpertSettings
from skilltokens.model.policy import Policy
from skilltokens.skills.skill import Skill
from skilltokens.types import Array


class Expert(Method):
    """Every instruction calls the expert."""

    settings: ExpertSettings
    keeps = True

    def begin(self, lesson: Lesson) -> Training:
        self.base.requires_grad_(False)
        return Training(self.base, [{"params": [], "lr": self.train.rate}])

    def choose(self, embedding: Array) -> Choice:
        return Choice(self.base, embedding, expert=True)

    def stored(self) -> int:
        return 0

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        return self.base, []
