"""Whether what a file holds can act: shapes and kinds against the base, before anything is computed or allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from skilltokens.configuration import settings_of
from skilltokens.demos.rules import check_features
from skilltokens.model.bottleneck import branch_ends
from skilltokens.model.composed import STATE, STATE_TENSORS
from skilltokens.model.encoders import ENCODERS
from skilltokens.model.lowrank import leaves, matrices
from skilltokens.model.pattention import BEND, BENT, Pattention
from skilltokens.model.policy import TASK_TOKEN, Policy, Shape
from skilltokens.model.prompted import PROMPTS
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.assembling import base_rows, own_modules, task_token
from skilltokens.skills.scene import SceneDensity, SceneJudge
from skilltokens.skills.skill import ADAPTERS, BASE, Content, Find, Rows
from skilltokens.types import ACTION, Feature, Scale


def policy_from(settings: Mapping[str, Any], shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Policy:
    """The base policy of these settings and this shape with these numbers.

    Raises:
        ValueError, SettingError, LookupError, TypeError: they do not belong together. No more memory is taken than the
            tensors have.
    """
    plain, form = settings_of(PolicySettings, settings), shape_from(shape)
    if plain.layers > len(tensors) or len(form.scales) > len(tensors):
        raise ValueError("the base has fewer tensors than its settings ask for")
    with torch.device("meta"):  # shapes alone
        expected = Policy(form, plain).state_dict()
    same_shapes(tensors, expected, "the base")
    policy = Policy(form, plain)
    policy.load_state_dict(dict(tensors))
    return policy.requires_grad_(False)


def shape_from(content: Mapping[str, Any]) -> Shape:
    """What a policy observes and does, from JSON. Raises ValueError, LookupError or TypeError for anything else."""
    if content.keys() - {"scales", "actions", "language", "kinds", "action"}:
        raise ValueError("the policy's shape has unknown keys")
    shape = Shape.fromdict(dict(content))
    if any(type(number) is not int or number < 1 for number in (shape.actions, shape.language)):
        raise ValueError("the policy has no whole number of actions, or of language")
    if not shape.scales or not shape.kinds.keys() <= shape.scales.keys():
        raise ValueError("the policy observes nothing, or kinds of nothing")
    if not set(shape.kinds.values()) <= ENCODERS.keys() - {"vector"}:
        raise ValueError(f"the policy has unknown kinds of features: {sorted(map(str, shape.kinds.values()))!r:.100}")
    for name, scale in shape.scales.items():
        _check_scale(name, scale)
    if "action" in content:
        assert shape.action is not None
        _check_scale("action", shape.action)
        if len(shape.action.center) != shape.actions:
            raise ValueError("the scale of the actions is of another width than they are")
    return shape


def _check_scale(name: str, scale: Scale) -> None:
    numbers = (*scale.center, *scale.unit)
    if not numbers or len(scale.center) != len(scale.unit):
        raise ValueError(f"the scale of {name!r:.100} has no center and unit of the same length")
    if any(type(number) not in (int, float) or not abs(number) < 1e30 for number in numbers) or 0 in scale.unit:
        raise ValueError(f"the scale of {name!r:.100} holds what is no number to scale by")


def features_from(content: Mapping[str, Any], shape: Shape) -> dict[str, Feature]:
    """The features of a library, from JSON; every one that its policy observes, and its action, is among them.

    Raises:
        ValueError, LookupError, TypeError, DemonstrationError: they are none.
    """
    features: dict[str, Feature] = {}
    for name, entry in content.items():
        if entry.keys() != {"shape", "dtype"} or any(type(size) is not int for size in entry["shape"]):
            raise ValueError(f"feature {name!r:.100} has no shape and dtype")
        features[name] = Feature(tuple(entry["shape"]), str(entry["dtype"]))
    check_features("the library", features)
    if features[ACTION].shape != (shape.actions,) or not set(shape.scales) <= features.keys():
        raise ValueError("the features are not those of the policy")
    return features


def same_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Raises ValueError unless tensors have the names, shapes and kinds that are expected, and are finite."""
    for name in sorted(tensors.keys() ^ expected.keys()):
        raise ValueError(f"{what} {'lacks' if name in expected else 'has an unknown'} tensor {name!r:.100}")
    for name, tensor in tensors.items():
        other = expected[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            shapes = f"{tuple(tensor.shape)} {tensor.dtype} where {tuple(other.shape)} {other.dtype} is needed"
            raise ValueError(f"{what} has tensor {name!r:.100} of {shapes}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{what} has numbers in {name!r:.100} that are not finite")


def check_content(content: Content, base: Policy, find: Find) -> None:
    """Whether a skill can act with a base: what it says itself, and what it builds on.

    Args:
        find: gives the skills that it builds on; `check_own` has checked them.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape or kind; rows that do not exist are reused.
        LookupError: a skill that it builds on is not there.
        LibraryError: its scene is none of this base.
    """
    check_own(content, base)
    if content.task_token is not None:
        steered = find(content.task_token.on)
        if steered.task_token is not None:
            raise ValueError("it steers a skill that steers another itself")
        content = steered.content
    _check_active(content, base, find)


def check_own(content: Content, base: Policy) -> None:
    """Whether the tensors of a skill have the names, shapes and kinds that a base needs.

    This looks at no other skill: the skills that build on each other may be a long chain, and of those that one builds
    on only their own rows are used.

    Raises:
        ValueError, LookupError, TypeError: they have not.
    """
    if content.key.shape != (base.shape.language,):
        raise ValueError(f"its language key has shape {content.key.shape}")
    if content.scene:
        SceneJudge(base, [SceneDensity.from_tensors(content.scene)])
    if content.active and content.form not in ("rows", "composed"):
        raise ValueError("it reuses rows and is of another form")
    if content.task_token is not None:
        _check_token(content, base)
        return
    tensors = dict(content.tensors)
    if content.form == "whole":
        if tensors:
            same_shapes(tensors, base.state_dict(), "it")
    else:
        own = {name: tensors.pop(name) for name in list(tensors) if _owned(name, base)}
        known = base.state_dict()
        same_shapes(own, {name: known[name] for name in own if name in known}, "it")
        if content.form == "composed":
            _check_states(content, tensors, base)
        for problem in _FAULTS[content.form](content, tensors, base):
            raise ValueError(problem)


def _owned(name: str, base: Policy) -> bool:
    """Whether a tensor belongs to a copy of a module outside the transformer."""
    return any(name.startswith(f"{path}.") for path in own_modules(base))


def _grown(content: Content, tensors: dict[str, Tensor], base: Policy) -> Iterator[str]:
    """What is wrong with specific rows, gates and bends; `tensors` are those of the skill's maps."""
    keys = {name.removesuffix(".key") for name in tensors if name.endswith(".key") and BEND not in name}
    if content.active.keys() != keys:
        yield "it has active rows without rows of its own, or the reverse"
    for path, rows in content.active.items():
        if path not in base.maps() or not base_rows(base, path):
            yield f"it has rows in {path!r:.100}, where the base has none"
            return
        linear_map: Any = base.maps()[path]
        n = len(tensors[f"{path}.key"])
        for name, known in (("key", linear_map.key), ("value", linear_map.value)):
            tensor = tensors.pop(f"{path}.{name}", None)
            if tensor is None or tensor.shape != (n, known.shape[1]) or tensor.dtype != known.dtype:
                yield f"its rows in {path} have no {name}, or one of another shape or kind"
        gate = tensors.pop(f"{path}.gate", None)
        if gate is not None and (gate.shape != (len(rows),) or gate.dtype != linear_map.key.dtype):
            yield f"its gates in {path} are not one a row"
        gate = tensors.pop(f"{path}.skill_gate", None)
        if gate is not None and (gate.shape != (len(rows.skills()),) or gate.dtype != linear_map.key.dtype):
            yield f"its gates in {path} are not one a skill"
        yield from _bent(path, rows, tensors, linear_map)
    yield from (f"it has an unknown tensor {name!r:.100}" for name in tensors)


def _bent(path: str, rows: Rows, tensors: dict[str, Tensor], linear_map: Pattention) -> Iterator[str]:
    """What is wrong with the low-rank change of shared rows, of which the base's come first."""
    mine = {name: tensors.pop(name) for name in list(tensors) if name.startswith(f"{path}{BEND}")}
    if not mine:
        return
    bent = rows.of_base()
    if bent.tolist() != list(range(len(bent))):
        yield f"it bends rows in {path} of which the base's do not come first"
    for name in BENT:
        up, down = (mine.pop(f"{path}{BEND}{side}.{name}", None) for side in ("up", "down"))
        known = getattr(linear_map, name)
        if up is None or down is None or up.dim() != 2:
            yield f"its bend in {path} is half there"
        elif up.shape != (len(bent), len(down)) or down.shape != (up.shape[1], known.shape[1]):
            yield f"its bend in {path} has another shape"
        elif {up.dtype, down.dtype} != {known.dtype}:
            yield f"its bend in {path} is of another kind"
    yield from (f"it has an unknown tensor {name!r:.100}" for name in mine)


def _adapted(content: Content, tensors: dict[str, Tensor], base: Policy) -> Iterator[str]:
    """What is wrong with low-rank adapters."""
    for path, leaf in leaves(base):
        for name in matrices(leaf):
            up, down = (tensors.pop(f"{path}.{side}.{name}", None) for side in ("up", "down"))
            if (up is None) != (down is None):
                yield f"its adapter in {path} is half there"
            elif up is not None and down is not None:
                known = getattr(leaf, name)
                a, b = known.shape
                if up.dim() != 2 or up.shape != (a, len(down)) or down.shape != (up.shape[-1], b):
                    yield f"its adapter in {path} has another shape"
                if {up.dtype, down.dtype} != {known.dtype}:
                    yield f"its adapter in {path} is of another kind"
    yield from (f"it has an unknown tensor {name!r:.100}" for name in tensors)


def _narrow(content: Content, tensors: dict[str, Tensor], base: Policy) -> Iterator[str]:
    """What is wrong with bottleneck adapters."""
    width = base.settings.width
    for path in branch_ends(base):
        units = tensors.get(f"{path}.down.bias", torch.zeros(0)).numel()
        down, up = {"down.weight": (units, width), "down.bias": (units,)}, {"up.weight": (width, units)}
        shapes = {**down, **up, "up.bias": (width,)}
        for name, shape in shapes.items():
            tensor = tensors.pop(f"{path}.{name}", None)
            if tensor is None or tensor.shape != shape or tensor.dtype != torch.float32:
                yield f"its adapter in {path} has no {name}, or one of another shape or kind"
    yield from (f"it has an unknown tensor {name!r:.100}" for name in tensors)


def _prompted(content: Content, tensors: dict[str, Tensor], base: Policy) -> Iterator[str]:
    """What is wrong with prompts."""
    shapes = set()
    for i in range(len(base.stack)):
        own = [tensors.pop(name) for name in sorted(tensors) if name.startswith(f"layers.{i}.{PROMPTS}.")]
        shapes.add(tuple(tuple(tensor.shape) for tensor in own))
        if not own or any(t.dim() != 2 or t.shape[1] != base.settings.width or not len(t) for t in own):
            yield f"its prompts in layer {i} are missing or of another shape"
        if any(tensor.dtype != torch.float32 for tensor in own):
            yield f"its prompts in layer {i} are of another kind"
    if len(shapes) > 1:
        yield "its prompts are not the same number in every layer"
    yield from (f"it has an unknown tensor {name!r:.100}" for name in tensors)


_FAULTS: Mapping[str, Callable[[Content, dict[str, Tensor], Policy], Iterator[str]]] = {
    "rows": _grown,
    "lora": _adapted,
    "composed": _adapted,
    "bottleneck": _narrow,
    "prompted": _prompted,
}
"""For each form but "whole" what is wrong with the tensors that are no copies of the base's modules."""


def _check_states(content: Content, tensors: dict[str, Tensor], base: Policy) -> None:
    """The state networks of a composed skill, which are taken out of `tensors`; what is left is its adapter.

    Raises:
        ValueError, LookupError: one is missing or of another shape, or some matrix has no adapter.
    """
    if content.active.keys() != {ADAPTERS} or content.active[ADAPTERS].row.any():
        raise ValueError("it is composed of adapters and does not say of which")
    earlier, width = len(content.active[ADAPTERS]), base.settings.width
    for i in range(len(base.stack)):
        own = {name: tensors.pop(f"layers.{i}.{STATE}.{name}") for name in STATE_TENSORS}
        hidden = len(own["hidden.bias"])
        shapes = ((hidden, width), (hidden,), (earlier, hidden), (earlier,))
        if any(own[name].shape != shape for name, shape in zip(STATE_TENSORS, shapes, strict=True)):
            raise ValueError(f"its state network in layer {i} has another shape")
        if {tensor.dtype for tensor in own.values()} != {torch.float32}:
            raise ValueError(f"its state network in layer {i} is of another kind")
    _check_whole_adapter(tensors, base)


def _check_whole_adapter(tensors: Mapping[str, Tensor], base: Policy) -> None:
    """Raises ValueError where some matrix of the base has no low-rank adapter."""
    for path, leaf in leaves(base):
        for name in matrices(leaf):
            if f"{path}.up.{name}" not in tensors:
                raise ValueError(f"there is no adapter in {path}")


def _check_active(content: Content, base: Policy, find: Find) -> None:
    if content.form == "composed":
        for identity in content.active[ADAPTERS].sources:
            _check_whole_adapter(find(identity).tensors, base)
        return
    for path, rows in content.active.items():
        for number, source in enumerate(rows.sources):
            used = rows.row[rows.source == number]
            have = base_rows(base, path) if source == BASE else find(source).rows(path)
            if len(used) and int(used.max()) >= have:
                raise ValueError(f"it reuses rows in {path} that do not exist")


def _check_token(content: Content, base: Policy) -> None:
    """A task token: its sizes are taken from its tensors before anything of that size is made."""
    spec = content.task_token
    assert spec is not None
    numbers = (spec.tokens, *spec.hidden, *spec.features.values())
    if any(number < 1 or number > content.parameters for number in numbers) or len(spec.hidden) > 100:
        raise ValueError("its task token has impossible sizes")
    if len(spec.pictures) > len(content.tensors) or content.active or content.form != "rows":
        raise ValueError("its task token reads more pictures than it has tensors, or it has rows too")
    with torch.device("meta"):
        token = task_token(spec, base.settings.width)
    expected = {f"{TASK_TOKEN}.{name}": tensor for name, tensor in token.state_dict().items()}
    same_shapes(content.tensors, expected, "its task token")
