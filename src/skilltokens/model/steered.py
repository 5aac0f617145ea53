"""A frozen policy that a task token steers, while the token is trained: what does not depend on it is computed apart.

`Policy.forward` is the plain form of the same function. Here

- the instruction's tokens see nothing but themselves, so their keys and values are computed once for all batches;
- encoders of what is observed do not know of the task token, so they are computed without gradients;
- where no goal is given and nothing is padding, attention's bias is the same for all of a batch, and all of it but the
  task token's own weight is computed once for all batches;
- of the last layer only the newest step's last token is computed, since it alone becomes the action.

The results are those of `Policy.forward` but for the order in which numbers are added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skilltokens.model.policy import Policy
from skilltokens.model.tpst import norm


class _Instruction(NamedTuple):
    """What of the instruction every batch needs."""

    token: Tensor
    """(1, 1, width)"""
    keys: list[Tensor]
    values: list[Tensor]
    """Of each layer, (1, heads, 1, width / heads)."""


class Steered:
    """The newest output of a policy whose task token alone is trained.

    Args:
        policy: with a task token; none of its other parameters requires gradients, or ever changes.
        embedding: the instruction's unit vector (language,).
    """

    def __init__(self, policy: Policy, embedding: Tensor) -> None:
        assert policy.task_token is not None
        self.policy, self.embedding = policy, embedding
        self._instruction: _Instruction | None = None
        self._plain_biases: dict[tuple[int, int, torch.device], list[Tensor]] = {}

    @staticmethod
    def fits(policy: Policy) -> bool:
        """Whether a policy's task token is all that is trained of it."""
        if policy.task_token is None:
            return False
        own = {id(parameter) for parameter in policy.task_token.parameters()}
        return all(id(parameter) in own for parameter in policy.parameters() if parameter.requires_grad)

    def __call__(self, observation: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`Policy.forward` of the newest step (B, width).

        Args:
            observation: raw features, each (B, T, *shape).
            mask: (B, T), False for the steps before the start of the episode; None: there are none.
        """
        policy, instruction = self.policy, self._instructed()
        token = policy.task_token
        assert token is not None
        with torch.no_grad():
            seen = policy.observed(observation, instruction.token)
        steering = token(observation)
        batch, length = seen.shape[:2]
        n = steering.shape[2] + seen.shape[2]
        biases = self._biases(observation, mask, length, n)
        x = torch.cat([steering, seen], 2).reshape(batch, length * n, -1)
        for i, layer in enumerate(policy.stack):
            h = norm(x)
            keys, values = (
                torch.cat([own[i].expand(batch, -1, -1, -1), new], 2)
                for own, new in zip((instruction.keys, instruction.values), layer.keys(h), strict=True)
            )
            if i == len(policy.stack) - 1:
                x, h = x[:, -1:], h[:, -1:]
            x = layer.attend(x, h, keys, values, biases[i])
        return norm(x[:, 0])

    @torch.no_grad()
    def _instructed(self) -> _Instruction:
        if self._instruction is None or self._instruction.token.device != self.policy.device:
            x = token = self.policy.instruction(self.embedding[None].to(self.policy.device))
            keys, values = [], []
            for layer in self.policy.stack:
                h = norm(x)
                for kept, new in zip((keys, values), layer.keys(h), strict=True):
                    kept.append(new)
                x = layer.attend(x, h, keys[-1], values[-1], x.new_zeros(1, 1))
            self._instruction = _Instruction(token, keys, values)
        return self._instruction

    def _biases(self, observation: Mapping[str, Tensor], mask: Tensor | None, length: int, n: int) -> list[Tensor]:
        """For each layer the attention bias (B or 1, heads, Q, 1 + length * n) of the tokens whose output is needed."""
        policy = self.policy
        goals = any(kind == "goal" and name in observation for name, kind in policy.shape.kinds.items())
        if mask is None and not goals:  # then it is the same for all of the batch
            observation = {name: value[:1] for name, value in observation.items()}
        weights = policy.masked(mask, policy.weights(observation), n)
        key = length, n, policy.device
        if key not in self._plain_biases:
            biases = [policy.bias(layer, length, n, None)[..., 1:, :].detach().contiguous() for layer in policy.stack]
            self._plain_biases[key] = [*biases[:-1], biases[-1][..., -1:, :].contiguous()]
        plain = self._plain_biases[key]
        return plain if weights is None else [bias + weights for bias in plain]
