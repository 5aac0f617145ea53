"""Which rows of the base a skill forks: those that do most on its demonstrations before it learns anything.

A forked row takes the place of a row of the base. The skill does not activate that row, and its own begins as an exact
copy: the function is the same, and what the base does most by can be changed without touching it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, Source, imitation
from skilltokens.model.pattention import Pattention, row_weights
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.skill import Rows
from skilltokens.types import Array

WINDOWS = 256
"""Windows of the new demonstrations that rows are judged by, evenly apart."""


def importance(
    policy: Policy,
    paths: Sequence[str],
    lesson: Lesson,
    train: TrainSettings,
    by: str,
    seed: int,
) -> dict[str, Tensor]:
    """What each active row of some maps counts for on a lesson's demonstrations, (rows,) by path.

    By use: the mean of |theta_i| over all tokens, times ||V_i||. By gradient: the norm of the loss's gradient with
    respect to (K_i, V_i). The same each time, whatever was drawn before.

    Args:
        policy: what the skill begins as; it stays as it is.
        by: "use" or "gradient".
    """
    policy = copy.deepcopy(policy.fused())
    settings = replace(train, observation_noise=0.0, precision="float32")
    source = Source(lesson, settings, policy)
    draw = np.random.default_rng([seed, lesson.index, 29])
    numbers = np.unique(np.linspace(0, len(source) - 1, WINDOWS).round().astype(np.int64))
    groups = np.array_split(numbers, max(len(numbers) // settings.batch, 1))
    maps: dict[str, Any] = {path: policy.maps()[path] for path in paths}
    batches = (source.at(group, draw) for group in groups)
    return _by_use(policy, maps, batches) if by == "use" else _by_gradient(policy, maps, batches, settings, draw)


@torch.no_grad()
def _by_use(policy: Policy, maps: Mapping[str, Pattention], batches: Iterable[Examples]) -> dict[str, Tensor]:
    sums = {path: part.key.new_zeros(len(part.key)) for path, part in maps.items()}

    def summing(path: str, part: Pattention) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def add(_: Any, inputs: tuple[Tensor, ...]) -> None:
            sums[path] += row_weights(inputs[0], part.key, part.tau).abs().flatten(0, -2).sum(0)

        return add

    for path, part in maps.items():
        part.register_forward_pre_hook(summing(path, part))
    for batch in batches:
        policy(batch.observation, batch.words, batch.mask, None, batch.stride)
    # every row of a map has seen as many tokens: their sum ranks as their mean does
    return {path: sums[path] * part.value.norm(dim=1) for path, part in maps.items()}


def _by_gradient(
    policy: Policy,
    maps: Mapping[str, Pattention],
    batches: Iterable[Examples],
    settings: TrainSettings,
    draw: np.random.Generator,
) -> dict[str, Tensor]:
    for part in maps.values():
        part.requires_grad_()
    for batch in batches:
        imitation(policy, batch, settings, draw).backward()
    norms: dict[str, Tensor] = {}
    for path, part in maps.items():
        assert part.key.grad is not None and part.value.grad is not None
        norms[path] = (part.key.grad.square().sum(1) + part.value.grad.square().sum(1)).sqrt()
    return norms


def forked_rows(rows: Rows, important: Tensor, number: int) -> tuple[Rows, Array]:
    """The active rows without the most important ones of the base, and the numbers of these in the base, rising.

    Args:
        rows: the active rows of a map.
        important: (n,) or more, what each of them counts for.
        number: how many are forked.
    """
    places = rows.of_base()
    judged = important[torch.as_tensor(places)].cpu().numpy()
    chosen = places[np.argsort(-judged, kind="stable")[:number]]
    left = np.setdiff1d(np.arange(len(rows)), chosen)
    kept = Rows(rows.sources, rows.source[left], rows.row[left])
    return kept, np.sort(rows.row[chosen])
