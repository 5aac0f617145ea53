"""Where a policy would go from where a skill begins: the gradients of the loss on its demonstrations.

They say which rows a new skill needs to change most (t2s/forking.py), and along which few directions a change of low
rank gets furthest: the right singular vectors of a matrix's gradient with the largest singular values. A change
W + up @ down begins as W with up = 0; with these vectors as down its first step is the full gradient's, as near as
its rank can come. LoRA-GA (arXiv 2407.05000) begins so too, but with both factors, whose product it takes out of W;
ours leaves W alone, since other skills use it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, Source, imitation
from skilltokens.model.lowrank import matrices
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings

WINDOWS = 256
"""Windows of the new demonstrations that a policy is judged by, evenly apart."""


class Judged:
    """A policy before a skill's training, and windows of the skill's demonstrations to judge it by.

    The same each time, whatever was drawn before.

    Args:
        policy: what the skill begins as; it stays as it is.
    """

    def __init__(self, policy: Policy, lesson: Lesson, train: TrainSettings, seed: int) -> None:
        self.policy = copy.deepcopy(policy.fused()).requires_grad_(False)
        self.train = replace(train.quiet(), precision="float32")
        self.lesson = lesson
        self.draw = np.random.default_rng([seed, lesson.index, 29])

    def batches(self) -> Iterator[Examples]:
        """WINDOWS windows, or all where there are fewer, in groups of a batch."""
        source = Source(self.lesson, self.train, self.policy)
        numbers = np.unique(np.linspace(0, len(source) - 1, WINDOWS).round().astype(np.int64))
        for group in np.array_split(numbers, max(len(numbers) // self.train.batch, 1)):
            yield source.at(group, self.draw)

    def gradients(self, paths: Sequence[str]) -> dict[str, dict[str, Tensor]]:
        """The gradient of the loss with respect to each matrix of some linear maps, by path and the matrix's name."""
        parts = {path: self.policy.get_submodule(path).requires_grad_() for path in paths}
        for batch in self.batches():
            imitation(self.policy, batch, self.train, self.draw).backward()
        return {path: {name: getattr(part, name).grad for name in matrices(part)} for path, part in parts.items()}


def along(gradient: Tensor, down: Tensor) -> Tensor:
    """The right singular vectors of a gradient (a, b) with the largest singular values, as the rows of (r, b).

    Args:
        gradient: with respect to the matrix that is changed.
        down: (r, b), drawn at random: its rows stay where there are fewer vectors that the gradient knows.
    """
    _, sizes, vectors = torch.linalg.svd(gradient, full_matrices=False)
    known = min(len(down), int((sizes > 0).sum()))
    return torch.cat([vectors[:known], down[known:]])
