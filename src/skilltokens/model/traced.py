"""The same actor, traced: torch runs its step without Python between the operations, at about half of the time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.actor import Memory, PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.step import Step
from skilltokens.types import Array, Feature, Observation

TRIALS = 3
"""Steps behind a full memory that the two are compared on, after those that fill it."""
FORMS = 8
"""How many shapes of observations are traced at most; further ones act as usual."""
Traced = Callable[..., tuple[Tensor, ...]]


class TracedActor(PolicyActor):
    """A `PolicyActor` whose step is traced, and used only where its actions have the same bits.

    The first observation of each shape, size of batch included, is what a trace is made and tried with, which takes a
    tenth of a second. Where a trial's bits differ, for policies that may be given goals, and where torch has no tracing
    any more, it acts as a `PolicyActor` does. Arguments are those of a `PolicyActor`.
    """

    def __init__(
        self, policy: Policy, embedding: Array, device: str = "cpu", features: Mapping[str, Feature] | None = None
    ) -> None:
        super().__init__(policy, embedding, device, features)
        fixed = not any(kind == "goal" for kind in self.policy.seen.values())
        self._step = Step(self.policy).to(device).eval() if fixed else None
        self._masks: dict[tuple[bool, ...], Tensor] = {}
        self._traces: dict[tuple[torch.Size, ...], Traced | None] = {}

    @property
    def exact(self) -> bool:
        """Whether there are traces, and all that were made are used."""
        return bool(self._traces) and None not in self._traces.values()

    @torch.inference_mode()
    def predict(self, observation: Observation, memory: Memory) -> Array:
        step, tensors = self._step, self.tensors(observation, len(memory.instruction))
        form = tuple(tensor.shape for tensor in tensors.values())
        if step is not None and form not in self._traces and len(self._traces) < FORMS:
            self._traces[form] = self._trace(step, observation, len(memory.instruction))
        traced = self._traces.get(form)
        if step is None or traced is None:
            return self._predicted(tensors, memory)
        return self._stepped(traced, step, tensors, memory)

    def _stepped(self, traced: Traced, step: Step, tensors: Mapping[str, Tensor], memory: Memory) -> Array:
        if memory.age == 0:
            memory.make_room(step.length - 1)
        memory.look()
        given = [tensors[name][:, 0] for name in step.names]
        actions, *rest = traced(memory.instruction, self._mask(step, memory), *given, *memory.keys, *memory.values)
        layers = len(memory.keys)
        memory.keys, memory.values = rest[:layers], rest[layers:]
        return actions.cpu().numpy()

    def _mask(self, step: Step, memory: Memory) -> Tensor:
        """The mask of what the memory has seen; there are few patterns, and each is made once."""
        seen = tuple(memory.seen)
        if seen not in self._masks:
            self._masks[seen] = step.mask(seen).to(self.device)
        return self._masks[seen]

    def _trace(self, step: Step, example: Observation, batch: int) -> Traced | None:
        """The traced step for observations like an example; None where there is none with the same bits."""
        memory = self.start(batch)
        memory.make_room(step.length - 1)
        memory.look()
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            # Tracing is deprecated; as long as torch has it, it is the fastest exact way.
            warnings.simplefilter("ignore")
            given = [tensor[:, 0].clone() for tensor in self.tensors(example, batch).values()]
            kept = [tensor.clone() for tensor in (*memory.keys, *memory.values)]
            inputs = (memory.instruction.clone(), self._mask(step, memory).clone(), *given, *kept)
            try:
                traced: Traced = torch.jit.freeze(torch.jit.trace(step, inputs, check_trace=False))
            except (RuntimeError, AttributeError, NotImplementedError):
                return None
        return traced if self._same(traced, step, example, batch) else None

    def _same(self, traced: Traced, step: Step, example: Observation, batch: int) -> bool:
        """Whether the trace gives the actions of a `PolicyActor`, bit for bit, over an episode's first steps."""
        generator = np.random.default_rng(0)
        one, other = self.start(batch), self.start(batch)
        for _ in range(self.policy.settings.history + TRIALS):
            seen = {
                name: _changed(kind, np.asarray(example[name]), generator) for name, kind in self.policy.seen.items()
            }
            tensors = self.tensors(seen, batch)
            if self._predicted(tensors, one).tobytes() != self._stepped(traced, step, tensors, other).tobytes():
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
