"""Bottleneck adapters (Houlsby et al., arXiv 1902.00751, section 2.1): small networks at the end of residual branches.

Where a frozen branch gives h, the adapted one gives h + up(gelu(down(h))), with a narrow layer between down and up. At
the start up = 0, and nothing changes. Unlike a low-rank adapter it cannot be merged into the map that it follows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.policy import Policy
from skilltokens.model.tpst import make_linear

BRANCH_ENDS = ("o", "ffn")
"""The linear maps that end a residual branch."""


class Bottleneck(nn.Module):
    """A frozen linear map and the adapter behind it.

    Args:
        linear_map: it is shared, not copied.
        width: of its output.
        size: units of the narrow layer.
        generator: for the initial weights of `down`.
    """

    def __init__(self, linear_map: nn.Module, width: int, size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.map = linear_map
        self.down = make_linear(width, size, generator)
        self.up = make_linear(size, width, generator, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.map(x)
        return h + self.up(F.gelu(self.down(h)))

    def own(self) -> list[nn.Parameter]:
        """What is trained."""
        return [*self.down.parameters(), *self.up.parameters()]


def branch_ends(policy: Policy) -> dict[str, nn.Module]:
    """The maps that end a residual branch, by path."""
    return {path: part for path, part in policy.maps().items() if path.split(".")[-1] in BRANCH_ENDS}


def bottlenecks(base: Policy, tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """The maps with a skill's adapters, by path, made of its tensors ("layers.0.o.down.weight", ...)."""
    replaced: dict[str, nn.Module] = {}
    for path, part in branch_ends(base).items():
        own = {n: tensors[f"{path}.{n}"].clone() for n in ("down.weight", "down.bias", "up.weight", "up.bias")}
        adapted = Bottleneck(part, base.settings.width, len(own["down.bias"])).to(base.device)
        adapted.load_state_dict(own, strict=False)  # but for the map itself
        replaced[path] = adapted
    return replaced
