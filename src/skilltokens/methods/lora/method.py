"""LoRA (arXiv 2106.09685), one adapter a skill on the frozen base: the rival that stores as little as T2S.

The first lesson trains the base, as in T2S. Each further skill adds to every matrix W of the transformer a product
up @ down of low rank, with up = 0 at the start, and copies of the head and the encoders. Works on linear layers and
on the keys and values of Pattention. The trained size is the same share of the base policy.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skilltokens.methods.base import Lesson, SkillMethod, Training, count, generator_of, shorter_chunk, under
from skilltokens.methods.lora import LoraSettings
from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.policy import Policy
from skilltokens.skills.assembling import own_modules
from skilltokens.skills.skill import Skill
from skilltokens.types import SettingError


class Lora(SkillMethod):
    """A frozen base, and for each further skill a low-rank adapter."""

    settings: LoraSettings

    def check(self, lessons: int) -> None:
        if lessons > 1 or self.adopted:
            self._adapted(1)  # its size depends on the base's alone

    def begin(self, lesson: Lesson) -> Training:
        if self.begins_fresh(lesson):
            self.enter(lesson, self.base)
            return Training(self.base, [{"params": list(self.base.parameters()), "lr": self.train.rate}], [lesson])
        self.base.requires_grad_(False)
        policy, adapters, own = self._adapted(lesson.index)
        if self.settings.start == "copy":
            number = self.nearest(lesson.embeddings[0][0], self.first_entry(lesson), self.settings.near)
            target, source = self._own(policy), self._own(self.entries[number].policy)
            # A skill of the library that the run began from may be of another form, or have other ranks.
            alike = {n: t for n, t in source.items() if n in target and t.shape == target[n].shape}
            self._copy(alike, {name: target[name] for name in alike})
        self.enter(lesson, policy)
        groups = [{"params": adapters, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        return Training(policy, [group for group in groups if group["params"]], [lesson])

    def finish(self, lesson: Lesson) -> None:
        self.entries[self.first_entry(lesson)].policy.requires_grad_(False)

    def _adapted(self, index: int) -> tuple[Policy, list[nn.Parameter], list[nn.Parameter]]:
        """The policy with a fresh adapter, its adapter's parameters, and those of its own head and encoders."""
        own_kinds = {"head": self.settings.own_head, "encoders": self.settings.own_encoders}
        paths = [path for path in own_modules(self.base) if own_kinds[path.split(".")[0]]]
        replaced = {path: copy.deepcopy(self.base.get_submodule(path)).requires_grad_() for path in paths}
        own = [parameter for module in replaced.values() for parameter in module.parameters()]
        generator, adapters = generator_of(self.seed, index), []
        ranks = iter(self._ranks(sum(parameter.numel() for parameter in own)))
        for path, leaf in leaves(self.base):
            low = LowRank.fresh(leaf, [next(ranks) for _ in matrices(leaf)], generator)
            replaced[path] = low
            adapters += low.own()
        return self.base.derive(replaced), adapters, own

    def _ranks(self, spent: int) -> list[int]:
        """A rank for every matrix, the same for all but for what rounding leaves over."""
        shapes = [getattr(leaf, name).shape for _, leaf in leaves(self.base) for name in matrices(leaf)]
        left = int(self.settings.share * count(self.base)) - spent
        rank = left // sum(a + b for a, b in shapes)
        if rank < 1:
            raise SettingError(
                f"method.share {self.settings.share} leaves no rank for this policy's adapters: "
                f"{shorter_chunk(self.base)}raise it"
            )
        left -= rank * sum(a + b for a, b in shapes)
        ranks = []
        for a, b in shapes:
            more = int(left >= a + b)
            ranks.append(rank + more)
            left -= more * (a + b)
        return ranks

    def stored(self) -> int:
        own = self.entries[len(self.adopted_skills) :]
        return self.stored_before() + sum(p.numel() for entry in own for p in self._own(entry.policy).values())

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        return self.base, [
            Skill(entry.name, entry.wordings, entry.embeddings, dict(self._own(entry.policy)), form="lora")
            for entry in self.entries[len(self.adopted_skills) :]
        ]

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}
        for i, entry in enumerate(self.entries[len(self.adopted_skills) :]):
            tensors |= {f"skill.{i}.{name}": value for name, value in self._own(entry.policy).items()}
        return tensors

    @torch.no_grad()
    def _copy(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Gives a skill the numbers of another; of the base, which has none of these, nothing."""
        for name, value in target.items() if source else ():
            value.copy_(source[name])

    def _own(self, policy: Policy) -> dict[str, nn.Parameter]:
        """A skill's parameters that are not the base's, by name."""
        frozen = {id(parameter) for parameter in self.base.parameters()}
        return {name: value for name, value in policy.named_parameters() if id(value) not in frozen}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.base.requires_grad_(False)
        for lesson in lessons:
            policy = self.base
            if not self.begins_fresh(lesson):
                policy = self._adapted(lesson.index)[0]
                self._copy(under(f"skill.{lesson.first}.", state), self._own(policy))
            self.enter(lesson, policy.requires_grad_(False))
