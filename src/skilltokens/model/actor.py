"""Acts with a cache of attention keys and values, so that an action costs one step and not a whole window."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.lowrank import merged
from skilltokens.model.observing import Senses
from skilltokens.model.policy import Policy
from skilltokens.model.step import biases, slide
from skilltokens.model.tpst import norm
from skilltokens.types import Array, Feature, Observation, SettingError


@dataclass
class Memory:
    """The cache of a batch of episodes in lock-step: keys and values of their last `history` steps in every layer."""

    keys: list[Tensor]
    values: list[Tensor]
    """For each layer (B, heads, 1 + history * n, width / heads): the instruction, then the steps, oldest first, of `n`
    tokens each."""
    instruction: Tensor
    """The instruction's token (B, 1, width)."""
    seen: list[bool]
    """Which of the last `history` steps were looked at, the oldest first; no attention goes to the others."""
    age: int = 0
    """Steps taken so far."""
    weights: Tensor | None = None
    """Logarithms of all keys' weights (B, 1, 1, 1 + history * n), see `Policy.weights`; None where all are 0."""

    def make_room(self, tokens: int) -> None:
        """Appends `tokens` entries of zeros behind the instruction's; they are masked until they are written."""
        for tensors in (self.keys, self.values):
            for i, x in enumerate(tensors):
                tensors[i] = torch.cat([x, x.new_zeros(*x.shape[:2], tokens, x.shape[3])], 2)

    def look(self) -> None:
        """Goes on by a step that is looked at."""
        self.age += 1
        self.seen = [*self.seen[1:], True]

    def move(self, steps: int) -> None:
        """Goes on by steps that nobody looks at."""
        self.age += steps
        history = len(self.seen)
        steps = min(steps, history)
        self.seen = [*self.seen[steps:], *[False] * steps]
        n = (self.keys[0].shape[2] - 1) // history
        for tensors in (self.keys, self.values):
            for i, x in enumerate(tensors):
                tensors[i] = slide(x, x.new_zeros(*x.shape[:2], steps * n, x.shape[3]))
        if self.weights is not None:
            self.weights = slide(self.weights.mT, self.weights.new_zeros(len(self.weights), 1, steps * n, 1)).mT

    def weigh(self, newest: Tensor) -> None:
        """Appends the logarithms of the weights of the newest step's tokens (B, n); the oldest step's leave."""
        if self.weights is None:
            self.weights = newest.new_zeros(len(newest), 1, 1, self.keys[0].shape[2])
        self.weights = slide(self.weights.mT, newest[:, None, :, None]).mT


class PolicyActor:
    """A policy that acts on one instruction; implements `types.Actor`.

    Args:
        policy: the assembled policy of a skill. Its tensors are copied, so later training changes nothing here.
        embedding: the unit sentence vector (language,) of the instruction.
        device: the device to act on, whatever the policy's is.
        features: of the policy's library, which say how large its pictures are; None: any size is read.
    """

    def __init__(
        self, policy: Policy, embedding: Array, device: str = "cpu", features: Mapping[str, Feature] | None = None
    ) -> None:
        self.policy = copy.deepcopy(merged(policy.fused())).to(device).requires_grad_(False).eval()
        self.device = device
        self.embedding = torch.as_tensor(np.array(embedding, np.float32), device=device)
        self.senses = Senses.of(policy, features)
        self.biases: dict[int, list[Tensor]] = {}

    def _biases(self, n: int) -> list[Tensor]:
        """For each layer the attention bias (heads, 1, 1 + history * n) of a full memory, `n` tokens a step."""
        if n not in self.biases:
            self.biases[n] = biases(self.policy, n)
        return self.biases[n]

    def tensors(self, observation: Observation, batch: int) -> dict[str, Tensor]:
        """What the policy reads of raw observations (batch, *shape), as tensors (batch, 1, *shape) where it acts; of
        pictures that are seen through a frozen trunk what that makes of them.

        Raises:
            ObservationError: the observation is not what the policy reads.
        """
        seen = self.senses.read(observation, batch)
        tensors = {name: torch.from_numpy(array).to(self.device)[:, None] for name, array in seen.items()}
        return self.policy.looked(tensors)

    @torch.inference_mode()
    def start(self, batch: int) -> Memory:
        """The memory of `batch` new episodes: it holds the instruction only."""
        policy = self.policy
        x = policy.instruction(self.embedding.expand(batch, -1))
        memory = Memory([], [], x, [False] * policy.settings.history)
        alone = torch.zeros(1, 1, device=self.device)
        for layer in policy.stack:
            h = norm(x)
            keys, values = layer.keys(h)
            memory.keys.append(keys)
            memory.values.append(values)
            x = layer.attend(x, h, keys, values, alone)
        return memory

    def act(self, observation: Observation, memory: Memory) -> Array:
        """Actions (batch, A), in [-1, 1] or the robot's own units, for raw observations, each (batch, *shape).

        Raises:
            ObservationError: the observation is not what the policy reads. `memory` is as it was then.
        """
        return self.predict(observation, memory)[:, 0]

    @torch.inference_mode()
    def chunk(self, observation: Observation, memory: Memory, n: int) -> Array:
        """The actions (batch, n, A) of this step and of the next n - 1, which are then taken without a look.

        The memory goes on by n steps: the next observation to be given is that after the last of these actions.

        Raises:
            SettingError: the policy predicts fewer actions (`policy.chunk`), or is steered by a task token.
            ObservationError: the observation is not what the policy reads. `memory` is as it was then.
        """
        self.check_chunk(n)
        actions = self.predict(observation, memory)[:, :n]
        if n > 1:
            memory.move(n - 1)
        return actions

    def check_chunk(self, n: int) -> None:
        """Raises SettingError where the policy cannot act n steps ahead."""
        most = self.policy.settings.chunk
        if not 1 <= n <= most:
            raise SettingError(
                f"a chunk of {n} actions is impossible: this policy predicts {most} at a time, so use "
                f"{'1' if most == 1 else f'1 to {most}'}, or learn one with a larger policy.chunk"
            )
        if n > 1 and self.policy.task_token is not None:
            raise SettingError(
                f"a chunk of {n} actions is impossible: a task token steers this policy, and it learned to with a look "
                "at every step, so use 1"
            )

    @torch.inference_mode()
    def predict(self, observation: Observation, memory: Memory) -> Array:
        """All that the policy predicts (batch, policy.chunk, A): this step's actions and the next ones'.

        The memory goes on by this step alone.

        Raises:
            ObservationError: the observation is not what the policy reads. `memory` is as it was then.
        """
        return self._predicted(self.tensors(observation, len(memory.instruction)), memory)

    def _predicted(self, tensors: Mapping[str, Tensor], memory: Memory) -> Array:
        """The same for what was read of the observation."""
        policy = self.policy
        x = policy.tokens(tensors, memory.instruction)[:, 0]
        n, weights = x.shape[1], policy.weights(tensors)
        if memory.age == 0:
            memory.make_room(policy.settings.history * n)
        memory.look()
        unseen = [1 + n * i + token for i, seen in enumerate(memory.seen) if not seen for token in range(n)]
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
                bias[..., unseen] = float("-inf")
            if memory.weights is not None:
                bias = bias + memory.weights
            if i == len(policy.stack) - 1:  # only the last token becomes the action
                x, h = x[:, -1:], h[:, -1:]
            x = layer.attend(x, h, memory.keys[i], memory.values[i], bias)
        return policy.chunks(norm(x[:, 0])).cpu().numpy()
