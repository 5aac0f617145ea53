"""LoRA (arXiv 2106.09685), one adapter a skill on the frozen base: the rival that stores as little as T2S.

The first lesson trains the base, as in T2S. Each further skill adds to every matrix W of the transformer a product
up @ down of low rank, with up = 0 at the start, and copies of the head and the encoders. Works on linear layers and
on the keys and values of Pattention. The trained size is the same share of the base policy.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from skilltokens.methods.base import Lesson, generator_of
from skilltokens.methods.gradients import Judged, along
from skilltokens.methods.grown import Grown, GrownMethod, own_copies, ranks_of
from skilltokens.methods.lora import LoraSettings
from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.policy import Policy


class Lora(GrownMethod):
    """A frozen base, and for each further skill a low-rank adapter."""

    settings: LoraSettings
    form = "lora"

    def check(self, lessons: int) -> None:
        if lessons > 1 or self.adopted:
            self._adapted(1)  # its size depends on the base's alone

    def grow(self, lesson: Lesson) -> Grown:
        policy, adapters, own = self._adapted(lesson.index)
        groups = [{"params": adapters, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        return Grown(policy, groups)

    def start(self, lesson: Lesson, policy: Policy) -> None:
        number = self.start_from(lesson) if self.settings.start == "copy" else None
        if number is not None:
            target, source = self.own(policy), self.own(self.entries[number].policy)
            # A skill of the library that the run began from may be of another form, or have other ranks.
            _copy({n: t for n, t in source.items() if n in target and t.shape == target[n].shape}, target)
        elif self.settings.along == "gradient":
            _turn(policy, Judged(self.base, lesson, self.train, self.seed))

    def start_policy(self, number: int) -> Policy | None:
        own = number >= len(self.adopted_skills) or self.adopted_skills[number].form in ("rows", self.form)
        return self.entries[number].policy if own else None

    def _adapted(self, index: int) -> tuple[Policy, list[nn.Parameter], list[nn.Parameter]]:
        """The policy with a fresh adapter, its adapter's parameters, and those of its own head and encoders."""
        replaced, own = own_copies(self.base, head=self.settings.own_head, encoders=self.settings.own_encoders)
        generator, adapters = generator_of(self.seed, index), []
        ranks = iter(ranks_of(self.base, self.room(self.settings.share, own), self.settings.share))
        for path, leaf in leaves(self.base):
            low = LowRank.fresh(leaf, [next(ranks) for _ in matrices(leaf)], generator)
            replaced[path] = low
            adapters += low.own()
        return self.base.derive(replaced), adapters, own


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Gives a skill the numbers of another, of the same names."""
    for name, value in source.items():
        target[name].copy_(value)


def _turn(policy: Policy, judged: Judged) -> None:
    """Turns fresh adapters so that they can move along the gradients of what they are beside."""
    adapters = {path: part for path, part in policy.named_modules() if isinstance(part, LowRank)}
    for path, gradients in judged.gradients(list(adapters)).items():
        for name, gradient in gradients.items():
            down = adapters[path].down[name].detach()
            down.copy_(along(gradient, down))
