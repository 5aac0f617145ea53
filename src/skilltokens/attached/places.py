"""Where in a policy a skill stands: the maps beside which it has rows, the parameters of which it has copies.

What cannot work is refused here, by the name of the module: it would fail in silence later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter

from skilltokens.types import AttachError

COMPILED = "_orig_mod."
"""What torch.compile puts into the names of what it wraps; names are written without it."""
ROWS = 16
"""Rows beside each map, where nobody says otherwise and they fit."""


@dataclass(frozen=True)
class Map:
    """A linear map beside which a skill has rows."""

    module: nn.Linear
    width_in: int
    width_out: int


@dataclass(frozen=True)
class Slot:
    """A parameter of which a skill has its own copy: `module.leaf`."""

    module: nn.Module
    leaf: str

    @property
    def parameter(self) -> nn.Parameter:
        """What stands there now."""
        parameter = self.module._parameters[self.leaf]
        assert parameter is not None
        return parameter


def plain_name(path: str) -> str:
    """A name as it is without torch.compile."""
    return path.replace(COMPILED, "")


def unwrapped(policy: nn.Module) -> nn.Module:
    """The policy behind torch.compile."""
    while isinstance(inner := getattr(policy, "_orig_mod", None), nn.Module):
        policy = inner
    return policy


def modules_of(policy: nn.Module) -> dict[str, nn.Module]:
    """All modules by their plain names."""
    return {plain_name(path): module for path, module in unwrapped(policy).named_modules()}


def slots_of(policy: nn.Module) -> dict[str, Slot]:
    """All parameters by their plain names, one that is shared under each of them."""
    return {
        f"{path}.{leaf}" if path else leaf: Slot(module, leaf)
        for path, module in modules_of(policy).items()
        for leaf, parameter in module._parameters.items()
        if parameter is not None
    }


def find_maps(policy: nn.Module, targets: Sequence[str]) -> dict[str, Map]:
    """The linear maps that patterns name.

    Raises:
        AttachError: a pattern names none, or one that carries no rows.
    """
    modules = modules_of(policy)
    maps: dict[str, Map] = {}
    for pattern in targets:
        named = {path: module for path, module in modules.items() if path and fnmatchcase(path, pattern)}
        linear = {path: module for path, module in named.items() if isinstance(module, nn.Linear)}
        if not linear:
            raise AttachError(_nothing(pattern, named, modules))
        for path, module in linear.items():
            _check_map(path, module, modules)
            maps[path] = Map(module, module.in_features, module.out_features)
    return maps


def _check_map(path: str, module: nn.Linear, modules: dict[str, nn.Module]) -> None:
    """Raises AttachError where rows beside a map would never be computed, or not be what they seem."""
    parent = modules[path.rpartition(".")[0]]
    if isinstance(parent, nn.MultiheadAttention):
        raise AttachError(
            f"{path} is read as a matrix by nn.MultiheadAttention and never called: leave it out of the targets"
        )
    if isinstance(module.weight, UninitializedParameter):
        raise AttachError(f"{path} has no size before its first input: run the policy once, then attach")
    if not module.weight.is_floating_point():
        raise AttachError(f"{path} holds numbers of {module.weight.dtype}: rows stand beside floating-point maps only")


def _nothing(pattern: str, named: dict[str, nn.Module], modules: dict[str, nn.Module]) -> str:
    """Why a pattern names no linear map."""
    for path, module in named.items():
        if isinstance(module, nn.MultiheadAttention):
            return f"{path} is nn.MultiheadAttention, which calls no linear map as a module: target the maps around it"
        if isinstance(module, _ConvNd):
            return f"{path} is a convolution, which carries no rows: target linear maps, or copy it (own=)"
    if named:
        path, module = next(iter(named.items()))
        inner = next((name for name in modules if name.startswith(f"{path}.")), "")
        more = f", such as {inner!r}" if inner else ""
        return (
            f"{path} is a {type(module).__name__} and no nn.Linear: the target {pattern!r} must name linear maps{more}"
        )
    return f"no module of the policy is called {pattern!r}: print `[name for name, _ in policy.named_modules()]`"


def find_own(policy: nn.Module, own: Sequence[str]) -> dict[str, Slot]:
    """The parameters that patterns name, by their own names or by those of modules around them.

    Raises:
        AttachError: a pattern names none, or one of which a skill can have no copy.
    """
    slots = slots_of(policy)
    named: dict[str, Slot] = {}
    for pattern in own:
        hits = {name: slot for name, slot in slots.items() if _within(name, pattern)}
        if not hits:
            raise AttachError(
                f"no parameter of the policy is called {pattern!r}: print "
                "`[name for name, _ in policy.named_parameters()]`"
            )
        named |= hits
    owners = Counter(id(slot.parameter) for slot in slots.values())
    for name, slot in named.items():
        if owners[id(slot.parameter)] > 1:
            raise AttachError(f"{name} is shared by several modules: a skill cannot have a copy of it for one of them")
        if isinstance(slot.parameter, UninitializedParameter):
            raise AttachError(f"{name} has no size before its first input: run the policy once, then attach")
        if not slot.parameter.is_floating_point():
            raise AttachError(f"{name} holds numbers of {slot.parameter.dtype}: a skill cannot learn a copy of it")
    return named


def _within(name: str, pattern: str) -> bool:
    """Whether a parameter is called by a pattern, or a module around it is."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def rows_that_fit(maps: dict[str, Map], own: int, size: int, share: float, rows: int | None = None) -> int:
    """Rows beside each map.

    Args:
        own: numbers of the skill's own copies.
        size: of the policy.
        share: the ceiling of a skill's numbers, as a part of the policy's.
        rows: as many as the user wants; None: `ROWS`, or as many as fit.

    Raises:
        AttachError: they do not fit under the ceiling.
    """
    ceiling, one = int(share * size), sum(place.width_in + place.width_out for place in maps.values())
    room = (ceiling - own) // one if one else 0
    if own > ceiling:
        raise AttachError(
            f"the skill's own copies have {own:,} numbers, {own / size:.1%} of the policy, where {share:.1%} is the "
            "ceiling: name fewer (own=), or raise share"
        )
    if maps and room < 1:
        raise AttachError(
            f"share {share:g} of a policy of {size:,} parameters leaves no row for {len(maps)} maps beside {own:,} own "
            f"numbers (one row each has {one:,}): choose fewer maps or copies, or raise share"
        )
    if rows is not None and maps and not 1 <= rows <= room:
        raise AttachError(
            f"{rows} rows beside each of {len(maps)} maps are not between 1 and {room}, which is what share {share:g} "
            "leaves: change rows, or raise share"
        )
    return min(rows or ROWS, room) if maps else 0


@dataclass(frozen=True)
class Reach:
    """What part of a policy's parameters a skill reaches.

    Attributes:
        size: parameters of the policy.
        maps: those of the maps beside which it has rows.
        own: those of which it has copies.
        convolutions: those of all convolutions, which carry no rows.
    """

    size: int
    maps: int
    own: int
    convolutions: int


def reach(policy: nn.Module, maps: dict[str, Map], own: dict[str, Slot]) -> Reach:
    """What part of a policy maps and copies are; a parameter in both counts once, as a copy."""
    copies = {id(slot.parameter): slot.parameter for slot in own.values()}
    carried = {id(p): p for place in maps.values() for p in place.module.parameters() if id(p) not in copies}
    conv = {
        id(p): p
        for module in modules_of(policy).values()
        if isinstance(module, _ConvNd)
        for p in module.parameters(recurse=False)
    }
    every = {id(slot.parameter): slot.parameter for slot in slots_of(policy).values()}
    return Reach(*(_count(part.values()) for part in (every, carried, copies, conv)))


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(0 if isinstance(p, UninitializedParameter) else p.numel() for p in parameters)
