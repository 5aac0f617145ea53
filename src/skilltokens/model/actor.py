"""Acts with a cache of attention keys and values, so that an action costs one step and not a whole window."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.lowrank import merged
from skilltokens.model.policy import Policy
from skilltokens.model.step import biases, slide
from skilltokens.model.tpst import norm
from skilltokens.types import GOAL, Array, Observation


@dataclass
class Memory:
    """The cache of a batch of episodes in lock-step: keys and values of their last `history` steps in every layer."""

    keys: list[Tensor]
    values: list[Tensor]
    """For each layer (B, heads, 1 + history * n, width / heads): the instruction, then the steps, oldest first, of `n`
    tokens each."""
    instruction: Tensor
    """The instruction's token (B, 1, width)."""
    age: int = 0
    """Steps taken so far."""
    weights: Tensor | None = None
    """Logarithms of all keys' weights (B, 1, 1, 1 + history * n), see `Policy.weights`; None where all are 0."""

    def make_room(self, tokens: int) -> None:
        """Appends `tokens` entries of zeros behind the instruction's; they are masked until they are written."""
        for tensors in (self.keys, self.values):
            for i, x in enumerate(tensors):
                tensors[i] = torch.cat([x, x.new_zeros(*x.shape[:2], tokens, x.shape[3])], 2)

    def weigh(self, newest: Tensor) -> None:
        """Appends the logarithms of the weights of the newest step's tokens (B, n); the oldest step's leave."""
        if self.weights is None:
            self.weights = newest.new_zeros(len(newest), 1, 1, self.keys[0].shape[2])
        new = newest[:, None, None]
        self.weights = torch.cat([self.weights[..., :1], self.weights[..., 1 + new.shape[3] :], new], 3)


class PolicyActor:
    """A policy that acts on one instruction; implements `types.Actor`.

    Args:
        policy: the assembled policy of a skill. Its tensors are copied, so later training changes nothing here.
        embedding: the unit sentence vector (language,) of the instruction.
        device: the device to act on, whatever the policy's is.
    """

    def __init__(self, policy: Policy, embedding: Array, device: str = "cpu") -> None:
        self.policy = copy.deepcopy(merged(policy.fused())).to(device).requires_grad_(False).eval()
        self.device = device
        self.embedding = torch.as_tensor(np.array(embedding, np.float32), device=device)
        self.dtypes = {n: np.uint8 if kind == "image" else np.float32 for n, kind in policy.seen.items()}
        self.biases: dict[int, list[Tensor]] = {}

    def _biases(self, n: int) -> list[Tensor]:
        """For each layer the attention bias (heads, 1, 1 + history * n) of a full memory, `n` tokens a step."""
        if n not in self.biases:
            self.biases[n] = biases(self.policy, n)
        return self.biases[n]

    def tensors(self, observation: Observation) -> dict[str, Tensor]:
        """What the policy reads of raw observations (B, *shape), as tensors (B, 1, *shape) where it acts."""
        return {
            name: torch.from_numpy(np.array(observation[name], dtype)).to(self.device)[:, None]
            for name, dtype in self.dtypes.items()
            if name in observation or not name.startswith(GOAL)
        }

    @torch.inference_mode()
    def start(self, batch: int) -> Memory:
        """The memory of `batch` new episodes: it holds the instruction only."""
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
        """Actions (batch, A), in [-1, 1] or the robot's own units, for raw observations, each (batch, *shape)."""
        policy = self.policy
        tensors = self.tensors(observation)
        x = policy.tokens(tensors, memory.instruction)[:, 0]
        n, weights = x.shape[1], policy.weights(tensors)
        if memory.age == 0:
            memory.make_room(policy.settings.history * n)
        memory.age += 1
        unseen = max(policy.settings.history - memory.age, 0) * n
        if weights is not None:
            memory.weigh(weights[:, 0])
        for i, layer in enumerate(policy.stack):
            h = norm(x)
            keys, values = layer.keys(h)
            memory.keys[i] = slide(memory.keys[i], keys)
            memory.values[i] = slide(memory.values[i], values)
            bias = self._biases(n)[i]
            if unseen:
                bias = bias.clone()
                bias[..., 1 : 1 + unseen] = float("-inf")
            if memory.weights is not None:
                bias = bias + memory.weights
            if i == len(policy.stack) - 1:  # only the last token becomes the action
                x, h = x[:, -1:], h[:, -1:]
            x = layer.attend(x, h, memory.keys[i], memory.values[i], bias)
        return policy.actions(norm(x[:, 0])).cpu().numpy()
