"""The gradient flow of T2S: how large the gradients of shared and of specific rows are while a skill is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from skilltokens.methods.rule import Rule
from skilltokens.model.pattention import GrownPattention
from skilltokens.model.policy import Policy


class GradientFlow(Rule):
    """Writes down both norms for every grown map: that of the shared rows is exactly zero, since they are frozen."""

    def __init__(self, policy: Policy) -> None:
        self.maps = {path: part for path, part in policy.maps().items() if isinstance(part, GrownPattention)}

    def figures(self) -> dict[str, dict[str, float]]:
        return {
            path: {
                "shared": _norm([grown.frozen_key.grad, grown.frozen_value.grad]),
                "specific": _norm([grown.key.grad, grown.value.grad]),
            }
            for path, grown in self.maps.items()
        }


def _norm(gradients: Sequence[Tensor | None]) -> float:
    """Their common norm; none at all is exactly zero."""
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None))
