"""Bottleneck adapters (Houlsby et al., arXiv 1902.00751) on the frozen base, of the same trained size as T2S and LoRA.

The first lesson trains the base. Each further skill adds to every residual branch, behind its last map and before its
sum with the stream, h + up(gelu(down(h))) with up = 0 at the start (model/bottleneck.py), and copies of the head and
the encoders. The paper also trains layer norms; those of this policy have no parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from skilltokens.methods.adapters import AdaptersSettings
from skilltokens.methods.base import Lesson, generator_of, shorter_chunk
from skilltokens.methods.grown import Grown, GrownMethod, own_copies
from skilltokens.model.bottleneck import Bottleneck, branch_ends
from skilltokens.types import SettingError


class Adapters(GrownMethod):
    """A frozen base, and for each further skill bottleneck adapters."""

    settings: AdaptersSettings
    form = "bottleneck"

    def check(self, lessons: int) -> None:
        if lessons > 1 or self.adopted:
            own = own_copies(self.base, head=self.settings.own_head, encoders=self.settings.own_encoders)[1]
            self._sizes(own)

    def grow(self, lesson: Lesson) -> Grown:
        replaced, own = own_copies(self.base, head=self.settings.own_head, encoders=self.settings.own_encoders)
        generator, width = generator_of(self.seed, lesson.index), self.base.settings.width
        adapters: list[nn.Parameter] = []
        for (path, part), size in zip(branch_ends(self.base).items(), self._sizes(own), strict=True):
            adapted = Bottleneck(part, width, size, generator).to(self.base.device)
            replaced[path] = adapted
            adapters += adapted.own()
        groups = [{"params": adapters, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        return Grown(self.base.derive(replaced), groups)

    def _sizes(self, own: Sequence[nn.Parameter]) -> list[int]:
        """Units of each adapter, the same for all but for what rounding leaves over: a unit costs two vectors of the
        token's width and a bias, and an adapter another vector of biases."""
        adapters, width = len(branch_ends(self.base)), self.base.settings.width
        units = (self.room(self.settings.share, own) - adapters * width) // (2 * width + 1)
        if units < adapters:
            raise SettingError(
                f"method.share {self.settings.share} leaves no unit for some adapter of this policy: "
                f"{shorter_chunk(self.base)}raise it"
            )
        return [units // adapters + (place < units % adapters) for place in range(adapters)]
