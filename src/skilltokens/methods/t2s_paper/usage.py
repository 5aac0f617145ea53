"""How much a skill uses each of its rows: the mean size of their weights theta on its own demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Source, imitation
from skilltokens.model.pattention import GrownPattention, row_weights
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.types import Array

BATCHES = 8
"""Batches of windows that the mean is taken over."""


def amounts(policy: Policy, lesson: Lesson, train: TrainSettings, generator: np.random.Generator) -> dict[str, Array]:
    """For each map of a skill's policy how active its rows are (rows,), the most active one being 1.

    Args:
        lesson: of this one skill.
        generator: draws the windows.
    """
    sums: dict[str, Tensor] = {}
    hooks = [
        part.register_forward_pre_hook(_adds_to(sums, path, part))
        for path, part in policy.maps().items()
        if isinstance(part, GrownPattention)
    ]
    quiet = train.quiet()  # of what the demonstrations show, not of noise on it
    source = Source(lesson, quiet, policy)
    try:
        with torch.no_grad():
            for _ in range(BATCHES):
                imitation(policy, source.draw(generator), quiet, generator)
    finally:
        for hook in hooks:
            hook.remove()
    arrays = {path: total.cpu().numpy() for path, total in sums.items()}
    return {path: (total / max(float(total.max()), 1e-12)).astype(np.float32) for path, total in arrays.items()}


def _adds_to(sums: dict[str, Tensor], path: str, part: GrownPattention) -> Callable[[nn.Module, Any], None]:
    """What adds the size of a map's weights to `sums` each time that it is called."""
    key = torch.cat([part.frozen_key, part.key.detach()])

    def add(module: nn.Module, inputs: Any) -> None:
        size = row_weights(inputs[0].float().flatten(0, -2), key, part.tau).abs().mean(0)
        sums[path] = sums[path] + size if path in sums else size

    return add
