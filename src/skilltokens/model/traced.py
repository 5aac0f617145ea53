"""The same actor, traced: torch runs its step without Python between the operations, at about half of the time."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.actor import Memory, PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.step import Step
from skilltokens.types import Array, Observation

TRIALS = 3
"""Steps that the two are compared on: one of an episode's first, and two later ones."""


class TracedActor(PolicyActor):
    """A `PolicyActor` whose step is traced for one size of batch, and used only where its actions have the same bits.

    Attributes:
        exact: whether the trace is used. It is not where a trial's bits differed, for goals, which may be left out, for
            other sizes of batch, or where torch has no tracing any more: it then acts as a `PolicyActor` does.
    """

    def __init__(self, policy: Policy, embedding: Array, example: Observation, device: str = "cpu") -> None:
        """
        Args:
            example: an observation, each feature (batch, *shape); its size of batch is the one that is traced.
        """
        super().__init__(policy, embedding, device)
        self._batch = len(next(iter(example.values())))
        self._traced: Callable[..., tuple[Tensor, ...]] | None = None
        if not any(kind == "goal" for kind in self.policy.seen.values()):
            self._step = Step(self.policy).to(device).eval()
            history = self.policy.settings.history
            self._masks = [self._step.unseen(age).to(device) for age in range(history + 1)]
            self._traced = self._trace(example)

    @property
    def exact(self) -> bool:
        return self._traced is not None

    @torch.inference_mode()
    def act(self, observation: Observation, memory: Memory) -> Array:
        if self._traced is None or len(memory.instruction) != self._batch:
            return super().act(observation, memory)
        return self._stepped(self._traced, observation, memory)

    def _stepped(self, step: Callable[..., tuple[Tensor, ...]], observation: Observation, memory: Memory) -> Array:
        seen = self.tensors(observation)
        if memory.age == 0:
            memory.make_room(self._step.length - 1)
        memory.age += 1
        mask = self._masks[min(memory.age, len(self._masks) - 1)]
        given = [seen[name][:, 0] for name in self._step.names]
        action, *rest = step(memory.instruction, mask, *given, *memory.keys, *memory.values)
        layers = len(memory.keys)
        memory.keys, memory.values = rest[:layers], rest[layers:]
        return action.cpu().numpy()

    def _trace(self, example: Observation) -> Callable[..., tuple[Tensor, ...]] | None:
        """The traced step; None where there is none with the same bits."""
        memory = super().start(self._batch)
        memory.make_room(self._step.length - 1)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # tracing is deprecated; as long as torch has it, it is the fastest exact way
            given = [self.tensors(example)[name][:, 0] for name in self._step.names]
            inputs = (
                memory.instruction.clone(),
                self._masks[1],
                *given,
                *(t.clone() for t in memory.keys + memory.values),
            )
            try:
                traced = torch.jit.freeze(torch.jit.trace(self._step, inputs, check_trace=False))
            except (RuntimeError, AttributeError, NotImplementedError):
                return None
        return traced if self._same(traced, example) else None

    @torch.inference_mode()
    def _same(self, traced: Callable[..., tuple[Tensor, ...]], example: Observation) -> bool:
        """Whether the trace gives the actions of a `PolicyActor`, bit for bit, over an episode's first steps."""
        generator = np.random.default_rng(0)
        one, other = super().start(self._batch), super().start(self._batch)
        for _ in range(self.policy.settings.history + TRIALS):
            seen = {name: _changed(np.asarray(value), generator) for name, value in example.items()}
            if super().act(seen, one).tobytes() != self._stepped(traced, seen, other).tobytes():
                return False
        return True


def _changed(values: Array, generator: np.random.Generator) -> Array:
    """An observation like an example: pictures in other shades, numbers nearby."""
    if values.dtype.kind != "f":
        return values
    return (values + generator.normal(0, 0.1, values.shape) * (np.abs(values) + 0.01)).astype(values.dtype)
