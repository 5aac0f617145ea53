"""Acting with a cache: one action costs one step's tokens, not a whole window's."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.policy import Policy
from skilltokens.model.tpst import norm
from skilltokens.types import Array, Observation


@dataclass
class Memory:
    """The last `history` steps of a batch of episodes in lock-step, as each layer's keys and values."""

    keys: list[Tensor]
    values: list[Tensor]
    """For each layer (B, heads, 1 + history * per_step, width / heads): the instruction, then the oldest step first."""
    instruction: Tensor
    """The instruction's token (B, 1, width)."""
    age: int = 0
    """Steps taken so far."""


class PolicyActor:
    """A policy acting by one instruction; implements `types.Actor`.

    Args:
        policy: the policy as the skill uses it; its numbers are copied, so later training changes nothing here.
        embedding: unit sentence vector (language,) that the policy is given.
    """

    def __init__(self, policy: Policy, embedding: Array, device: str = "cpu") -> None:
        self.policy = copy.deepcopy(policy.fused()).requires_grad_(False).eval()
        self.device = device
        self.embedding = torch.as_tensor(np.asarray(embedding, np.float32), device=device)
        kinds = policy.shape.kinds
        self.dtypes = {n: np.uint8 if kinds.get(n) == "image" else np.float32 for n in policy.shape.scales}
        self.biases = self._biases()

    def _biases(self) -> list[Tensor]:
        """For each layer the bias (heads, 1, 1 + history * per_step) of a full memory."""
        history, n = self.policy.settings.history, self.policy.per_step
        with torch.inference_mode():
            return [
                torch.cat([layer.prefix, layer.distance[:, range(history - 1, -1, -1)].repeat_interleave(n, 1)], 1)[
                    :, None
                ].clone()
                for layer in self.policy.stack
            ]

    @torch.inference_mode()
    def start(self, batch: int) -> Memory:
        """The memory of `batch` fresh episodes: the instruction is all that there is to look at."""
        policy = self.policy
        steps = policy.settings.history * policy.per_step
        x = policy.instruction(self.embedding.expand(batch, -1))
        memory = Memory([], [], x)
        alone = torch.zeros(1, 1, device=self.device)
        for layer in policy.stack:
            h = norm(x)
            keys, values = layer.keys(h)
            memory.keys.append(torch.cat([keys, keys.new_zeros(*keys.shape[:2], steps, keys.shape[3])], 2))
            memory.values.append(torch.cat([values, values.new_zeros(*values.shape[:2], steps, values.shape[3])], 2))
            x = layer.attend(x, h, keys, values, alone)
        return memory

    @torch.inference_mode()
    def act(self, observation: Observation, memory: Memory) -> Array:
        """Actions (batch, A), clipped to [-1, 1], for raw observations (batch, *shape) a feature."""
        policy, n = self.policy, self.policy.per_step
        found = {
            name: torch.from_numpy(np.array(observation[name], self.dtypes[name])).to(self.device)[:, None]
            for name in policy.shape.scales
        }
        x = policy.tokens(found, memory.instruction)[:, 0]
        memory.age += 1
        unseen = max(policy.settings.history - memory.age, 0) * n
        for i, layer in enumerate(policy.stack):
            h = norm(x)
            keys, values = layer.keys(h)
            memory.keys[i] = _slide(memory.keys[i], keys)
            memory.values[i] = _slide(memory.values[i], values)
            bias = self.biases[i]
            if unseen:
                bias = bias.clone()
                bias[..., 1 : 1 + unseen] = float("-inf")
            if i == len(policy.stack) - 1:  # only the last token becomes the action
                x, h = x[:, -1:], h[:, -1:]
            x = layer.attend(x, h, memory.keys[i], memory.values[i], bias)
        return policy.head(norm(x[:, 0])).clamp(-1.0, 1.0).cpu().numpy()


def _slide(kept: Tensor, new: Tensor) -> Tensor:
    """Drops the oldest step's tokens behind the instruction's and appends the new ones."""
    return torch.cat([kept[:, :, :1], kept[:, :, 1 + new.shape[2] :], new], 2)
