"""The gradient flow of T2S: how large the gradients of shared and of specific rows are while a skill is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skilltokens.methods.rule import Now, Rule
from skilltokens.model.pattention import GrownPattention
from skilltokens.model.policy import Policy
from skilltokens.skills.skill import Rows
from skilltokens.types import RunError


class GradientFlow(Rule):
    """Writes down both norms for every grown map: that of the shared rows is exactly zero, since they are frozen. What
    a skill changes in them by its bend counts among its own.

    Args:
        policy: the skill's.
        active: its active rows where it chose them by its demonstrations. They are kept with the training, which can go
            on with no others.
        gates_first: in this share of the training only the factors on shared rows are trained.
    """

    def __init__(self, policy: Policy, active: Mapping[str, Rows] | None = None, gates_first: float = 0.0) -> None:
        self.maps = {path: part for path, part in policy.maps().items() if isinstance(part, GrownPattention)}
        self.kept = {f"active.{path}": torch.as_tensor(rows.row) for path, rows in (active or {}).items()}
        self.gates_first = gates_first
        gates = {id(gate) for part in self.maps.values() for gate in (part.gate, part.skill_gate) if gate is not None}
        self.later: list[nn.Parameter] = [p for p in policy.parameters() if id(p) not in gates] if gates else []

    def gradients(self, now: Now) -> None:
        if now.step < round(self.gates_first * now.total):
            for parameter in self.later:
                parameter.grad = None

    def figures(self) -> dict[str, dict[str, float]]:
        return {
            path: {
                "shared": _norm([grown.frozen_key.grad, grown.frozen_value.grad]),
                "specific": _norm([grown.key.grad, grown.value.grad, *_bends(grown)]),
            }
            for path, grown in self.maps.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Raises RunError where other rows were chosen than are now: their numbers do not fit."""
        for name, rows in self.kept.items():
            if name not in state or not torch.equal(state[name].cpu(), rows):
                raise RunError("it chose other rows of the base than are chosen here now")


def _bends(grown: GrownPattention) -> list[Tensor | None]:
    return [] if grown.bend is None else [parameter.grad for parameter in grown.bend.parameters()]


def _norm(gradients: Sequence[Tensor | None]) -> float:
    """Their common norm; none at all is exactly zero."""
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None))
