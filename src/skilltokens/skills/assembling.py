"""How a base and a skill become the policy that acts: it shares the base's modules, and has the skill's own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skilltokens.model.bottleneck import bottlenecks
from skilltokens.model.composed import STATE, STATE_TENSORS, StateNetwork, adapter_of, composed
from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.pattention import BENT, Bend, GrownPattention, Pattention
from skilltokens.model.policy import Policy
from skilltokens.model.prompted import prompted, prompts_of
from skilltokens.model.task_token import TaskToken
from skilltokens.skills.skill import ADAPTERS, BASE, TOKEN_PREFIX, Content, Find, Rows, Skill, TaskTokenSpec


def base_rows(base: Policy, path: str) -> int:
    """How many rows the base has in the linear map at `path`; none where that is no Pattention layer."""
    linear_map = base.maps()[path]
    return len(linear_map.key) if isinstance(linear_map, Pattention) else 0


def gather_rows(base: Policy, find: Find, path: str, rows: Rows) -> tuple[Tensor, Tensor]:
    """Keys (n, d_in) and values (n, d_out) of earlier rows in the linear map at `path`."""
    linear_map = base.maps()[path]
    assert isinstance(linear_map, Pattention)
    key, value = linear_map.key, linear_map.value
    keys, values = key.new_empty(len(rows), key.shape[1]), value.new_empty(len(rows), value.shape[1])
    for number, name in enumerate(rows.sources):
        at = torch.as_tensor(np.flatnonzero(rows.source == number))
        own = torch.as_tensor(rows.row[rows.source == number])
        if name == BASE:
            tensors = key, value
        else:
            skill = find(name)
            tensors = skill.tensors[f"{path}.key"], skill.tensors[f"{path}.value"]
        keys[at], values[at] = tensors[0].detach()[own], tensors[1].detach()[own]
    return keys, values


def assemble(base: Policy, find: Find, skill: Skill) -> Policy:
    """The policy that `skill` acts with: it shares the base's modules, but for those with tensors of the skill's own.

    Args:
        base: the base policy; the skills' tensors are on its device.
        find: gives the skills that it builds on.
    """
    if skill.task_token is not None:
        return _with_task_token(base, find, skill.content)
    if skill.form == "whole" and skill.tensors:
        policy = copy.deepcopy(base)
        policy.load_state_dict(dict(skill.tensors))
        return policy
    replaced: dict[str, torch.nn.Module] = {}
    for path, linear_map in base.maps().items():
        if f"{path}.key" in skill.tensors:
            assert isinstance(linear_map, Pattention)
            replaced[path] = _grown(base, find, skill, path, linear_map)
    if skill.form == "lora":
        replaced |= _adapters(base, skill)
    if skill.form == "composed":
        replaced |= _composed(base, find, skill)
    if skill.form == "bottleneck":
        replaced |= bottlenecks(base, skill.tensors)
    if skill.form == "prompted":
        replaced |= prompted(base, prompts_of(base, skill.tensors))
    for path in own_modules(base):
        tensors = {n[len(path) + 1 :]: t.clone() for n, t in skill.tensors.items() if n.startswith(f"{path}.")}
        if tensors:
            module = copy.deepcopy(base.get_submodule(path))
            module.load_state_dict({**module.state_dict(), **tensors})
            module.requires_grad_()  # the base is frozen, this copy is the skill's own
            replaced[path] = module
    return base.derive(replaced)


def _grown(base: Policy, find: Find, skill: Skill, path: str, linear_map: Pattention) -> GrownPattention:
    """The linear map at `path` with the skill's own rows, and whatever it changes in those that it shares."""
    rows = skill.active[path]
    own = {n[len(path) + 1 :]: t.clone() for n, t in skill.tensors.items() if n.startswith(f"{path}.")}
    bend = None
    if "bend.up.key" in own:
        bend = Bend(*({name: own[f"bend.{side}.{name}"] for name in BENT} for side in ("up", "down")))
    return GrownPattention(
        linear_map,
        *gather_rows(base, find, path, rows),
        own["key"],
        own["value"],
        own.get("gate"),
        bend,
        own.get("skill_gate"),
        torch.as_tensor(rows.owners()).to(base.device),
    )


def _composed(base: Policy, find: Find, skill: Skill) -> dict[str, torch.nn.Module]:
    """The base's layers with the skill's adapter, and earlier skills' ones that its state networks weigh, by path."""
    tensors, states = skill.tensors, []
    for i in range(len(base.stack)):
        own = {name: tensors[f"layers.{i}.{STATE}.{name}"].clone() for name in STATE_TENSORS}
        states.append(StateNetwork.of(own).to(base.device))
    uses = skill.active[ADAPTERS]
    earlier = [adapter_of(find(uses.sources[number]).tensors) for number in uses.source]
    return composed(base, _adapters(base, skill), earlier, states)


def _adapters(base: Policy, skill: Skill) -> dict[str, LowRank]:
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


def task_token(spec: TaskTokenSpec, width: int) -> TaskToken:
    """A task token of these sizes, for a policy of this width; its numbers are still to come."""
    return TaskToken(spec.features, width, spec.tokens, spec.hidden, None, spec.pictures, trunk=spec.trunk)


def _with_task_token(base: Policy, find: Find, content: Content) -> Policy:
    """The policy of the skill that is steered, with a task token."""
    spec = content.task_token
    assert spec is not None
    on = find(spec.on)
    policy = assemble(base, find, on) if on.tensors else base
    token = task_token(spec, base.settings.width)
    token.load_state_dict({n.removeprefix(TOKEN_PREFIX): t for n, t in content.tensors.items()})
    return policy.with_task_token(token.to(base.device).requires_grad_(False))


def standing(find: Find, skill: Skill) -> Skill:
    """The skill that `skill` steers by its task token; `skill` itself if it has none."""
    return skill if skill.task_token is None else find(skill.task_token.on)


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
