"""A frozen base with an action head of its own for each further skill (linear probing): the least that can be trained.

The first lesson trains the base. A further skill copies the head, and if asked the encoders, and trains these alone.
"""

from __future__ import annotations

from skilltokens.methods.base import Lesson
from skilltokens.methods.grown import Grown, GrownMethod, own_copies
from skilltokens.methods.head_only import HeadOnlySettings


class HeadOnly(GrownMethod):
    """A frozen base, and for each further skill a copy of the head."""

    settings: HeadOnlySettings
    form = "rows"  # without any: only copies of the base's modules

    def grow(self, lesson: Lesson) -> Grown:
        replaced, own = own_copies(self.base, head=True, encoders=self.settings.own_encoders)
        groups = [{"params": own, "lr": self.settings.rate}]
        return Grown(self.base.derive(replaced), groups)
