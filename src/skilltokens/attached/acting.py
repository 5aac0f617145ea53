"""An actor beside a foreign policy: numbers in the robot's own units in, actions in the robot's own units out.

A policy that predicts chunks is asked for one when the last is used up; the chunk's rest waits in the actor's memory.
One that keeps past observations in itself acts by its own `select_action`, and what it keeps waits in the memory while
others act. So actors of several skills may take turns, and each acts as it would alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skilltokens.attached.beside import Attached
from skilltokens.attached.drawing import drawn_from
from skilltokens.attached.keeping import put_back
from skilltokens.attached.skill import AttachedSkill
from skilltokens.attached.statistics import in_units, scaled
from skilltokens.types import Array, AttachError, Observation, ObservationError, SettingError

Prepare = Callable[[dict[str, Any]], dict[str, Any]]
"""What is done to a batch before the policy sees it, such as making tokens of its words."""
TASK = "task"


@dataclass
class ActingMemory:
    """A batch of episodes in lock-step."""

    batch: int
    steps: int = 0
    queue: deque[Tensor] = field(default_factory=deque)
    """Actions (batch, A) that were predicted and not taken yet."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What the policy keeps in itself of these episodes, while others act."""


class AttachedActor:
    """Acts by one skill of a library, or by the base; see the protocol `Actor`.

    Args:
        skill: None: the base as it is.
        statistics: of the skill, or of the base.
        features: the observations' shapes, one step; empty: they are not checked.
        words: the instruction that the policy is given, if it reads any.
        prepare: what is done to a batch before the policy sees it.
        seed: of what the policy draws; with it and the step, an episode's actions are always the same.
    """

    def __init__(
        self,
        attached: Attached,
        skill: AttachedSkill | None,
        statistics: Mapping[str, Tensor],
        features: Mapping[str, tuple[int, ...]],
        words: str = "",
        prepare: Prepare | None = None,
        seed: int = 0,
    ) -> None:
        self.attached, self.skill, self.statistics, self.features = attached, skill, statistics, features
        self.words, self.prepare, self.seed = words, prepare, seed
        self.by_chunks = predicts_chunks(attached.policy)

    def start(self, batch: int) -> ActingMemory:
        """The memory of so many fresh episodes."""
        return ActingMemory(batch)

    def act(self, observation: Observation, memory: ActingMemory) -> Array:
        """Actions (batch, A) for raw observations, each (batch, *shape).

        Raises:
            ObservationError: a feature is missing, or of another shape.
            AttachError: the policy keeps something in itself that cannot wait while others act.
        """
        batch = self._batch(observation, memory.batch)
        if not self.by_chunks:
            action = self._run(self._selected, batch, memory)
        else:
            if not memory.queue:
                chunk = self._run(self._predicted, batch, memory)
                ahead = getattr(getattr(self.attached.root, "config", None), "n_action_steps", None) or chunk.shape[1]
                memory.queue.extend(chunk[:, :ahead].transpose(0, 1))
            action = memory.queue.popleft()
        memory.steps += 1
        return self._in_units(action)

    def chunk(self, observation: Observation, memory: ActingMemory, n: int) -> Array:
        """The actions (batch, n, A) of this step and of the next n - 1, which are then taken without a look.

        Raises:
            SettingError: the policy predicts fewer actions, or needs to look at every step.
            ObservationError, AttachError: as `act`.
        """
        self.check_chunk(n)
        if n == 1:
            return self.act(observation, memory)[:, None]
        chunk = self._run(self._predicted, self._batch(observation, memory.batch), memory)
        if chunk.shape[1] < n:
            raise SettingError(f"a chunk of {n} actions is impossible: this policy predicts {chunk.shape[1]} at a time")
        memory.queue.clear()
        memory.steps += n
        return self._in_units(chunk[:, :n])

    def check_chunk(self, n: int) -> None:
        """Raises SettingError where the policy cannot act n steps ahead."""
        most = self.longest
        if n > most:
            why = f"predicts {most} at a time" if self.by_chunks else "keeps what it sees and looks at every step"
            raise SettingError(f"a chunk of {n} actions is impossible: this policy {why}")

    @property
    def longest(self) -> int:
        """How many actions it can take after one look, as far as its configuration says."""
        deltas = getattr(getattr(self.attached.root, "config", None), "action_delta_indices", None)
        return len(deltas or (0,)) if self.by_chunks else 1

    @torch.no_grad()
    def _run(
        self,
        policy: Callable[[dict[str, Any], ActingMemory], Tensor],
        batch: dict[str, Any],
        memory: ActingMemory,
    ) -> Tensor:
        """What the policy says; what it draws is a function of the seed and the step."""
        with drawn_from(self.seed * 1_000_003 + memory.steps, [self.attached.device]):
            actions = policy(batch, memory)
        if memory.steps == 0 or self.by_chunks:  # later actions may be queued in the policy
            self._check_called()
        return actions

    def _predicted(self, batch: dict[str, Any], memory: ActingMemory) -> Tensor:
        if self.attached.active is not self.skill:
            self.attached.use(self.skill)
        policy: Any = self.attached.policy
        return policy.predict_action_chunk(batch)

    def _selected(self, batch: dict[str, Any], memory: ActingMemory) -> Tensor:
        if self.attached.turn is not memory:
            self.attached.use(self.skill)
            put_back(self.attached.root, memory.kept)
            memory.kept, self.attached.turn = {}, memory
        policy: Any = self.attached.policy
        return policy.select_action(batch)

    def _in_units(self, action: Tensor) -> Array:
        return in_units(action.float(), self.statistics).cpu().numpy()

    def _check_called(self) -> None:
        """Code that was captured before the skill was chosen (a CUDA graph, an export) would act without it."""
        if self.skill is not None and self.attached.maps and not self.attached.called:
            raise AttachError(
                f"none of the {len(self.attached.maps)} maps was called while the policy acted, so the skill did "
                "nothing: the policy acts by code that was captured before; attach before it is captured"
            )

    def _batch(self, observation: Observation, number: int) -> dict[str, Any]:
        for name, shape in self.features.items():
            if name not in observation:
                raise ObservationError(f"the observation lacks {name}: the skills were taught with it")
            if np.shape(observation[name]) != (number, *shape):
                raise ObservationError(
                    f"{name} has shape {np.shape(observation[name])} where {(number, *shape)} is needed: check it"
                )
        names = self.features or observation
        seen = {name: as_tensor(np.asarray(observation[name]), self.attached.device) for name in names}
        if self.by_chunks and looks_at(self.attached.root):  # a step of its own, as in training
            seen = {name: value[:, None] for name, value in seen.items()}
        batch: dict[str, Any] = {**scaled(seen, self.statistics), TASK: [self.words] * number}
        return batch if self.prepare is None else self.prepare(batch)


def as_tensor(values: Array, device: torch.device) -> Tensor:
    """Numbers as float32; pictures (..., height, width, channels) in uint8 as (..., channels, height, width) / 255."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(device)
    if tensor.dtype == torch.uint8 and tensor.dim() >= 3:
        return tensor.movedim(-1, -3).float() / 255
    return tensor.float() if tensor.is_floating_point() else tensor


def predicts_chunks(policy: nn.Module) -> bool:
    """Whether what a policy does depends on the last observation alone, and it predicts chunks.

    One that averages the chunks of several steps (ACT's temporal ensembling) keeps them in itself.

    Raises:
        AttachError: it neither predicts chunks nor selects actions.
    """
    chunks, selects = (callable(getattr(policy, name, None)) for name in ("predict_action_chunk", "select_action"))
    if not chunks and not selects:
        raise AttachError(
            f"the {type(policy).__name__} has neither predict_action_chunk(batch) nor select_action(batch): it cannot "
            "act"
        )
    averages = getattr(getattr(policy, "config", None), "temporal_ensemble_coeff", None) is not None
    keeps = averages or looks_at(policy) not in (None, [0])
    return chunks and not (keeps and selects)


def looks_at(policy: nn.Module) -> list[int] | None:
    """Which steps a policy looks at, counted from the present one; None: the present one, without an axis for it."""
    deltas = getattr(getattr(policy, "config", None), "observation_delta_indices", None)
    return None if deltas is None else [int(delta) for delta in deltas]
