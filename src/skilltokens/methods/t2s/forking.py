"""Which rows of the base a skill forks: those that do most on its demonstrations before it learns anything.

A forked row takes the place of a row of the base. The skill does not activate that row, and its own begins as an exact
copy: the function is the same, and what the base does most by can be changed without touching it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.gradients import Judged
from skilltokens.model.pattention import Pattention, row_weights
from skilltokens.skills.skill import Rows
from skilltokens.types import Array


def importance(judged: Judged, paths: Sequence[str], by: str) -> dict[str, Tensor]:
    """What each active row of some maps counts for on a lesson's demonstrations, (rows,) by path.

    By use: the mean of |theta_i| over all tokens, times ||V_i||. By gradient: the norm of the loss's gradient with
    respect to (K_i, V_i).

    Args:
        judged: what the skill begins as, and its demonstrations.
        by: "use" or "gradient".
    """
    return _by_use(judged, paths) if by == "use" else _by_gradient(judged, paths)


@torch.no_grad()
def _by_use(judged: Judged, paths: Sequence[str]) -> dict[str, Tensor]:
    maps: dict[str, Any] = {path: judged.policy.maps()[path] for path in paths}
    sums = {path: part.key.new_zeros(len(part.key)) for path, part in maps.items()}

    def summing(path: str, part: Pattention) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def add(_: Any, inputs: tuple[Tensor, ...]) -> None:
            sums[path] += row_weights(inputs[0], part.key, part.tau).abs().flatten(0, -2).sum(0)

        return add

    for path, part in maps.items():
        part.register_forward_pre_hook(summing(path, part))
    for batch in judged.batches():
        judged.policy(batch.observation, batch.words, batch.mask, None, batch.stride)
    # every row of a map has seen as many tokens: their sum ranks as their mean does
    return {path: sums[path] * part.value.norm(dim=1) for path, part in maps.items()}


def _by_gradient(judged: Judged, paths: Sequence[str]) -> dict[str, Tensor]:
    changes = judged.gradients(paths)
    return {path: torch.cat(list(by_name.values()), 1).norm(dim=1) for path, by_name in changes.items()}


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
