"""Acting with a cache: one action costs one step's tokens, not a whole window's."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.policy import Policy
from skilltokens.model.tpst import norm
from skilltokens.types import GOAL, Array, Observation


@dataclass
class Memory:
    """The last `history` steps of a batch of episodes in lock-step, as each layer's keys and values."""

    keys: list[Tensor]
    values: list[Tensor]
    """For each layer (B, heads, 1 + history * n, width / heads): the instruction, then the oldest step first."""
    instruction: Tensor
    """The instruction's token (B, 1, width)."""
    age: int = 0
    """Steps taken so far."""
    weights: Tensor | None = None
    """Logarithms of all keys' weights (B, 1, 1, 1 + history * n), see `Policy.weights`; None where all are 0."""

    def make_room(self, tokens: int) -> None:
        """For so many tokens behind the instruction's: nothing has been seen yet."""
        for kept in (self.keys, self.values):
            for i, x in enumerate(kept):
                kept[i] = torch.cat([x, x.new_zeros(*x.shape[:2], tokens, x.shape[3])], 2)

    def weigh(self, newest: Tensor) -> None:
        """Takes in the weights of the newest step's tokens (B, n)."""
        if self.weights is None:
            self.weights = newest.new_zeros(len(newest), 1, 1, self.keys[0].shape[2])
        new = newest[:, None, None]
        self.weights = torch.cat([self.weights[..., :1], self.weights[..., 1 + new.shape[3] :], new], 3)


class PolicyActor:
    """A policy acting by one instruction; implements `types.Actor`.

    Args:
        policy: the policy as the skill uses it; its numbers are copied, so later training changes nothing here.
        embedding: unit sentence vector (language,) that the policy is given.
        device: where to act, wherever the policy is.
    """

    def __init__(self, policy: Policy, embedding: Array, device: str = "cpu") -> None:
        self.policy = copy.deepcopy(policy.fused()).to(device).requires_grad_(False).eval()
        self.device = device
        self.embedding = torch.as_tensor(np.asarray(embedding, np.float32), device=device)
        self.dtypes = {n: np.uint8 if kind == "image" else np.float32 for n, kind in policy.seen.items()}
        self.biases: dict[int, list[Tensor]] = {}

    def _biases(self, n: int) -> list[Tensor]:
        """For each layer the bias (heads, 1, 1 + history * n) of a full memory of steps of `n` tokens."""
        if n not in self.biases:
            back = range(self.policy.settings.history - 1, -1, -1)
            self.biases[n] = [
                torch.cat([layer.prefix, layer.distance[:, back].repeat_interleave(n, 1)], 1)[:, None].clone()
                for layer in self.policy.stack
            ]
        return self.biases[n]

    @torch.inference_mode()
    def start(self, batch: int) -> Memory:
        """The memory of `batch` fresh episodes: the instruction is all that there is to look at."""
        policy = self.policy
        x = policy.instruction(self.embedding.expand(batch, -1))
        memory = Memory([], [], x)
        alone = torch.zeros(1, 1, device=self.device)
        for layer in policy.stack:
            h = norm(x)
            keys, values = layer.keys(h)
            memory.keys.append(keys)
            memory.values.append(values)
            x = layer.attend(x, h, keys, values, alone)
        return memory

    @torch.inference_mode()
    def act(self, observation: Observation, memory: Memory) -> Array:
        """Actions (batch, A), clipped to [-1, 1], for raw observations (batch, *shape) a feature."""
        policy = self.policy
        found = {
            name: torch.from_numpy(np.array(observation[name], dtype)).to(self.device)[:, None]
            for name, dtype in self.dtypes.items()
            if name in observation or not name.startswith(GOAL)
        }
        x = policy.tokens(found, memory.instruction)[:, 0]
        n, weights = x.shape[1], policy.weights(found)
        if memory.age == 0:
            memory.make_room(policy.settings.history * n)
        memory.age += 1
        unseen = max(policy.settings.history - memory.age, 0) * n
        if weights is not None:
            memory.weigh(weights[:, 0])
        for i, layer in enumerate(policy.stack):
            h = norm(x)
            keys, values = layer.keys(h)
            memory.keys[i] = _slide(memory.keys[i], keys)
            memory.values[i] = _slide(memory.values[i], values)
            bias = self._biases(n)[i]
            if unseen:
                bias = bias.clone()
                bias[..., 1 : 1 + unseen] = float("-inf")
            if memory.weights is not None:
                bias = bias + memory.weights
            if i == len(policy.stack) - 1:  # only the last token becomes the action
                x, h = x[:, -1:], h[:, -1:]
            x = layer.attend(x, h, memory.keys[i], memory.values[i], bias)
        return policy.head(norm(x[:, 0])).clamp(-1.0, 1.0).cpu().numpy()


def _slide(kept: Tensor, new: Tensor) -> Tensor:
    """Drops the oldest step's tokens behind the instruction's and appends the new ones."""
    return torch.cat([kept[:, :, :1], kept[:, :, 1 + new.shape[2] :], new], 2)
