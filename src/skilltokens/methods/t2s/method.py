"""T2S: Tokenized Skill Scaling (arXiv 2508.01167), and what we add to it inside the same budget.

1. The policy's linear maps are Pattention (model/pattention.py, TokenFormer eq. 4-5): rows of keys and values.
2. *Base.* The first lesson trains everything from scratch (protocol A). Then the base is frozen for good.
3. *Language-guided skill scaling.* Every row carries a language key: the instruction embedding of the skill that
   learned it. For a new skill with instruction embedding e each map ranks the rows by cos(e, key) and activates the
   Top-K as shared rows, without gradients (`_shared_rows`).
4. *Specific rows.* The skill adds rows with K = 0 and V ~ N(0, value_std^2): the function is unchanged at the start
   and gradients flow to K (`_new_rows`). They alone are trained, with the skill's own small head and encoders.
   Where an earlier skill is near by its instruction (cosine of at least `near`), the new rows, head and encoders
   start as copies of that skill's, and where none is near as copies of the newest skill's (`nearest`): the new skill
   then begins with what that skill does. This is ours, not the paper's; `start="base"` is the plain form.
5. *Budget.* All that a skill trains is at most `share` of the base policy, encoders and head included; `mu` bounds
   the share of a map's active rows that may be new (`_rows_by_map`).

No forgetting, by construction: an old skill computes with its own active rows only, the norm inside Pattention runs
over those rows only, and tau is fixed when the base is made. So nothing that is added later enters its arithmetic.
The paper's rule for keys is not public; ours depends on the instruction and the stored keys alone, is fixed when the
skill is learned and stored with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson, SkillMethod, Training, count, generator_of, shorter_chunk, under
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.flow import GradientFlow
from skilltokens.model.pattention import Pattention
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.assembling import assemble, base_rows, own_modules, standing, trained
from skilltokens.skills.skill import BASE, Rows, Skill
from skilltokens.types import Array, SettingError

GROWN = {"all": ("q", "k", "v", "o", "ffn"), "attention": ("q", "k", "v", "o"), "feed-forward": ("ffn",)}
"""The setting `rows_in` -> the last part of the paths of the maps that get new rows."""


class T2S(SkillMethod):
    """A frozen base, and for each further skill some parameter tokens of its own."""

    maps = ("pattention",)
    settings: T2SSettings

    def __init__(self, base: Policy, settings: T2SSettings, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.skills: list[Skill] = []
        """All of them, those of a library that the run began from first; one an entry."""
        self.started: Skill | None = None
        """What the newest skill began as, if it is not the base."""

    def adopt(self, base: Policy, skills: Sequence[Skill]) -> None:
        super().adopt(base, skills)
        self.skills = list(self.adopted_skills)

    def check(self, lessons: int) -> None:
        if lessons < 2 and not self.adopted:
            return
        counts = self._rows_by_map(sum(tensor.numel() for tensor in self._own_tensors(self.base).values()))
        for path, new in counts.items():  # the second skill has none but the base's rows to share: the fewest of all
            rows = base_rows(self.base, path)
            self._check_mu(path, min(round(self.settings.base_rows * rows), rows), new)

    def begin(self, lesson: Lesson) -> Training:
        del self.skills[self.first_entry(lesson) :]
        if self.begins_fresh(lesson):
            self.skills += _base_skills(lesson)
            return self.begin_base(lesson)
        self.base.requires_grad_(False)
        skill = self._new_skill(lesson)
        policy = assemble(self.base, self._find, skill)
        self.skills.append(skill)
        self.enter(lesson, policy)
        mine = trained(policy, skill)
        rows = [p for name, p in mine.items() if name.endswith((".key", ".value"))]
        own = [p for name, p in mine.items() if not name.endswith((".key", ".value"))]
        groups = [{"params": rows, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        return Training(policy, [group for group in groups if group["params"]], [lesson], rule=GradientFlow(policy))

    def finish(self, lesson: Lesson) -> None:
        if self.begins_fresh(lesson):
            self.base.requires_grad_(False)
            return
        number = self.first_entry(lesson)
        skill, policy = self.skills[number], self.entries[number].policy
        tensors = {name: value.detach().clone() for name, value in trained(policy, skill).items()}
        self.skills[number] = Skill(skill.name, skill.wordings, skill.embeddings, tensors, skill.active)
        # from here on the skill is what a library would load: the same numbers, assembled afresh
        self.enter(lesson, assemble(self.base, self._find, self.skills[number]).requires_grad_(False))

    def _find(self, identity: str) -> Skill:
        """The skill of an identity, of the run's own or of the library that it began from."""
        for skill in self.skills[len(self.adopted_skills) :]:
            if skill.identity == identity:
                return skill
        return self.adopted_skills.find(identity)

    def _new_skill(self, lesson: Lesson) -> Skill:
        """The skill before its training: rows that change nothing yet, modules copied from where it starts."""
        embedding, generator = lesson.embeddings[0][0], generator_of(self.seed, lesson.index)
        start, policy = self._start(lesson)
        self.started = start
        tensors = self._own_tensors(policy)
        counts = self._rows_by_map(sum(tensor.numel() for tensor in tensors.values()))
        active: dict[str, Rows] = {}
        for path, new in counts.items():
            active[path] = self._shared_rows(path, embedding, new)
            self._check_mu(path, len(active[path]), new)
            tensors |= self._new_rows(path, new, generator)
            if self.settings.gates:
                tensors[f"{path}.gate"] = torch.ones(len(active[path]), device=self.base.device)
        if self.settings.start == "copy" and start is not None and start.form == "rows":
            old = start.tensors
            tensors |= {n: old[n].clone() for n, t in tensors.items() if n in old and old[n].shape == t.shape}
        return Skill(lesson.names[0], lesson.wordings[0], lesson.embeddings[0], tensors, active)

    def start_policy(self, number: int) -> Policy | None:
        skill, policy = self._without_token(number)
        return policy if skill.form == "rows" else None

    def _start(self, lesson: Lesson) -> tuple[Skill | None, Policy]:
        """The skill that a new one starts from, None for the base itself, and its policy without any task token."""
        number = 0 if self.settings.start == "base" else self.start_from(lesson)
        return (None, self.base) if number is None else self._without_token(number)

    def _without_token(self, number: int) -> tuple[Skill, Policy]:
        """A skill, or the one that it steers by a task token, and its policy."""
        skill = self.skills[number]
        steered = standing(self._find, skill)
        if steered is skill:
            return skill, self.entries[number].policy
        return steered, assemble(self.base, self._find, steered) if steered.tensors else self.base

    def _own_tensors(self, start: Policy) -> dict[str, Tensor]:
        """Copies of the head and the encoders of the policy that the skill starts from."""
        own_kinds = {"head": self.settings.own_head, "encoders": self.settings.own_encoders}
        return {
            f"{path}.{name}": parameter.detach().clone()
            for path in own_modules(self.base)
            if own_kinds[path.split(".")[0]]
            for name, parameter in start.get_submodule(path).named_parameters()
        }

    def _rows_by_map(self, spent: int) -> dict[str, int]:
        """How many rows each map gets, in proportion to the base's, from what the budget leaves."""
        grown = GROWN[self.settings.rows_in]
        maps = {path: part for path, part in self.base.maps().items() if path.split(".")[-1] in grown}
        sizes = {path: len(part.key) for path, part in maps.items() if isinstance(part, Pattention)}
        gated = self.settings.reuse if self.settings.gates else 0  # a reused row costs a gate
        cost = {
            path: part.key.shape[1] + part.value.shape[1] + gated
            for path, part in maps.items()
            if isinstance(part, Pattention)
        }
        left = int(self.settings.share * count(self.base)) - spent
        if self.settings.gates:
            left -= sum(round(self.settings.base_rows * size) for size in sizes.values())
        unit = left / sum(sizes[path] * cost[path] for path in sizes)
        rows = {path: int(unit * size) for path, size in sizes.items()}
        left -= sum(rows[path] * cost[path] for path in rows)
        for path in sorted(sizes, key=lambda p: -sizes[p]):  # what rounding left over: one row more, widest maps first
            if left >= cost[path]:
                rows[path], left = rows[path] + 1, left - cost[path]
        if any(number < 1 for number in rows.values()):
            raise SettingError(
                f"method.share {self.settings.share} leaves no row for some map of this policy: raise it, widen the "
                f"policy, {shorter_chunk(self.base)}or set method.own-head or method.own-encoders to False"
            )
        return rows

    def _shared_rows(self, path: str, embedding: Array, new: int) -> Rows:
        """Top-K by language: the base's rows (or a share of them) and `reuse * new` of the later skills', whose rows
        all have the language key of the skill: the nearest skill's first, of equally near ones the older one's."""
        rows = base_rows(self.base, path)
        parts = [(BASE, np.arange(min(round(self.settings.base_rows * rows), rows)))]
        left = round(self.settings.reuse * new)
        if left:
            nearness = (np.stack([skill.key for skill in self.skills]) @ embedding)[1:]
            for number in np.argsort(-nearness, kind="stable"):
                skill = self.skills[1 + number]
                used = min(skill.rows(path), left)
                parts.append((skill.identity if used else "", np.arange(used)))
                left -= used
                if not left:
                    break
        return Rows.of(parts)

    def _check_mu(self, path: str, shared: int, new: int) -> None:
        if new > self.settings.mu * (shared + new):
            raise SettingError(
                f"{new} of {shared + new} active rows in {path} would be new, more than method.mu {self.settings.mu} "
                "allows: lower method.share or raise method.mu"
            )

    def _new_rows(self, path: str, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """K = 0 and V random: theta(0) = 0 keeps the function, and dL/dK does not vanish, since it goes through V.

        Drawn on the CPU, wherever the base is: the same seed gives the same numbers.
        """
        linear_map = self.base.maps()[path]
        assert isinstance(linear_map, Pattention)
        value = torch.randn(rows, linear_map.value.shape[1], generator=generator) * self.settings.value_std
        key = torch.zeros(rows, linear_map.key.shape[1])
        return {f"{path}.key": key.to(self.base.device), f"{path}.value": value.to(self.base.device)}

    def stored(self) -> int:
        return count(self.base) + sum(skill.parameters for skill in self.skills)

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        return self.base, list(self.skills[len(self.adopted_skills) :])

    def reuse(self) -> dict[str, Any]:
        skill, sources = self.skills[-1], {"base": 0, "new": 0, "from": {}}
        if self.started is not None:
            sources["start"] = self.started.name
        for path in self.base.maps():
            rows = skill.active.get(path)
            counts = {BASE: base_rows(self.base, path)} if rows is None else rows.counts()
            sources["base"] += counts.pop(BASE, 0)
            sources["new"] += skill.rows(path)
            for identity, number in counts.items():
                name = self._find(identity).name
                sources["from"][name] = sources["from"].get(name, 0) + number
        return sources

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}
        for i, skill in enumerate(self.skills[len(self.adopted_skills) :]):
            tensors |= {f"skill.{i}.{name}": tensor for name, tensor in skill.tensors.items()}
            for path, rows in skill.active.items():
                tensors[f"active.{i}.{path}.source"] = torch.as_tensor(self._places(rows)[rows.source])
                tensors[f"active.{i}.{path}.row"] = torch.as_tensor(rows.row)
        return tensors

    def _places(self, rows: Rows) -> Array:
        """For each source of some rows its place among the skills, as a state keeps it; 0 for the base."""
        identities = [BASE, *(skill.identity for skill in self.skills[1:])] if rows.sources != (BASE,) else [BASE]
        return np.array([identities.index(name) for name in rows.sources], np.int64)

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.base.requires_grad_(False)
        self.skills = list(self.adopted_skills)
        for lesson in lessons:
            if self.begins_fresh(lesson):
                self.skills += _base_skills(lesson)
                self.enter(lesson, self.base)
                continue
            tensors = under(f"skill.{lesson.first}.", state)
            active = self._restored_rows(under(f"active.{lesson.first}.", state))
            skill = Skill(lesson.names[0], lesson.wordings[0], lesson.embeddings[0], tensors, active)
            skill = skill.to(self.base.device)
            self.skills.append(skill)
            self.enter(lesson, assemble(self.base, self._find, skill).requires_grad_(False))

    def _restored_rows(self, state: Mapping[str, Tensor]) -> dict[str, Rows]:
        """The active rows of one skill as `state` keeps them, by map."""
        active: dict[str, Rows] = {}
        for path in sorted({name.rpartition(".")[0] for name in state}):
            source, row = state[f"{path}.source"].numpy(), state[f"{path}.row"].numpy()
            numbers, places = np.unique(source, return_inverse=True)
            names = tuple(BASE if number == 0 else self.skills[number].identity for number in numbers)
            active[path] = Rows(names, places.astype(np.int64), row)
        return active


def _base_skills(lesson: Lesson) -> list[Skill]:
    """The skills that the base itself is: without tensors of their own."""
    tasks = zip(lesson.names, lesson.wordings, lesson.embeddings, strict=True)
    return [Skill(name, wordings, vectors) for name, wordings, vectors in tasks]
