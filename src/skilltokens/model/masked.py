"""A policy that is trained on several tasks at once, where each task has rows of its own in every linear map.

Each map has all rows that some task uses, and a mask says which of them are active for a window's task:

    s = m * (x K^T)        theta(s) = GeLU(tau * s / ||s||_2)        y = theta(s) V        m in {0, 1}^n

A row that is not active has score 0: it is not in the norm, GeLU(0) = 0 takes it out of the sum, and no gradient of
that window reaches it. So rows that few tasks share specialise. Which task a window is of, says its sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.pattention import EPSILON, Pattention, fused_pattention
from skilltokens.model.policy import Policy


class Active:
    """Which task each window of the batch at work is of: written by the instruction's encoder, read by the maps."""

    def __init__(self) -> None:
        self.tasks = torch.zeros(0, dtype=torch.int64)


class TellingInstruction(nn.Module):
    """The instruction's encoder, which also finds the task that each sentence is of.

    Args:
        encoder: the policy's own.
        sentences: unit vectors (sentences, language).
        tasks: (sentences,) int64, the task of each.
        active: where the tasks of a batch are written.
    """

    sentences: Tensor
    tasks: Tensor

    def __init__(self, encoder: nn.Module, sentences: Tensor, tasks: Tensor, active: Active) -> None:
        super().__init__()
        self.encoder, self.active = encoder, active
        self.register_buffer("sentences", sentences, persistent=False)
        self.register_buffer("tasks", tasks, persistent=False)

    def forward(self, embedding: Tensor) -> Tensor:
        self.active.tasks = self.tasks[(embedding @ self.sentences.T).argmax(-1)]
        return self.encoder(embedding)


class MaskedPattention(nn.Module):
    """Pattention with a mask for each task, in plain operations.

    Args:
        key, value: (rows, d_in) and (rows, d_out): parameters of its own.
        tau: the base's.
        masks: (tasks, rows) bool.
        active: says which task each window is of.
    """

    masks: Tensor

    def __init__(self, key: Tensor, value: Tensor, tau: float, masks: Tensor, active: Active) -> None:
        super().__init__()
        self.key, self.value, self.tau, self.active = nn.Parameter(key), nn.Parameter(value), tau, active
        self.register_buffer("masks", masks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, d_in) -> (B, S, d_out)"""
        scores = (x @ self.key.T) * self.masks[self.active.tasks][:, None]
        return F.gelu(self.tau * scores / (scores.norm(dim=-1, keepdim=True) + EPSILON)) @ self.value


class SomeRows(nn.Module):
    """Some rows of another map, which stay that map's parameters.

    Args:
        whole: the other map.
        rows: (n,) int64, which of its rows.
    """

    rows: Tensor

    def __init__(self, whole: MaskedPattention, rows: Tensor) -> None:
        super().__init__()
        self.whole = whole
        self.register_buffer("rows", rows)

    def forward(self, x: Tensor) -> Tensor:
        return fused_pattention(x, self.whole.key[self.rows], self.whole.value[self.rows], self.whole.tau)


def rows_alone(linear_map: Pattention, rows: Tensor) -> Pattention:
    """A map of these rows of another, copied, with the other's tau; they can be trained."""
    alone = Pattention(1, 1, 1)
    alone.tau = linear_map.tau
    alone.key = nn.Parameter(linear_map.key.detach()[rows].clone())
    alone.value = nn.Parameter(linear_map.value.detach()[rows].clone())
    return alone


def masked_policy(
    base: Policy, union: Mapping[str, Tensor], masks: Mapping[str, Tensor], sentences: Sequence[Tensor]
) -> tuple[Policy, list[Policy]]:
    """A policy to train several tasks by, each with rows of its own, and what each task's policy is meanwhile.

    Args:
        base: all but its Pattention maps is shared.
        union: for each map the rows (n,) of the base that some task uses: these are copied, and can be trained.
        masks: for each map which of them each task uses, (tasks, n) bool.
        sentences: for each task the unit vectors of what may be said in training, (wordings, language).
    """
    active, maps = Active(), base.maps()
    whole: dict[str, nn.Module] = {}
    for path, rows in union.items():
        linear_map = maps[path]
        assert isinstance(linear_map, Pattention)
        key, value = (part.detach()[rows].clone() for part in (linear_map.key, linear_map.value))
        whole[path] = MaskedPattention(key, value, linear_map.tau, masks[path], active)
    counts = torch.tensor([len(vectors) for vectors in sentences], device=base.device)
    numbers = torch.arange(len(sentences), device=base.device).repeat_interleave(counts)
    telling = TellingInstruction(base.instruction, torch.cat(list(sentences)), numbers, active)
    parts = [
        base.derive({path: _part(part, masks[path][number]) for path, part in whole.items()})
        for number in range(len(sentences))
    ]
    return base.derive({**whole, "instruction": telling}), parts


def _part(whole: nn.Module, mask: Tensor) -> SomeRows:
    assert isinstance(whole, MaskedPattention)
    return SomeRows(whole, mask.nonzero()[:, 0])
