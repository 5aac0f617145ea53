"""A skill: what one task added to the base policy, and how the two become the policy that acts.

A skill is data, not a model: named tensors, and for every linear map the numbers of the earlier rows that it reuses.
`assemble` makes a policy of it, which shares the base's modules and has the skill's own. The rows of a linear map are
numbered through: the base's rows first, then those of each later skill in the order learned. Numbers never change.
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
from skilltokens.model.policy import TASK_TOKEN, Policy
from skilltokens.model.task_token import TaskToken
from skilltokens.types import Array

_PREFIX = f"{TASK_TOKEN}."
"""What the names of a task token's tensors begin with."""


@dataclass(frozen=True)
class TaskTokenSpec:
    """The sizes of a task token's encoder (`model.task_token.TaskToken`), and the skill that it steers."""

    on: str
    """The skill whose policy is steered, with that skill's instruction."""
    features: Mapping[str, int]
    """The vectors that the encoder reads, and their widths."""
    tokens: int = 1
    hidden: tuple[int, ...] = ()
    """Widths of the encoder's hidden layers."""
    pictures: tuple[str, ...] = ()
    """Pictures that the encoder reads too."""


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare by: a skill is equal to itself alone
class Skill:
    """What a library keeps of one skill. The first skill is the base itself and has no tensors of its own."""

    name: str
    wordings: tuple[str, ...]
    """The instruction, then the other wordings it was trained with."""
    embeddings: Array
    """Unit sentence vectors of the wordings (wordings, language). The first is the language key of the skill's rows."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Trained tensors by their names in the assembled policy: "layers.0.q.key", "head.map.weight", ..."""
    active: Mapping[str, Array] = field(default_factory=dict)
    """For each linear map, the numbers of the earlier rows that it reuses, in the order of its computation (int64)."""
    task_token: TaskTokenSpec | None = None
    """Of a skill learned from reward: its task token, whose tensors are named "prompt.*"."""
    form: Literal["rows", "lora", "whole"] = "rows"
    """What the tensors are beside copies of the base's modules: rows (T2S), low-rank adapters, or a whole policy."""

    def rows(self, path: str) -> int:
        """How many specific rows it has in the linear map at `path`; other forms than rows have none."""
        if self.form != "rows":
            return 0
        key = self.tensors.get(f"{path}.key")
        return 0 if key is None else len(key)

    @property
    def parameters(self) -> int:
        """How many numbers were trained for this skill. Running statistics do not count."""
        return sum(tensor.numel() for name, tensor in self.tensors.items() if not name.startswith(f"{_PREFIX}norm."))

    def to(self, device: torch.device | str) -> Skill:
        """The same skill with its tensors on a device."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


def row_offsets(base: Policy, skills: Sequence[Skill], path: str) -> Array:
    """The number of each skill's first row in one linear map, and the number of all rows: (skills + 1,).

    The rows of the first skill are the base's.
    """
    linear_map = base.maps()[path]
    first = len(linear_map.key) if isinstance(linear_map, Pattention) else 0
    return np.cumsum([0, first, *(skill.rows(path) for skill in skills[1:])])


def gather_rows(base: Policy, skills: Sequence[Skill], path: str, rows: Array) -> tuple[Tensor, Tensor]:
    """Keys (n, d_in) and values (n, d_out) of the rows with these numbers in the linear map at `path`."""
    linear_map = base.maps()[path]
    assert isinstance(linear_map, Pattention)
    offsets = row_offsets(base, skills, path)
    owner = np.searchsorted(offsets, rows, side="right") - 1
    key, value = linear_map.key, linear_map.value
    keys, values = key.new_empty(len(rows), key.shape[1]), value.new_empty(len(rows), value.shape[1])
    for number in np.unique(owner):
        at = torch.as_tensor(np.flatnonzero(owner == number))
        mine = torch.as_tensor(rows[owner == number] - offsets[number])
        tensors = skills[number].tensors
        source = (key, value) if number == 0 else (tensors[f"{path}.key"], tensors[f"{path}.value"])
        keys[at], values[at] = source[0].detach()[mine], source[1].detach()[mine]
    return keys, values


def assemble(base: Policy, skills: Sequence[Skill], skill: Skill) -> Policy:
    """The policy that `skill` acts with: it shares the base's modules, but for those with tensors of the skill's own.

    Args:
        base: the base policy; the skills' tensors are on its device.
        skills: the library in the order learned, the base's skill first. Only rows of earlier skills are read.
    """
    if skill.task_token is not None:
        return _with_task_token(base, skills, skill)
    if skill.form == "whole" and skill.tensors:
        policy = copy.deepcopy(base)
        policy.load_state_dict(dict(skill.tensors))
        return policy
    replaced: dict[str, torch.nn.Module] = {}
    for path, linear_map in base.maps().items():
        if f"{path}.key" not in skill.tensors:
            continue
        assert isinstance(linear_map, Pattention)
        own = [skill.tensors.get(f"{path}.{name}") for name in ("key", "value", "gate")]
        key, value, gate = (None if tensor is None else tensor.clone() for tensor in own)
        assert key is not None and value is not None
        shared = gather_rows(base, skills, path, skill.active[path])
        replaced[path] = GrownPattention(linear_map, *shared, key, value, gate)
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


def _with_task_token(base: Policy, skills: Sequence[Skill], skill: Skill) -> Policy:
    """The policy of the skill that `skill` steers, with the task token of `skill`."""
    assert skill.task_token is not None
    steered = standing(skills, skill)
    policy = assemble(base, skills, steered) if steered.tensors else base
    spec, width = skill.task_token, base.settings.width
    token = TaskToken(spec.features, width, spec.tokens, spec.hidden, None, spec.pictures)
    tensors = {n.removeprefix(_PREFIX): t for n, t in skill.tensors.items() if n.startswith(_PREFIX)}
    tensors.setdefault("presence", torch.zeros(spec.tokens))  # files from before 2026-11-28 have none
    token.load_state_dict(tensors)
    return policy.with_task_token(token.to(base.device).requires_grad_(False))


def standing(skills: Sequence[Skill], skill: Skill) -> Skill:
    """The skill that `skill` steers by its task token; `skill` itself if it has none.

    Raises:
        LookupError: there is no such skill, or it was learned from reward too.
    """
    if skill.task_token is None:
        return skill
    for other in skills:
        if other.name == skill.task_token.on and other.task_token is None:
            return other
    raise LookupError(
        f"skill {skill.name!r} steers {skill.task_token.on!r}, which is no skill learned from demonstrations"
    )


def own_modules(base: Policy) -> list[str]:
    """Paths of the modules outside the transformer of which a skill may have its own copy.

    These are the head and every encoder, or of an encoder the parts that its attribute `own` names.
    """
    own = ["head"]
    for name, encoder in base.encoders.items():
        parts: Sequence[str] = getattr(encoder, "own", ())
        own += [f"encoders.{name}.{part}" for part in parts] or [f"encoders.{name}"]
    return own


def trained(policy: Policy, skill: Skill) -> dict[str, torch.nn.Parameter]:
    """The assembled policy's parameters that belong to the skill, by name."""
    return {name: value for name, value in policy.named_parameters() if name in skill.tensors}
