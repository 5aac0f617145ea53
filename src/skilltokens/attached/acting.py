"""An actor beside a foreign policy: numbers in the robot's own units in, actions in the robot's own units out.

A policy that predicts chunks is asked for one when the last is used up; the chunk's rest waits in the actor's memory,
so actors of several skills may take turns. One that keeps past observations in itself acts by its own `select_action`,
and whoever comes between is told so.
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
from skilltokens.attached.skill import AttachedSkill
from skilltokens.attached.statistics import in_units, scaled
from skilltokens.types import Array, AttachError, Observation, ObservationError

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

    @torch.no_grad()
    def act(self, observation: Observation, memory: ActingMemory) -> Array:
        """Actions (batch, A) for raw observations, each (batch, *shape).

        Raises:
            ObservationError: a feature is missing, or of another shape.
            AttachError: the policy keeps past observations, and another actor came between.
        """
        batch = self._batch(observation, memory.batch)
        with torch.random.fork_rng(self._devices()):
            torch.manual_seed(self.seed * 1_000_003 + memory.steps)
            action = self._chunked(batch, memory) if self.by_chunks else self._selected(batch, memory)
        memory.steps += 1
        return in_units(action.float(), self.statistics).cpu().numpy()

    def _chunked(self, batch: dict[str, Any], memory: ActingMemory) -> Tensor:
        if not memory.queue:
            if self.attached.active is not self.skill:
                self.attached.use(self.skill)
            policy: Any = self.attached.policy
            chunk: Tensor = policy.predict_action_chunk(batch)
            self._check_called()
            ahead = getattr(getattr(policy, "config", None), "n_action_steps", None) or chunk.shape[1]
            memory.queue.extend(chunk[:, :ahead].transpose(0, 1))
        return memory.queue.popleft()

    def _selected(self, batch: dict[str, Any], memory: ActingMemory) -> Tensor:
        if memory.steps == 0:
            self.attached.use(self.skill)
            self.attached.turn = memory
        elif self.attached.turn is not memory:
            raise AttachError(
                f"the {type(self.attached.root).__name__} keeps past observations in itself, and another actor came "
                "between: let one episode end before the next begins, or load the policy twice"
            )
        policy: Any = self.attached.policy
        action = policy.select_action(batch)
        self._check_called()
        return action

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
        batch: dict[str, Any] = {**scaled(seen, self.statistics), TASK: [self.words] * number}
        return batch if self.prepare is None else self.prepare(batch)

    def _devices(self) -> list[torch.device]:
        return [] if self.attached.device.type == "cpu" else [self.attached.device]


def as_tensor(values: Array, device: torch.device) -> Tensor:
    """Numbers as float32; pictures (..., height, width, channels) in uint8 as (..., channels, height, width) / 255."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(device)
    if tensor.dtype == torch.uint8 and tensor.dim() >= 3:
        return tensor.movedim(-1, -3).float() / 255
    return tensor.float() if tensor.is_floating_point() else tensor


def predicts_chunks(policy: nn.Module) -> bool:
    """Whether what a policy does depends on the last observation alone, and it predicts chunks.

    Raises:
        AttachError: it neither predicts chunks nor selects actions.
    """
    chunks, selects = (callable(getattr(policy, name, None)) for name in ("predict_action_chunk", "select_action"))
    if not chunks and not selects:
        raise AttachError(
            f"the {type(policy).__name__} has neither predict_action_chunk(batch) nor select_action(batch): it cannot "
            "act"
        )
    config = getattr(policy, "config", None)
    looks_back = getattr(config, "observation_delta_indices", None) not in (None, [0])
    return chunks and not (looks_back and selects)
