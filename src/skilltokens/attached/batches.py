"""Batches for a foreign policy out of a demonstration store, as LeRobot makes them.

    <feature>        (B, *shape), or (B, n, *shape) where the policy looks at n steps
    action           (B, n, A): of this step and those that the policy predicts with it
    <name>_is_pad    (B, n) bool: the step lies outside of its episode, whose first or last one stands there
    task             B sentences

Which steps are looked at and predicted the policy's configuration says, as LeRobot's do:
`observation_delta_indices` and `action_delta_indices`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skilltokens.attached.acting import TASK, Prepare, as_tensor
from skilltokens.attached.statistics import scaled
from skilltokens.demos import DemonstrationStore
from skilltokens.types import ACTION, AttachError


@dataclass(frozen=True)
class Steps:
    """Which steps, counted from the present one, a policy looks at and predicts; None: the present one, no axis."""

    observations: tuple[int, ...] | None
    actions: tuple[int, ...]
    dropped: int = 0
    """Last steps of an episode from which no batch begins (LeRobot's `drop_n_last_frames`)."""


def knows_steps(policy: nn.Module) -> bool:
    """Whether a policy's configuration says which actions it predicts."""
    return bool(getattr(getattr(policy, "config", None), "action_delta_indices", None))


def steps_of(policy: nn.Module) -> Steps:
    """What a policy's configuration says.

    Raises:
        AttachError: it does not say which actions the policy predicts.
    """
    config = getattr(policy, "config", None)
    actions, observations = (getattr(config, f"{name}_delta_indices", None) for name in (ACTION, "observation"))
    if not actions:
        raise AttachError(
            f"the {type(policy).__name__} does not say how many actions it predicts: give it a `config` with "
            "`action_delta_indices`, such as [0, 1, 2] for chunks of three"
        )
    dropped = int(getattr(config, "drop_n_last_frames", 0) or 0)
    return Steps(None if observations is None else tuple(map(int, observations)), tuple(map(int, actions)), dropped)


class StoreBatches:
    """Batches drawn at random from a store: a step of an episode each.

    Args:
        wordings: sentences, one of which goes with each example at random.
        statistics: by which vectors and actions are scaled.
        prepare: what is done to a batch last.
        names: the features that the policy reads; None: all.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        steps: Steps,
        wordings: Sequence[str],
        statistics: Mapping[str, Tensor],
        size: int,
        device: torch.device,
        prepare: Prepare | None = None,
        names: Collection[str] | None = None,
    ) -> None:
        self.store, self.steps, self.wordings, self.statistics = store, steps, tuple(wordings), statistics
        self.size, self.device, self.prepare = size, device, prepare
        self.names = [name for name in store.features if names is None or name in names]
        lengths = np.diff(store.offsets)
        kept = np.maximum(lengths - steps.dropped, 0)
        kept = kept if kept.any() else lengths
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        """Of each episode's first step among those from which batches begin."""

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """A batch, on the policy's device."""
        drawn = generator.integers(self._starts[-1], size=self.size)
        episode = np.searchsorted(self._starts, drawn, side="right") - 1
        rows = self.store.offsets[episode] + drawn - self._starts[episode]
        first, last = self.store.offsets[episode], self.store.offsets[episode + 1] - 1
        batch: dict[str, Any] = {}
        for name in self.names:
            deltas = self.steps.actions if name == ACTION else self.steps.observations
            asked = rows[:, None] + np.asarray(deltas or (0,))
            inside = np.clip(asked, first[:, None], last[:, None])
            values = np.asarray(self.store[name][inside.reshape(-1)]).reshape(
                *inside.shape, *self.store[name].shape[1:]
            )
            if deltas is None:
                values = values[:, 0]
            else:
                batch[f"{name}_is_pad"] = torch.from_numpy(inside != asked).to(self.device)
            batch[name] = as_tensor(values, self.device)
        batch = scaled(batch, self.statistics)
        chosen = generator.integers(len(self.wordings), size=self.size)
        batch[TASK] = [self.wordings[number] for number in chosen]
        return batch if self.prepare is None else self.prepare(batch)
