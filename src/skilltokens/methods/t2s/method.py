"""T2S: Tokenized Skill Scaling (arXiv 2508.01167), and what we add to it inside the same budget.

1. The policy's linear maps are Pattention (model/pattention.py, TokenFormer eq. 4-5): rows of keys and values.
2. *Base.* The first lesson trains everything from scratch (protocol A). Then the base is frozen for good.
3. *Language-guided skill scaling.* Every row carries a language key: the instruction embedding of the skill that
   learned it. For a new skill with instruction embedding e each map ranks the rows by cos(e, key) and activates the
   Top-K as shared rows, without gradients (beginning.py).
4. *Specific rows.* The skill adds rows with K = 0 and V ~ N(0, value_std^2): the function is unchanged at the start
   and gradients flow to K (beginning.py). They alone are trained, with the skill's own small head and encoders.
   Where an earlier skill is near by its instruction (cosine of at least `near`), the new rows, head and encoders
   start as copies of that skill's, and where none is near as copies of the newest skill's (`nearest`): the new skill
   then begins with what that skill does. This is ours, not the paper's; `start="base"` is the plain form.
5. *Budget.* All that a skill trains is at most `share` of the base policy, encoders and head included; `mu` bounds
   the share of a map's active rows that may be new (budget.py).

Ours too, since new rows alone cannot change what a shared row does; the last two are off unless a setting asks:

6. *Bend.* Half of the rows' budget buys a low-rank change of the shared rows, the skill's own (model/pattention.py).
7. *Fork.* Some of the new rows take the place of rows of the base, as copies, which are trained (forking.py).
8. *Gated reuse.* The rows of up to three earlier skills are shared whole, by one learned factor a skill and map.

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

from skilltokens.methods.base import Lesson, Training, count, under
from skilltokens.methods.skilled import LEARNED, SkillMethod
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.beginning import Beginning, own_tensors
from skilltokens.methods.t2s.budget import check_mu, divide
from skilltokens.methods.t2s.flow import GradientFlow
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.assembling import assemble, base_rows, standing, trained
from skilltokens.skills.skill import BASE, Rows, Skill
from skilltokens.types import Array


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
        own = own_tensors(self.base, self.settings, self.base).values()
        parts = divide(self.base, self.settings, sum(tensor.numel() for tensor in own))
        for path, part in parts.items():  # the second skill has none but the base's rows to share: the fewest of all
            check_mu(self.settings, path, part.base, part.rows)

    def begin(self, lesson: Lesson) -> Training:
        del self.skills[self.first_entry(lesson) :]
        if self.begins_fresh(lesson):
            self.skills += _base_skills(lesson)
            return self.begin_base(lesson)
        self.base.requires_grad_(False)
        self.started, policy = self._start(lesson)
        earlier = (self.skills, self._find, self.started, policy)
        skill = Beginning(self.base, self.settings, self.train, self.seed, *earlier).skill(lesson)
        policy = assemble(self.base, self._find, skill)
        self.skills.append(skill)
        self.enter(lesson, policy)
        mine = trained(policy, skill)
        rows = [p for name, p in mine.items() if name.endswith((".key", ".value"))]
        own = [p for name, p in mine.items() if not name.endswith((".key", ".value"))]
        groups = [{"params": rows, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        groups = [group for group in groups if group["params"]]
        rule = GradientFlow(policy, skill.active if self.settings.fork else {}, self.settings.gates_first)
        return self.hold(Training(policy, groups, [lesson], rule=rule))

    def finish(self, lesson: Lesson) -> None:
        if self.begins_fresh(lesson):
            self.base.requires_grad_(False)
            return
        self.keep()
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

    def start_policy(self, number: int) -> Policy | None:
        skill, policy = self._without_token(number)
        return policy if skill.form == "rows" else None

    def _start(self, lesson: Lesson) -> tuple[Skill, Policy]:
        """The skill that a new one starts from, and its policy without any task token; the first is the base itself."""
        number = None if self.settings.start in ("base", LEARNED) else self.start_from(lesson)
        return self._without_token(number or 0)

    def _without_token(self, number: int) -> tuple[Skill, Policy]:
        """A skill, or the one that it steers by a task token, and its policy."""
        skill = self.skills[number]
        steered = standing(self._find, skill)
        if steered is skill:
            return skill, self.entries[number].policy
        return steered, assemble(self.base, self._find, steered) if steered.tensors else self.base

    def stored(self) -> int:
        return count(self.base) + sum(skill.parameters for skill in self.skills) + self.start_size()

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
        return tensors | self.start_state()

    def _places(self, rows: Rows) -> Array:
        """For each source of some rows its place among the skills, as a state keeps it; 0 for the base."""
        identities = [BASE, *(skill.identity for skill in self.skills[1:])] if rows.sources != (BASE,) else [BASE]
        return np.array([identities.index(name) for name in rows.sources], np.int64)

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.restore_start(state)
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
