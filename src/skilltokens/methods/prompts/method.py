"""A prompt pool: Learning to Prompt (L2P, arXiv 2112.08654), on the frozen base and with equal budget.

1. *Pool.* M prompts P_j, each with a key k_j. Here the query is the instruction's sentence vector q, and a prompt is
   `length` tokens in each layer (model/prompted.py).
2. *Pick.* A skill has the `top` prompts in front whose keys have the least distance gamma(q, k) = 1 - cos(q, k)
   (eq. 3). For a new one, gamma is multiplied by how often a prompt was trained before (eq. 4, `diverse`); of those
   that never were the nearest are taken.
3. *Loss.* That of cloning, plus pull * sum of gamma(q, k_j) over the picked keys (eq. 5).

As published, prompts are shared: a later skill trains those it picks further, and pulls their keys away. So an earlier
skill may act otherwise afterwards, or have other prompts in front; it is looked up anew after each lesson, and this
method does not claim to keep what was learned (`keeps` is False). Only the frozen base, and each skill's own head and
encoders, which the paper's shared classifier is not, stay. A prompt changes attention from its first step: unlike an
adapter's, a new skill's start is not the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.methods.base import Lesson, Training, count, generator_of, shorter_chunk, under
from skilltokens.methods.examples import Examples
from skilltokens.methods.grown import own_copies
from skilltokens.methods.prompts import PromptsSettings
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.skilled import SkillMethod
from skilltokens.model.policy import Policy
from skilltokens.model.prompted import prompted
from skilltokens.settings import TrainSettings
from skilltokens.skills.skill import Skill
from skilltokens.types import Array, SettingError


class Prompts(SkillMethod):
    """A frozen base, one pool of prompts for all skills, and a head and encoders for each."""

    keeps = False
    settings: PromptsSettings

    def __init__(self, base: Policy, settings: PromptsSettings, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.prompts: list[list[nn.Parameter]] = []
        """For each prompt its tokens in each layer (length, width); empty until a skill has any."""
        self.keys: list[nn.Parameter] = []
        """For each prompt its key (language,)."""
        self.trained: list[tuple[int, ...]] = []
        """The prompts that each of the run's own skills was trained with; none for one that acts by the base."""
        self.own: list[dict[str, nn.Module]] = []
        """The head and encoders of each of the run's own skills, by path."""

    def check(self, lessons: int) -> None:
        if lessons > 1 or self.adopted:
            self._length(self._copies()[1])

    def begin(self, lesson: Lesson) -> Training:
        del self.trained[lesson.first :], self.own[lesson.first :]
        if self.begins_fresh(lesson):
            self._enter_base(lesson)
            return Training(self.base, [{"params": list(self.base.parameters()), "lr": self.train.rate}], [lesson])
        self.base.requires_grad_(False)
        modules, own = self._copies()
        self._fill(self._length(own))
        query = lesson.embeddings[0][0]
        picked = self._pick(query, new=True)
        self._add(lesson, picked, modules)
        for number in range(len(self.keys)):
            for parameter in (*self.prompts[number], self.keys[number]):
                parameter.requires_grad_(number in picked)
        keys = [self.keys[number] for number in picked]
        tokens = [parameter for number in picked for parameter in self.prompts[number]]
        groups = [{"params": [*tokens, *keys], "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        rule = Pull(keys, torch.as_tensor(np.array(query), device=self.base.device), self.settings.pull)
        return Training(self.entries[-1].policy, [group for group in groups if group["params"]], [lesson], rule)

    def finish(self, lesson: Lesson) -> None:
        self.entries[self.first_entry(lesson)].policy.requires_grad_(False)
        for key in self.keys:
            key.requires_grad_(False)
        self._look_up()

    def _enter_base(self, lesson: Lesson) -> None:
        self.enter(lesson, self.base)
        self.trained += [() for _ in lesson.names]
        self.own += [{} for _ in lesson.names]

    def _add(self, lesson: Lesson, picked: tuple[int, ...], modules: dict[str, nn.Module]) -> None:
        """Makes a skill of these prompts and modules."""
        self.enter(lesson, self._policy(picked, modules))
        self.trained.append(picked)
        self.own.append(modules)

    def _look_up(self) -> None:
        """Gives every skill the prompts that its instruction picks now."""
        for number, (picked, modules) in enumerate(zip(self.trained, self.own, strict=True)):
            if picked:
                entry = self.entries[len(self.adopted_skills) + number]
                entry.act_by(self._policy(self._pick(entry.instruction), modules).requires_grad_(False))

    def _policy(self, picked: Sequence[int], modules: Mapping[str, nn.Module]) -> Policy:
        layers = [[self.prompts[number][i] for number in picked] for i in range(len(self.base.stack))]
        return self.base.derive({**prompted(self.base, layers), **modules})

    def _pick(self, query: Array, *, new: bool = False) -> tuple[int, ...]:
        """The prompts of an instruction, in the order of the pool; `new`: for a skill that is to be learned."""
        far = np.array([1 - _cosine(query, key) for key in self.keys])
        if new and self.settings.diverse:
            used = np.bincount([n for picked in self.trained for n in picked], minlength=len(self.keys))
            far = np.where(used == 0, far - 2, far * used)  # one that nobody was trained with is nearer than any other
        return tuple(sorted(int(n) for n in np.argsort(far, kind="stable")[: self.settings.top]))

    def _fill(self, length: int) -> None:
        """Draws the pool where there is none."""
        if self.keys:
            return
        generator, width = generator_of(self.seed, -1), self.base.settings.width
        for _ in range(self.settings.pool):
            tokens = [torch.randn(length, width, generator=generator) for _ in self.base.stack]
            key = torch.randn(self.base.shape.language, generator=generator) / math.sqrt(self.base.shape.language)
            self.prompts.append([nn.Parameter(t.to(self.base.device), requires_grad=False) for t in tokens])
            self.keys.append(nn.Parameter(key.to(self.base.device), requires_grad=False))

    def _copies(self) -> tuple[dict[str, nn.Module], list[nn.Parameter]]:
        return own_copies(self.base, head=self.settings.own_head, encoders=self.settings.own_encoders)

    def _length(self, own: Sequence[nn.Parameter]) -> int:
        """Tokens of a prompt in each layer."""
        room = int(self.settings.share * count(self.base)) - sum(parameter.numel() for parameter in own)
        room -= self.settings.top * self.base.shape.language
        most = room // (self.settings.top * self.base.settings.width * len(self.base.stack))
        if most < max(1, self.settings.length):
            raise SettingError(
                f"method.share {self.settings.share} leaves no room for {self.settings.top} prompts of "
                f"{self.settings.length or 1} tokens: {shorter_chunk(self.base)}raise it, or lower method.top or "
                "method.length"
            )
        return self.settings.length or most

    def stored(self) -> int:
        pool = sum(p.numel() for tokens in self.prompts for p in tokens) + sum(key.numel() for key in self.keys)
        return self.stored_before() + pool + sum(count(part) for modules in self.own for part in modules.values())

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        """Each skill with copies of the prompts that its instruction picks at the end."""
        frozen = {id(parameter) for parameter in self.base.parameters()}
        return self.base, [
            Skill(
                entry.name,
                entry.wordings,
                entry.embeddings,
                {name: value for name, value in entry.policy.named_parameters() if id(value) not in frozen},
                form="prompted" if picked else "rows",
            )
            for entry, picked in zip(self.entries[len(self.adopted_skills) :], self.trained, strict=True)
        ]

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}
        for number, (prompt, key) in enumerate(zip(self.prompts, self.keys, strict=True)):
            tensors |= {f"pool.{number}.{i}": tokens for i, tokens in enumerate(prompt)}
            tensors[f"pool.{number}.key"] = key
        for number, (picked, modules) in enumerate(zip(self.trained, self.own, strict=True)):
            if picked:
                tensors[f"skill.{number}.picked"] = torch.tensor(picked)
            for path, module in modules.items():
                tensors |= {f"skill.{number}.{path}.{name}": value for name, value in module.state_dict().items()}
        return tensors

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.base.requires_grad_(False)
        if "pool.0.key" in state:
            self._fill(len(state["pool.0.0"]))
            for number, (prompt, key) in enumerate(zip(self.prompts, self.keys, strict=True)):
                key.copy_(state[f"pool.{number}.key"])
                for i, tokens in enumerate(prompt):
                    tokens.copy_(state[f"pool.{number}.{i}"])
        for lesson in lessons:
            kept: dict[str, Any] = under(f"skill.{lesson.first}.", state)
            if "picked" not in kept:
                self._enter_base(lesson)
                continue
            modules = self._copies()[0]
            for path, module in modules.items():
                module.load_state_dict(under(f"{path}.", kept))
            self._add(lesson, tuple(kept["picked"].tolist()), modules)
        self._look_up()


class Pull(Rule):
    """Pulls the picked keys to the instruction (eq. 5)."""

    of_parameters = True

    def __init__(self, keys: Sequence[nn.Parameter], query: Tensor, weight: float) -> None:
        self.keys, self.query, self.weight = keys, query, weight

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        far = torch.stack([1 - F.cosine_similarity(self.query, key, dim=0) for key in self.keys])
        return loss + self.weight * far.sum()


def _cosine(query: Array, key: Tensor) -> float:
    vector = key.detach().cpu().numpy()
    return float(query @ vector / (np.linalg.norm(query) * np.linalg.norm(vector)))
