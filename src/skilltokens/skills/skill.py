"""A skill: what one task added to the base policy, and how the two make the policy that acts.

A skill is data, not a model: named tensors, and for every map the rows of earlier skills that it reuses. `assemble`
turns it into a policy that shares the base's modules and holds the skill's own. Rows are numbered in one pool a map:
the base's rows first, then those of each later skill in the order learned; numbers never change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.pattention import GrownPattention, Pattention
from skilltokens.model.policy import Policy
from skilltokens.model.prompt import TaskToken
from skilltokens.types import Array


@dataclass(frozen=True)
class Prompt:
    """A task token's encoder (model/prompt.py) and the skill that it steers."""

    on: str
    """The skill whose policy is steered, with that skill's instruction."""
    features: Mapping[str, int]
    """The vectors that the encoder reads, and their widths."""
    tokens: int = 1
    hidden: tuple[int, ...] = ()
    """Widths of the encoder's hidden layers."""
    pictures: tuple[str, ...] = ()
    """Pictures that the encoder reads besides."""


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare by: a skill is equal to itself alone
class Skill:
    """What a library keeps of one skill. The first skill is the base itself: it has no tensors of its own."""

    name: str
    wordings: tuple[str, ...]
    """The instruction, then the other wordings it was trained with."""
    embeddings: Array
    """Unit sentence vectors of the wordings (wordings, language). The first is the language key of the skill's rows."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Trained numbers by their name in the assembled policy: "layers.0.q.key", "head.map.weight", ..."""
    active: Mapping[str, Array] = field(default_factory=dict)
    """For each map, the pool's rows that it reuses, in the order of its computation (int64)."""
    prompt: Prompt | None = None
    """Of a skill learned from reward: the encoder of its task token, whose numbers are the tensors "prompt.*"."""
    form: Literal["rows", "lora", "whole"] = "rows"
    """What the tensors are beside copies of the base's modules: rows (T2S), low-rank adapters, or a whole policy."""

    def rows(self, path: str) -> int:
        """Specific rows in the map at `path`; other forms than rows have none."""
        if self.form != "rows":
            return 0
        key = self.tensors.get(f"{path}.key")
        return 0 if key is None else len(key)

    @property
    def parameters(self) -> int:
        """Numbers trained for this skill; what a norm has counted is none."""
        return sum(tensor.numel() for name, tensor in self.tensors.items() if not name.startswith("prompt.norm."))

    def to(self, device: torch.device | str) -> Skill:
        """The same skill with its tensors on a device."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


def pool_offsets(base: Policy, skills: Sequence[Skill], path: str) -> Array:
    """Where each skill's rows begin in the pool of one map: (skills + 1,); the first entry's rows are the base's."""
    map = base.maps()[path]
    first = len(map.key) if isinstance(map, Pattention) else 0
    return np.cumsum([0, first, *(skill.rows(path) for skill in skills[1:])])


def pool(base: Policy, skills: Sequence[Skill], path: str, rows: Array) -> tuple[Tensor, Tensor]:
    """Keys (n, d_in) and values (n, d_out) of the pool's rows with these numbers."""
    map = base.maps()[path]
    assert isinstance(map, Pattention)
    offsets = pool_offsets(base, skills, path)
    owner = np.searchsorted(offsets, rows, side="right") - 1
    keys, values = map.key.new_empty(len(rows), map.key.shape[1]), map.value.new_empty(len(rows), map.value.shape[1])
    for number in np.unique(owner):
        at = torch.as_tensor(np.flatnonzero(owner == number))
        mine = torch.as_tensor(rows[owner == number] - offsets[number])
        tensors = skills[number].tensors
        source = (map.key, map.value) if number == 0 else (tensors[f"{path}.key"], tensors[f"{path}.value"])
        keys[at], values[at] = source[0].detach()[mine], source[1].detach()[mine]
    return keys, values


def assemble(base: Policy, skills: Sequence[Skill], skill: Skill) -> Policy:
    """The policy that `skill` acts with: the base's modules, shared, and its own ones, holding its tensors.

    Args:
        base: the base policy; the skills' tensors are on its device.
        skills: the library in the order learned, the base's skill first; only earlier skills' rows are read.
    """
    if skill.prompt is not None:
        return _prompted(base, skills, skill)
    if skill.form == "whole" and skill.tensors:
        policy = copy.deepcopy(base)
        policy.load_state_dict(dict(skill.tensors))
        return policy
    replaced: dict[str, torch.nn.Module] = {}
    for path, map in base.maps().items():
        if f"{path}.key" not in skill.tensors:
            continue
        assert isinstance(map, Pattention)
        own = [skill.tensors.get(f"{path}.{name}") for name in ("key", "value", "gate")]
        key, value, gate = (None if tensor is None else tensor.clone() for tensor in own)
        assert key is not None and value is not None
        replaced[path] = GrownPattention(map, *pool(base, skills, path, skill.active[path]), key, value, gate)
    if skill.form == "lora":
        replaced |= _adapters(base, skill)
    for path in own_modules(base):
        tensors = {n[len(path) + 1 :]: t.clone() for n, t in skill.tensors.items() if n.startswith(f"{path}.")}
        if tensors:
            module = copy.deepcopy(base.get_submodule(path))
            module.load_state_dict({**module.state_dict(), **tensors})
            module.requires_grad_()  # the base is frozen, this copy is the skill's own
            replaced[path] = module
    return base.derive(replaced)


def _adapters(base: Policy, skill: Skill) -> dict[str, torch.nn.Module]:
    """The base's linear maps with the skill's low-rank adapters, by path."""
    return {
        path: LowRank(
            leaf,
            {name: skill.tensors[f"{path}.up.{name}"].clone() for name in matrices(leaf)},
            {name: skill.tensors[f"{path}.down.{name}"].clone() for name in matrices(leaf)},
        )
        for path, leaf in leaves(base)
        if f"{path}.up.{matrices(leaf)[0]}" in skill.tensors
    }


def _prompted(base: Policy, skills: Sequence[Skill], skill: Skill) -> Policy:
    """The policy of the skill that it stands on, with the skill's prompt."""
    assert skill.prompt is not None
    below = standing(skills, skill)
    policy = assemble(base, skills, below) if below.tensors else base
    prompt, width = skill.prompt, base.settings.width
    token = TaskToken(prompt.features, width, prompt.tokens, prompt.hidden, None, prompt.pictures)
    tensors = {n.removeprefix("prompt."): t for n, t in skill.tensors.items() if n.startswith("prompt.")}
    tensors.setdefault("presence", torch.zeros(prompt.tokens))  # tokens of before 2026-11-28 have none
    token.load_state_dict(tensors)
    return policy.derive({"prompt": token.to(base.device).requires_grad_(False)})


def standing(skills: Sequence[Skill], skill: Skill) -> Skill:
    """The skill that another steers by its task token; a skill of its own is itself.

    Raises:
        LookupError: there is no such skill, or it is one of reward as well.
    """
    if skill.prompt is None:
        return skill
    for other in skills:
        if other.name == skill.prompt.on and other.prompt is None:
            return other
    raise LookupError(f"skill {skill.name!r} steers {skill.prompt.on!r}, which is no skill learned from demonstrations")


def own_modules(base: Policy) -> list[str]:
    """Modules outside the transformer that a skill may have of its own: of an encoder what it says, or all of it."""
    own = ["head"]
    for name, encoder in base.encoders.items():
        parts: Sequence[str] = getattr(encoder, "own", ())
        own += [f"encoders.{name}.{part}" for part in parts] or [f"encoders.{name}"]
    return own


def trained(policy: Policy, skill: Skill) -> dict[str, torch.nn.Parameter]:
    """The assembled policy's parameters that belong to the skill, by name."""
    return {name: value for name, value in policy.named_parameters() if name in skill.tensors}
