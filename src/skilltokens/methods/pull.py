"""Pull: a quadratic penalty that holds a policy's parameters near to where earlier lessons left them (L2, EWC)."""

from __future__ import annotations

import torch
from torch import Tensor

from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Now, Rule


class Pull(Rule):
    """Adds weight / 2 * sum over k and i of strength[k, i] * (theta[i] - anchor[k, i])^2 to the loss.

    Args:
        policy: theta is all of its parameters in one vector (P,), in their order.
        weight: 0 is no pull.
        anchor: where they are pulled to, (K, P).
        strength: how strongly each is, (K, P), or (K, 1) where all are alike.
    """

    of_parameters = True

    def __init__(self, policy: torch.nn.Module, weight: float, anchor: Tensor, strength: Tensor) -> None:
        self.policy, self.weight, self.anchor, self.strength = policy, weight, anchor, strength

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        away = (vector(self.policy) - self.anchor).square()
        return loss + 0.5 * self.weight * (self.strength * away).sum()


def vector(policy: torch.nn.Module) -> Tensor:
    """All parameters of a policy as one vector (P,)."""
    return torch.nn.utils.parameters_to_vector(policy.parameters())
