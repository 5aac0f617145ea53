"""T2S as its paper describes it (arXiv 2508.01167): a fixed pool of rows, of which each instruction activates some.

For a Pattention map with a pool of N rows, each with a key vector k_i, and an instruction with unit vector e:

1. *Top-K as a mask.* The K = active * N rows with the largest cos(e, k_i) compute, and no other does.
2. *Shared and specific.* Of these, rows that an earlier skill was trained with are shared: detached. Rows never used
   before are specific: trained. At most mu * K are specific; where more rank in the Top-K, the next used rows take
   their place, so that the pool lasts.
3. *No growth.* There are N rows. Where fewer are unused than a skill may need, the pool is used up.
4. *Keys* are drawn at random; by `keys` they are then moved towards the instructions of the skills that use the rows.
5. *First lesson.* Its tasks have a mask each, under the same mu, and all the rows that they use are trained together.

The base's maps are the pool. Its unused rows are numbers that nobody has trained; a skill's specific rows are copies of
them that it keeps itself, so that neither the base nor another skill changes. Under protocol A+ the library's base has
used its rows, and as many unused ones (`spare`) stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson, Training, count, generator_of, under
from skilltokens.methods.skilled import Entry, SkillMethod
from skilltokens.methods.t2s.flow import GradientFlow
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.methods.t2s_paper.pool import BASE_ROW, Pool, Use
from skilltokens.methods.t2s_paper.room import Room
from skilltokens.methods.t2s_paper.usage import amounts
from skilltokens.model.masked import masked_policy, rows_alone
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.assembling import assemble, own_modules, trained
from skilltokens.skills.skill import BASE, Rows, Skill
from skilltokens.types import Array, SettingError

BRANCH_ENDS = (".o", ".ffn")
"""The maps that end a residual branch, which begin smaller."""


class T2SPaper(SkillMethod):
    """One pool of rows in each map; a skill has its mask, its specific rows, and its own head and encoders."""

    maps = ("pattention",)
    settings: T2SPaperSettings

    def __init__(self, base: Policy, settings: T2SPaperSettings, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.skills: list[Skill] = []
        """All of them, those of a library that the run began from first; one an entry."""
        self.uses: list[dict[str, Use]] = []
        """Of each of the run's own skills the rows that it uses, by map."""
        self.later = 0
        """Lessons after the first that the run will have, as far as is known."""
        self.training: tuple[Policy, dict[str, Tensor]] | None = None
        """Of the first lesson at work its policy, and for each map the rows (n,) of the base that it trains."""

    def adopt(self, base: Policy, skills: Sequence[Skill]) -> None:
        super().adopt(base, skills)
        self.skills = list(self.adopted_skills)

    @property
    def room(self) -> Room:
        """How many rows there are for a skill."""
        own = sum(parameter.numel() for parameter in self._own().values())
        return Room(self.base, self.settings, self.adopted, own)

    def check(self, lessons: int) -> None:
        self.later = lessons - (0 if self.adopted else 1)
        if not self.later:
            return
        room = self.room
        free = {path: self._pool(path, 0).free for path in room.maps}
        if not self.adopted:  # the first task of the first lesson uses unused rows alone
            free = {path: number - room.active(path) for path, number in free.items()}
        room.check_holds(self.later, free)

    # ---------------------------------------------------------------- the pool

    def _pool(self, path: str, before: int) -> Pool:
        """The pool of a map as it is before the run's own skill of this number."""
        room = self.room
        pool = Pool((self.seed, list(room.maps).index(path)), self.base.shape.language, room.rows(path))
        if self.adopted:
            self._adopt_rows(pool, path)
        for number, uses in enumerate(self.uses[:before], len(self.adopted_skills)):
            use = uses[path]
            pool.grow(room.block(path), int(use.rows.max(initial=-1)) + 1, 0)
            own = self.skills[number].rows(path)
            pool.claim(use, number if own else BASE_ROW)
            self._pull(pool, use, self.skills[number])
        return pool

    def _adopt_rows(self, pool: Pool, path: str) -> None:
        """The rows of the library that the run begins from: those of its base that some skill uses, and its skills'."""
        for skill in self.adopted_skills:
            if skill.task_token is not None:  # it acts by another skill's rows
                continue
            if skill.form == "rows" and path in skill.active:
                active = skill.active[path]
                for place, source in enumerate(active.sources):
                    if source == BASE:
                        pool.owner[active.row[active.source == place]] = BASE_ROW
            else:
                pool.owner[: pool.base] = BASE_ROW
        pool.add(max(0, self.room.spare(path) - pool.free))
        for number, skill in enumerate(self.adopted_skills):
            own = skill.rows(path)
            if own:
                pool.add(own)
                rows = np.arange(len(pool) - own, len(pool))
                pool.claim(Use(rows, own), number)
                self._pull(pool, Use(rows, own), skill)

    def _pull(self, pool: Pool, use: Use, skill: Skill) -> None:
        """Moves the keys of the rows that a skill used, as the setting `keys` has it."""
        if self.settings.keys == "learned":
            pool.pull(use.specific_rows, skill.key, self.settings.key_pull)
        elif self.settings.keys == "usage" and use.amount is not None:
            pool.pull(use.rows, skill.key, self.settings.key_pull * use.amount)

    def _pick(self, embedding: Array, number: int) -> dict[str, Use]:
        """The rows of a new skill, which is the run's own of this number.

        Raises:
            SettingError: the pool is used up.
        """
        uses: dict[str, Use] = {}
        room = self.room
        for path, most in room.most().items():
            pool = self._pool(path, number)
            pool.grow(room.block(path), 0, most)
            if pool.free < most:
                raise SettingError(
                    f"the pool is used up: {pool.free} rows of {path} were never used, and a skill may need {most}: "
                    "lower method.mu, or let the pool grow with method.grow"
                )
            uses[path] = pool.pick(embedding, room.active(path), most)
        return uses

    def _rows(self, path: str, number: int, use: Use) -> Rows:
        """The shared rows of the run's own skill of this number, as skills name them."""
        pool = self._pool(path, number)
        parts = [(self._name(owner), places) for owner, places in pool.by_owner(use.shared_rows)]
        return Rows.of(parts)

    def _name(self, owner: int) -> str:
        return BASE if owner == BASE_ROW else self.skills[owner].identity

    # ---------------------------------------------------------------- the first lesson

    def _begin_base(self, lesson: Lesson) -> Training:
        """Each task's rows are trained under its own mask; the rest of the base with all of them."""
        self.base.requires_grad_()
        uses = self._base_uses(lesson)
        union = {path: np.unique(np.concatenate([use[path].rows for use in uses])) for path in uses[0]}
        rows = {path: torch.as_tensor(numbers, device=self.base.device) for path, numbers in union.items()}
        if len(uses) == 1:
            maps = self.room.maps
            policy = self.base.derive({path: rows_alone(maps[path], chosen) for path, chosen in rows.items()})
            policies = [policy]
        else:
            masks = {
                path: torch.as_tensor(np.stack([np.isin(numbers, use[path].rows) for use in uses])).to(self.base.device)
                for path, numbers in union.items()
            }
            sentences = [torch.as_tensor(np.array(vectors), device=self.base.device) for vectors in lesson.embeddings]
            policy, policies = masked_policy(self.base, rows, masks, sentences)
        self.training = policy, rows
        self._enter_base(lesson, uses, policies)
        return Training(policy, [{"params": list(policy.parameters()), "lr": self.train.rate}], [lesson])

    def _base_uses(self, lesson: Lesson) -> list[dict[str, Use]]:
        """The rows of each task of the first lesson, which leave enough of the pool for the later lessons."""
        tasks = len(lesson.names)
        uses: list[dict[str, Use]] = [{} for _ in range(tasks)]
        room = self.room
        reserved = room.most() if self.later and tasks > 1 else {}
        for path in room.maps:
            pool, active = self._pool(path, 0), room.active(path)
            for number, vectors in enumerate(lesson.embeddings):
                most = active
                if number:
                    left = max(0, pool.free - self.later * reserved.get(path, 0)) // (tasks - number)
                    most = min(room.bound(path), left)
                uses[number][path] = pool.pick(vectors[0], active, most)
                pool.claim(uses[number][path], BASE_ROW)
        return uses

    def _enter_base(self, lesson: Lesson, uses: Sequence[dict[str, Use]], policies: Sequence[Policy]) -> None:
        """Makes a skill of each task of the first lesson: rows of the base, and none of its own."""
        del self.entries[self.first_entry(lesson) :]
        empty = {name: tensor for path in self.base.maps() for name, tensor in self._no_rows(path).items()}
        tasks = zip(lesson.names, lesson.wordings, lesson.embeddings, uses, policies, strict=True)
        for name, wordings, vectors, use, policy in tasks:
            active = {path: Rows.of([(BASE, one.rows)]) for path, one in use.items()}
            self.skills.append(Skill(name, wordings, vectors, empty, active))
            self.uses.append(use)
            self.entries.append(Entry(name, wordings, vectors, policy, vectors[0]))

    def _finish_base(self, lesson: Lesson) -> None:
        assert self.training is not None
        policy, rows = self.training
        maps, learned = self.base.maps(), policy.maps()
        with torch.no_grad():
            for path, chosen in rows.items():
                for name in ("key", "value"):
                    getattr(maps[path], name)[chosen] = getattr(learned[path], name)
        self._act_by_base()

    def _act_by_base(self) -> None:
        """The skills of the first lesson act by the base, which is frozen, as a library would load them."""
        self.base.requires_grad_(False)
        for skill, entry in zip(self.skills, self.entries, strict=True):
            entry.act_by(assemble(self.base, self._find, skill).requires_grad_(False))

    # ---------------------------------------------------------------- lessons

    def begin(self, lesson: Lesson) -> Training:
        del self.skills[self.first_entry(lesson) :], self.uses[lesson.first :]
        if self.begins_fresh(lesson):
            return self._begin_base(lesson)
        self.base.requires_grad_(False)
        uses = self._pick(lesson.embeddings[0][0], lesson.first)
        tensors = {name: parameter.detach().clone() for name, parameter in self._own().items()}
        generator = generator_of(self.seed, lesson.index)
        for path, use in uses.items():
            tensors |= self._new_rows(path, use, generator)
        skill, policy = self._enter(lesson, tensors, uses)
        mine = trained(policy, skill)
        for name in [name for name, parameter in mine.items() if not parameter.numel()]:
            mine.pop(name).requires_grad_(False)  # of a map where the instruction's rows were all used before
        rows = [p for name, p in mine.items() if name.endswith((".key", ".value"))]
        own = [p for name, p in mine.items() if not name.endswith((".key", ".value"))]
        groups = [{"params": rows, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        return Training(policy, [group for group in groups if group["params"]], [lesson], rule=GradientFlow(policy))

    def finish(self, lesson: Lesson) -> None:
        if self.begins_fresh(lesson):
            self._finish_base(lesson)
        else:
            skill, policy, uses = self.skills.pop(), self.entries[-1].policy, self.uses.pop()
            tensors = {name: value.detach().clone() for name, value in trained(policy, skill).items()}
            self._enter(lesson, tensors, uses)[1].requires_grad_(False)
        if self.settings.keys == "usage":
            self._measure(lesson)

    def _enter(self, lesson: Lesson, tensors: Mapping[str, Tensor], uses: dict[str, Use]) -> tuple[Skill, Policy]:
        """Makes a skill of the one task of a lesson, and its policy, as a library would load it."""
        active = {path: self._rows(path, lesson.first, use) for path, use in uses.items()}
        skill = Skill(lesson.names[0], lesson.wordings[0], lesson.embeddings[0], tensors, active)
        policy = assemble(self.base, self._find, skill)
        self.enter(lesson, policy)
        self.skills.append(skill)
        self.uses.append(uses)
        return skill, policy

    def _measure(self, lesson: Lesson) -> None:
        """How much each task of a lesson uses its rows."""
        for number, part in enumerate(lesson.apart(), lesson.first):
            policy = self.entries[len(self.adopted_skills) + number].policy
            measured = amounts(policy, part, self.train, np.random.default_rng([self.seed, number, 3]))
            uses = self.uses[number]
            self.uses[number] = {path: replace(use, amount=measured[path]) for path, use in uses.items()}

    def _find(self, identity: str) -> Skill:
        """The skill of an identity, of the run's own or of the library that it began from."""
        for skill in self.skills[len(self.adopted_skills) :]:
            if skill.identity == identity:
                return skill
        return self.adopted_skills.find(identity)

    # ---------------------------------------------------------------- what a skill begins with

    def _own(self) -> dict[str, Tensor]:
        """The parameters of the base's head and encoders of which a skill has copies of its own."""
        own_kinds = {"head": self.settings.own_head, "encoders": self.settings.own_encoders}
        return {
            f"{path}.{name}": parameter
            for path in own_modules(self.base)
            if own_kinds[path.split(".")[0]]
            for name, parameter in self.base.get_submodule(path).named_parameters()
        }

    def _new_rows(self, path: str, use: Use, generator: torch.Generator) -> dict[str, Tensor]:
        """The specific rows of a skill in a map: the pool's own numbers, drawn as those of a new policy are.

        Drawn on the CPU, wherever the base is: the same seed gives the same numbers.
        """
        linear_map, rows = self.room.maps[path], use.specific_rows
        gain = 1 / math.sqrt(2 * len(self.base.stack)) if path.endswith(BRANCH_ENDS) else 1.0
        width_in, width_out = linear_map.key.shape[1], linear_map.value.shape[1]
        key = torch.randn(len(rows), width_in, generator=generator) / math.sqrt(width_in)
        value = torch.randn(len(rows), width_out, generator=generator) * (gain / linear_map.tau)
        key, value = key.to(self.base.device), value.to(self.base.device)
        inside = np.flatnonzero(rows < len(linear_map.key))
        at, places = torch.as_tensor(inside), torch.as_tensor(rows[inside])
        key[at], value[at] = linear_map.key.detach()[places], linear_map.value.detach()[places]
        if self.settings.start == "zero":
            key.zero_()
        return {f"{path}.key": key, f"{path}.value": value}

    def _no_rows(self, path: str) -> dict[str, Tensor]:
        linear_map = self.room.maps[path]
        return {f"{path}.{name}": getattr(linear_map, name).detach()[:0].clone() for name in ("key", "value")}

    # ---------------------------------------------------------------- what is kept

    def stored(self) -> int:
        """The base without the rows that nobody has used, and the skills' own parameters."""
        unused = 0
        for path, part in self.room.maps.items():
            pool = self._pool(path, len(self.uses))
            alone = 0 if self.adopted else int((pool.owner[: pool.base] != BASE_ROW).sum())
            unused += alone * sum(tensor.shape[1] for tensor in part.parameters())
        return count(self.base) - unused + sum(skill.parameters for skill in self.skills)

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        return self.base, list(self.skills[len(self.adopted_skills) :])

    def reuse(self) -> dict[str, Any]:
        skill, sources = self.skills[-1], {"base": 0, "new": 0, "from": {}}
        for path, rows in skill.active.items():
            counts = rows.counts()
            sources["base"] += counts.pop(BASE, 0)
            sources["new"] += skill.rows(path)
            for identity, number in counts.items():
                name = self._find(identity).name
                sources["from"][name] = sources["from"].get(name, 0) + number
        return sources

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}
        for i, (skill, uses) in enumerate(zip(self.skills[len(self.adopted_skills) :], self.uses, strict=True)):
            tensors |= {f"skill.{i}.{name}": tensor for name, tensor in skill.tensors.items() if tensor.numel()}
            for path, use in uses.items():
                tensors[f"shared.{i}.{path}"] = torch.as_tensor(use.shared_rows)
                tensors[f"specific.{i}.{path}"] = torch.as_tensor(use.specific_rows)
                if use.amount is not None:
                    tensors[f"amount.{i}.{path}"] = torch.as_tensor(use.amount)
        return tensors

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.base.requires_grad_(False)
        self.skills, self.uses = list(self.adopted_skills), []
        for lesson in lessons:
            uses = [self._kept_uses(state, lesson.first + number) for number in range(len(lesson.names))]
            if self.begins_fresh(lesson):
                self._enter_base(lesson, uses, [self.base] * len(uses))
                self._act_by_base()
                continue
            kept = {
                name: tensor.to(self.base.device) for name, tensor in under(f"skill.{lesson.first}.", state).items()
            }
            tensors = {name: tensor for path in uses[0] for name, tensor in self._no_rows(path).items()} | kept
            self._enter(lesson, tensors, uses[0])[1].requires_grad_(False)

    def _kept_uses(self, state: Mapping[str, Tensor], number: int) -> dict[str, Use]:
        """The rows that the run's own skill of this number uses, as `state` keeps them."""
        shared, specific = under(f"shared.{number}.", state), under(f"specific.{number}.", state)
        amount = {path: kept.numpy() for path, kept in under(f"amount.{number}.", state).items()}
        return {
            path: Use(torch.cat([shared[path], specific[path]]).numpy(), len(specific[path]), amount.get(path))
            for path in sorted(shared)
        }
