"""The same actor, traced: torch runs its step without Python between the operations, at 0.6 to 0.7 of the time."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

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
"""How many forms of observations an actor is traced for at most; for further ones it acts as usual."""
GRAPHS = 32
"""How many traces a process makes at most: torch never frees one, and each takes some 6 MB."""
WORTH = 64
"""Steps of a batch of ten after which a trial was worth its time, where the trace is there."""
Traced = Callable[..., tuple[Tensor, ...]]
Form = tuple[tuple[int, ...], ...]
_graphs: dict[str, Traced] = {}
"""The traces of this process by what they were made of; they hold no policy's numbers, so like policies share one."""


class TracedActor(PolicyActor):
    """A `PolicyActor` whose step is traced, and used only where its actions have the same bits.

    The first trace of a kind of policy and form of observations, size of batch included, takes a tenth of a second;
    each policy is then compared over an episode's first steps, which takes as long as some 25 steps. Where the bits
    differ, for policies that may be given goals, and where torch has no tracing any more, it acts as a `PolicyActor`
    does.

    Args:
        after: so many steps of one form are done as a `PolicyActor` does them, before a trace is tried: what takes
            few steps does not pay for one.
        policy, embedding, device, features: as for a `PolicyActor`.
    """

    def __init__(
        self,
        policy: Policy,
        embedding: Array,
        device: str = "cpu",
        features: Mapping[str, Feature] | None = None,
        *,
        after: int = 0,
    ) -> None:
        super().__init__(policy, embedding, device, features)
        kinds = self.policy.seen
        self.after, self._sets = after, [name for name, kind in kinds.items() if kind == "set"]
        # What a task token is remembered by has no place in a trace, so none of its episodes may change between two.
        fixed = "goal" not in kinds.values() and not (self._sets and self.policy.task_token)
        self._step = Step(self.policy).to(device).eval() if fixed else None
        self._masks: dict[tuple[bool, ...], Tensor] = {}
        self._traces: dict[Form, Traced | None] = {}
        self._looks: Counter[Form] = Counter()

    @property
    def exact(self) -> bool:
        """Whether there are traces, and all that were made are used."""
        return bool(self._traces) and None not in self._traces.values()

    @torch.inference_mode()
    def predict(self, observation: Observation, memory: Memory) -> Array:
        step, tensors = self._step, self.tensors(observation, len(memory.instruction))
        form = self._form(tensors)
        if step is not None and form not in self._traces and len(self._traces) < FORMS:
            self._looks[form] += 1
            if self._looks[form] > self.after:
                self._traces[form] = self._trace(step, observation, len(memory.instruction))
        traced = self._traces.get(form)
        if step is None or traced is None:
            return self._predicted(tensors, memory)
        return self._stepped(traced, step, tensors, memory)

    def _form(self, tensors: Mapping[str, Tensor]) -> Form:
        """All of an observation that bits may depend on but for its numbers: the shapes of its features, and how many
        slots of its sets are filled, since the usual actor leaves out those that are empty in all rows."""
        filled = [int((tensors[name][..., 0] > 0.5).sum(-1).max()) for name in self._sets]
        return (*(tensor.shape for tensor in tensors.values()), tuple(filled))

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
            tensors = self.tensors(example, batch)
            given = [tensors[name][:, 0].clone() for name in step.names]
            kept = [tensor.clone() for tensor in (*memory.keys, *memory.values)]
            inputs = (memory.instruction.clone(), self._mask(step, memory).clone(), *given, *kept)
            try:
                graph = _graph(step, inputs)
            except (RuntimeError, AttributeError, NotImplementedError):
                graph = None
        if graph is None:
            return None
        traced = functools.partial(graph, *(held[name] for held, name in _numbers(step)))
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


def _graph(step: Step, inputs: tuple[Tensor, ...]) -> Traced | None:
    """The trace of a step as a function of the step's own numbers (`_numbers`) and of its inputs; None if there are too
    many already."""
    places = _numbers(step)
    tensors = (*(held[name] for held, name in places), *inputs)
    key = _kind(step) + repr([(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors])
    if key not in _graphs and len(_graphs) < GRAPHS:
        like = copy.deepcopy(step)
        places = _numbers(like)

        def run(*arguments: Tensor) -> tuple[Tensor, ...]:
            for (held, name), number in zip(places, arguments, strict=False):
                held[name] = number
            return like(*arguments[len(places) :])

        traced: Any = torch.jit.trace(run, tensors, check_trace=False)
        _graphs[key] = traced
    return _graphs.get(key)


def _numbers(step: Step) -> list[tuple[dict[str, Any], str]]:
    """Where a step's parameters and buffers stand: in which module's, and by what name."""
    kinds: list[dict[str, Any]] = [kind for m in step.modules() for kind in (m._parameters, m._buffers)]
    return [(held, name) for held in kinds for name, tensor in held.items() if tensor is not None]


def _kind(step: Step) -> str:
    """All of a step but its tensors that a trace depends on: its modules with their own numbers and names."""
    plain = (bool, int, float, str, tuple)
    modules = [
        (path, type(module).__name__, [pair for pair in vars(module).items() if isinstance(pair[1], plain)])
        for path, module in step.named_modules()
    ]
    return repr((step.policy.settings, modules))
