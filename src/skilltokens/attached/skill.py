"""A skill beside a foreign policy: what stands beside each map, its own copies, and its statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from skilltokens.attached.kinds import NAMES, Beside, Kind

MAP, OWN, STATISTICS = "map.", "own.", "statistics."
"""Before the names of a skill's tensors: `map.<path>.key`, `own.<parameter>`, `statistics.<feature>.center`, ..."""


@dataclass(eq=False)
class AttachedSkill:
    """The numbers that one skill brings. It says nothing of its name or wordings: a library does."""

    kind: Kind
    beside: dict[str, Beside]
    """What stands beside each map, by the map's path."""
    own: dict[str, nn.Parameter]
    """Its own copies, by the names of the policy's parameters, in their dtypes."""
    statistics: dict[str, Tensor] = field(default_factory=dict)
    """Centers and units of what it was taught on, `<feature>.center` and `<feature>.unit`; not trained."""

    def trained(self) -> dict[str, nn.Parameter]:
        """All that is learned, by its name in a file."""
        maps = {
            f"{MAP}{path}.{name}": getattr(part, name)
            for path, part in self.beside.items()
            for name in NAMES[self.kind]
        }
        return {**maps, **{f"{OWN}{name}": copy for name, copy in self.own.items()}}

    def tensors(self) -> dict[str, Tensor]:
        """All that decides what it does, on the CPU, apart from what is learned further."""
        statistics = {f"{STATISTICS}{name}": value for name, value in self.statistics.items()}
        return {name: value.detach().cpu().clone() for name, value in {**self.trained(), **statistics}.items()}

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.trained().values())

    def groups(self, rate: float, own_rate: float) -> list[dict[str, Any]]:
        """AdamW's groups. Nothing decays: an own copy would be drawn towards 0, and not towards the base's numbers."""
        beside = [parameter for part in self.beside.values() for parameter in part.parameters()]
        groups = [{"params": beside, "lr": rate}, {"params": list(self.own.values()), "lr": own_rate}]
        return [{**group, "weight_decay": 0.0} for group in groups if group["params"]]

    def to(self, device: torch.device | str) -> AttachedSkill:
        """Moves its numbers to a device; they stay the same parameters."""
        device = torch.device(device)
        for parameter in self.trained().values():
            if parameter.device != device:  # a switch between skills looks, and moves nothing
                parameter.data = parameter.data.to(device)
        self.statistics = {name: value.to(device) for name, value in self.statistics.items()}
        return self

    def frozen(self) -> AttachedSkill:
        """It is learned no further."""
        for parameter in self.trained().values():
            parameter.requires_grad_(False)
            parameter.grad = None
        return self


def parted(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by what they are (`MAP`, `OWN`, `STATISTICS`), then by the rest of their names.

    Raises:
        ValueError: one is none of these.
    """
    parts: dict[str, dict[str, Tensor]] = {MAP: {}, OWN: {}, STATISTICS: {}}
    for name, value in tensors.items():
        for prefix, part in parts.items():
            if name.startswith(prefix):
                part[name.removeprefix(prefix)] = value
                break
        else:
            raise ValueError(f"a tensor {name!r:.100} is of no kind that a skill has")
    return parts
