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
            self._masks: dict[tuple[bool, ...], Tensor] = {}
            self._traced = self._trace(example)

    @property
    def exact(self) -> bool:
        return self._traced is not None

    @torch.inference_mode()
    def predict(self, observation: Observation, memory: Memory) -> Array:
        if self._traced is None or len(memory.instruction) != self._batch:
            return super().predict(observation, memory)
        return self._stepped(self._traced, observation, memory)

    def _stepped(self, step: Callable[..., tuple[Tensor, ...]], observation: Observation, memory: Memory) -> Array:
        seen = self.tensors(observation, self._batch)
        if memory.age == 0:
            memory.make_room(self._step.length - 1)
        memory.look()
        given = [seen[name][:, 0] for name in self._step.names]
        actions, *rest = step(memory.instruction, self._mask(memory), *given, *memory.keys, *memory.values)
        layers = len(memory.keys)
        memory.keys, memory.values = rest[:layers], rest[layers:]
        return actions.cpu().numpy()

    def _mask(self, memory: Memory) -> Tensor:
        """The mask of what the memory has seen; there are few patterns, and each is made once."""
        seen = tuple(memory.seen)
        if seen not in self._masks:
            self._masks[seen] = self._step.mask(seen).to(self.device)
        return self._masks[seen]

    def _trace(self, example: Observation) -> Callable[..., tuple[Tensor, ...]] | None:
        """The traced step; None where there is none with the same bits."""
        memory = super().start(self._batch)
        memory.make_room(self._step.length - 1)
        memory.look()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # tracing is deprecated; as long as torch has it, it is the fastest exact way
            given = [self.tensors(example, self._batch)[name][:, 0] for name in self._step.names]
            inputs = (
                memory.instruction.clone(),
                self._mask(memory),
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
            seen = {
                name: _changed(kind, np.asarray(example[name]), generator) for name, kind in self.policy.seen.items()
            }
            if super().predict(seen, one).tobytes() != self._stepped(traced, seen, other).tobytes():
                return False
        return True


def _changed(kind: str, values: Array, generator: np.random.Generator) -> Array:
    """A feature like an example's, with numbers nearby."""
    if values.dtype.kind != "f":
        return values
    changed = (values + generator.normal(0, 0.1, values.shape) * (np.abs(values) + 0.01)).astype(values.dtype)
    if kind == "set":
        changed[..., 0] = values[..., 0]  # its flags
    return changed.clip(0, 1) if kind == "float image" else changed
