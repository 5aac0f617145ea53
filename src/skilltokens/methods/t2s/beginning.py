"""What a new skill begins as: rows that change nothing yet, and what it shares of the base and of earlier skills."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson, generator_of
from skilltokens.methods.gradients import Judged, along
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.budget import Part, check_mu, divide, own_shapes
from skilltokens.methods.t2s.forking import forked_rows, importance
from skilltokens.model.pattention import BEND, Pattention
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.assembling import assemble, own_modules
from skilltokens.skills.skill import BASE, Find, Rows, Skill
from skilltokens.types import Array


class Beginning:
    """How the skill of a lesson begins, the same each time.

    Args:
        base, settings, train, seed: the method's.
        skills: the earlier skills, the base first.
        find: gives the skills that those build on.
        start: the one of them that the new skill starts from.
        policy: what `start` acts by, without any task token.
    """

    def __init__(
        self,
        base: Policy,
        settings: T2SSettings,
        train: TrainSettings,
        seed: int,
        skills: Sequence[Skill],
        find: Find,
        start: Skill,
        policy: Policy,
    ) -> None:
        self.base, self.settings, self.train, self.seed = base, settings, train, seed
        self.skills, self.find, self.start = skills, find, start
        self.own = own_tensors(base, settings, policy)
        self.parts = divide(base, settings, sum(tensor.numel() for tensor in self.own.values()))
        self.copied = {path for path, part in self.parts.items() if self._copies(path, part)}
        """The maps whose rows start as copies of those of `start`."""

    def skill(self, lesson: Lesson) -> Skill:
        """The skill before its training."""
        embedding, draw = lesson.embeddings[0][0], generator_of(self.seed, lesson.index)
        shared = {path: self._shared_rows(path, embedding) for path in self.parts}
        forked, ways = self._fork(lesson, shared), self._ways(lesson, shared)
        tensors, active = dict(self.own), {p: self._with_skills(p, rows, embedding) for p, rows in shared.items()}
        for path, part in self.parts.items():
            check_mu(self.settings, path, len(active[path]), part.rows)
            rows = self._new_rows(path, forked.get(path, []), draw)  # drawn for each map: the next depend on it
            rows |= {name: along(way, rows[name]) for name, way in ways.get(path, {}).items()}
            tensors |= {name: self.start.tensors[name].clone() for name in rows} if path in self.copied else rows
            tensors |= self._gates(path, shared[path], active[path])
        return Skill(lesson.names[0], lesson.wordings[0], lesson.embeddings[0], tensors, active)

    def _copies(self, path: str, part: Part) -> bool:
        """Whether a map's rows, and its bend, fit the skill that this one starts from: as many, and of one shape."""
        start, old = self.start, self.start.tensors
        if self.settings.start != "copy" or start.form != "rows" or f"{path}.key" not in old:
            return False
        needed = {name: tuple(shape) for name, shape in own_shapes(self.base, path, part).items()}
        have = {n: tuple(t.shape) for n, t in old.items() if n in needed or n.startswith(f"{path}{BEND}")}
        factors = old.get(f"{path}.skill_gate")
        few = factors is None or len(factors) <= self.settings.reuse_skills
        return have == needed and len(start.active[path].of_base()) == part.base and few

    def _shared_rows(self, path: str, embedding: Array) -> Rows:
        """Top-K by language: the base's rows (or a share of them) and `reuse` of the later skills' for each new row,
        which have the language key of the skill: the nearest skill's first, of equally near ones the older one's.

        Where the rows are copies, the choice that belongs to them is taken over.
        """
        part, copied = self.parts[path], path in self.copied
        rows = self.start.active[path] if copied else Rows.of([(BASE, np.arange(part.base + part.forked))])
        left = round(self.settings.reuse * part.rows)
        if not left or (copied and self.settings.fork):
            return rows
        parts = [(BASE, rows.row[rows.of_base()])]
        for skill in self._by_nearness(embedding):
            used = min(skill.rows(path), left)
            parts.append((skill.identity if used else "", np.arange(used)))
            left -= used
            if not left:
                break
        return Rows.of(parts)

    def _by_nearness(self, embedding: Array) -> Iterator[Skill]:
        """The skills after the first, which is the base: the nearest by the key of their rows first."""
        nearness = (np.stack([skill.key for skill in self.skills]) @ embedding)[1:]
        for number in np.argsort(-nearness, kind="stable"):
            yield self.skills[1 + number]

    def _with_skills(self, path: str, rows: Rows, embedding: Array) -> Rows:
        """The active rows with all rows of the nearest earlier skills behind them, `reuse_skills` skills in all; that
        whose rows the new ones are copies of is not among them."""
        known = {*rows.skills(), *([self.start.identity] if path in self.copied else [])}
        left, parts = self.settings.reuse_skills - len(rows.skills()), []
        for skill in self._by_nearness(embedding) if left > 0 else ():
            if skill.rows(path) and skill.identity not in known:
                parts.append((skill.identity, np.arange(skill.rows(path))))
                known.add(skill.identity)
            if len(parts) == left:
                break
        return rows.joined(Rows.of(parts))

    def _fork(self, lesson: Lesson, shared: dict[str, Rows]) -> dict[str, Array]:
        """For each map with forked rows that are no copies of a skill's, their numbers in the base, rising; `shared`
        loses them."""
        paths = [path for path, part in self.parts.items() if part.forked and path not in self.copied]
        if not paths:
            return {}
        counts = importance(self._judged(lesson, shared), paths, self.settings.fork_by)
        forked: dict[str, Array] = {}
        for path in paths:
            shared[path], forked[path] = forked_rows(shared[path], counts[path], self.parts[path].forked)
        return forked

    def _ways(self, lesson: Lesson, shared: dict[str, Rows]) -> dict[str, dict[str, Tensor]]:
        """For each map whose bend begins along gradients: these, of its shared rows, by the name of what they make."""
        paths = [path for path, part in self.parts.items() if any(part.ranks) and path not in self.copied]
        if self.settings.bend_along != "gradient" or not paths:
            return {}
        changes = self._judged(lesson, shared).gradients(paths)
        return {
            path: {f"{path}{BEND}down.{name}": change[: self.parts[path].base] for name, change in by_name.items()}
            for path, by_name in changes.items()
        }

    def _judged(self, lesson: Lesson, shared: dict[str, Rows]) -> Judged:
        """What the skill begins as, but for new rows, which change nothing yet, with the lesson's demonstrations."""
        begun, maps = dict(self.own), self.base.maps()
        for path in self.parts:
            if path in self.copied:
                begun |= {name: t for name, t in self.start.tensors.items() if name.startswith(f"{path}.")}
            else:
                begun |= {f"{path}.{name}": getattr(maps[path], name).detach()[:0] for name in ("key", "value")}
        policy = assemble(self.base, self.find, Skill("", ("",), lesson.embeddings[0], begun, shared))
        return Judged(policy, lesson, self.train, self.seed)

    def _new_rows(self, path: str, forked: Array | Sequence[int], draw: torch.Generator) -> dict[str, Tensor]:
        """Copies of the base's rows that are forked, and behind them rows with K = 0 and V random: theta(0) = 0 keeps
        the function, and dL/dK does not vanish, since it goes through V. Of a bend, up is 0 and down random.

        Drawn on the CPU, wherever the base is: the same seed gives the same numbers.
        """
        linear_map, part, device = self.base.maps()[path], self.parts[path], self.base.device
        assert isinstance(linear_map, Pattention)
        added, copies = part.rows - part.forked, torch.as_tensor(np.asarray(forked, np.int64)).to(device)
        value = torch.randn(added, linear_map.value.shape[1], generator=draw) * self.settings.value_std
        key = torch.zeros(added, linear_map.key.shape[1])
        tensors = {
            f"{path}.key": torch.cat([linear_map.key.detach()[copies], key.to(device)]),
            f"{path}.value": torch.cat([linear_map.value.detach()[copies], value.to(device)]),
        }
        for name, shape in own_shapes(self.base, path, part).items():
            if f"{BEND}up." in name:
                tensors[name] = torch.zeros(shape, device=device)
            elif f"{BEND}down." in name:
                tensors[name] = (torch.randn(shape, generator=draw) / math.sqrt(shape[1])).to(device)
        return tensors

    def _gates(self, path: str, shared: Rows, active: Rows) -> dict[str, Tensor]:
        """Factors on shared rows: 1 for each row; for each earlier skill whose rows are shared whole 0, since these
        would change the function. Where the rows are copies, the factors that belong to them are too."""
        old: Mapping[str, Tensor] = self.start.tensors if path in self.copied else {}
        gates: dict[str, Tensor] = {}
        if self.settings.gates:
            gate, known = torch.ones(len(active), device=self.base.device), old.get(f"{path}.gate")
            if known is not None and len(known) == len(shared):
                gate[: len(known)] = known
            gates[f"{path}.gate"] = gate
        if active.skills() and self.settings.reuse_skills:
            gate, known = torch.zeros(len(active.skills()), device=self.base.device), old.get(f"{path}.skill_gate")
            gate[: len(shared.skills())] = 1.0 if known is None else known
            gates[f"{path}.skill_gate"] = gate
        return gates


def own_tensors(base: Policy, settings: T2SSettings, start: Policy) -> dict[str, Tensor]:
    """Copies of the head and the encoders of the policy that a skill starts from."""
    own_kinds = {"head": settings.own_head, "encoders": settings.own_encoders}
    return {
        f"{path}.{name}": parameter.detach().clone()
        for path in own_modules(base)
        if own_kinds[path.split(".")[0]]
        for name, parameter in start.get_submodule(path).named_parameters()
    }
