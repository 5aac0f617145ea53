"""attach(): a frozen policy with one skill active beside it, or none.

Nothing in the policy is replaced. While a skill is active, forward hooks add to the chosen maps' outputs, and the
skill's own copies stand where the policy's parameters stood: names, types and dtypes stay what they were. While none is
active there are no such hooks, and the policy computes exactly what it did, in fused kernels too.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from skilltokens.attached.keeping import kept_in
from skilltokens.attached.kinds import KINDS, NAMES, Beside, Kind
from skilltokens.attached.patterns import patterns_of
from skilltokens.attached.places import find_maps, find_own, modules_of, reach, rows_that_fit, slots_of, unwrapped
from skilltokens.attached.skill import MAP, OWN, STATISTICS, AttachedSkill, parted
from skilltokens.configuration import Share, check_number
from skilltokens.files import seal
from skilltokens.tensors import fingerprint
from skilltokens.types import AttachError, nearest

SHARE = 0.08
"""The most numbers of a skill, as a part of the policy's."""
_attached: weakref.WeakKeyDictionary[nn.Module, weakref.ref[Attached]] = weakref.WeakKeyDictionary()


def attach(
    policy: nn.Module,
    targets: Sequence[str] | None = None,
    own: Sequence[str] | None = None,
    share: float = SHARE,
    kind: Kind = "rows",
    rows: int | None = None,
) -> Attached:
    """Freezes a policy and prepares it for skills; until one is active it computes what it did, bit for bit.

    (A policy that was not frozen may take other kernels once it is, whose last bits may differ: torch looks at
    `requires_grad` in matmul and in what is compiled.)

    Args:
        policy: any module; its own forward teaches a skill (docs/attached.md says what must be true of it).
        targets: patterns of names of linear maps beside which skills have rows; None: those of a known policy.
        own: patterns of names of parameters, or of modules, of which each skill has its own copies; None: those of a
            known policy where targets is None too, else none.
        share: the most numbers of a skill, as a part of the policy's.
        kind: what stands beside the maps: "rows", or "lora" of the same size.
        rows: how many beside each map (the rank of "lora"); None: 16, or as many as fit under `share`.

    Raises:
        AttachError: a pattern names nothing, or what cannot carry a skill; one row does not fit; the policy has skills
            attached already.
        SettingError: share or kind is none.
    """
    return Attached(policy, targets, own, share, kind, rows)


class Turn(Protocol):
    """Episodes that a policy is in the middle of."""

    kept: dict[str, Any]
    """What it keeps of them in itself, while it is in others."""


class Attached:
    """A frozen policy and the skill that is active beside it.

    Attributes:
        policy: as it was given.
        maps: path -> the maps beside which skills have rows.
        slots: name -> the parameters of which they have copies.
        rows: how many rows a new skill has beside each map.
        reach: what part of the policy they reach.
        base: SHA-256 over all parameters and buffers of the policy.
        active: the skill that is active.
    """

    def __init__(
        self,
        policy: nn.Module,
        targets: Sequence[str] | None,
        own: Sequence[str] | None,
        share: float,
        kind: Kind,
        rows: int | None,
    ) -> None:
        check_number("share", share, Share)
        if kind not in KINDS:
            raise AttachError(f"there is no kind {kind!r:.80}: {nearest(str(kind), list(KINDS))}")
        root = unwrapped(policy)
        if (other := _attached.get(root)) is not None and other() is not None:
            raise AttachError(f"the {type(root).__name__} has skills attached already: detach() those first")
        if targets is None:
            known = patterns_of(root)
            targets, own = known.targets, known.own if own is None else own
        self.policy, self.root, self.share = policy, root, share
        self.kind: Kind = kind
        self.targets, self.own = tuple(targets), tuple(own or ())
        self.maps, self.slots = find_maps(root, self.targets), find_own(root, self.own)
        if not self.maps and not self.slots:
            raise AttachError("neither a map nor a parameter is named: a skill would have no numbers (targets=, own=)")
        self.reach = reach(root, self.maps, self.slots)
        self.rows = rows_that_fit(self.maps, self.reach.own, self.reach.size, share, rows)
        self.active: AttachedSkill | None = None
        self.called: set[str] = set()
        self.turn: Turn | None = None
        """Whose episodes the policy is in, where it keeps them in itself; nobody's behind each `use`."""
        self._base_own = {name: slot.parameter for name, slot in self.slots.items()}
        self._dtypes = {path: place.module.weight.dtype for path, place in self.maps.items()}
        self._trained = [(slot.parameter, slot.parameter.requires_grad) for slot in slots_of(root).values()]
        self._hashes = self._hash()
        self.base = seal(self._hashes)
        root.requires_grad_(False)
        self._guards = [*self._guard_statistics(), *self._guard_files()]
        self._hooks: list[Any] = []
        _attached[root] = weakref.ref(self)
        _forget_compiled()

    # ---------------------------------------------------------------- skills

    def new(
        self,
        seed: int = 0,
        start: AttachedSkill | None = None,
        kind: Kind | None = None,
        rows: int | None = None,
    ) -> AttachedSkill:
        """A skill that changes nothing yet; it is not active. The policy's own random numbers are left alone.

        Args:
            seed: of its first values.
            start: a skill of the same kind and size whose numbers it begins with.
            kind, rows: None: as `attach` was given them.

        Raises:
            AttachError: `start` is of another kind, size or policy.
        """
        draw, device = torch.Generator().manual_seed(seed), self.device
        kind = kind or self.kind
        if rows is not None:
            rows_that_fit(self.maps, self.reach.own, self.reach.size, self.share, rows)
        rows = rows or self.rows
        beside: dict[str, Beside] = {
            path: KINDS[kind](rows, place.width_in, place.width_out, draw) for path, place in self.maps.items()
        }
        own = {name: nn.Parameter(base.detach().clone()) for name, base in self._base_own.items()}
        skill = AttachedSkill(kind, beside, own).to(device)
        if start is not None:
            theirs, mine = start.trained(), skill.trained()
            if {n: v.shape for n, v in theirs.items()} != {n: v.shape for n, v in mine.items()}:
                raise AttachError("the skill to start from is of another kind, size or policy: start from another one")
            with torch.no_grad():
                for name, value in theirs.items():
                    mine[name].copy_(value)
        return skill

    def skill_of(self, tensors: Mapping[str, Tensor], kind: Kind) -> AttachedSkill:
        """The skill of tensors that `AttachedSkill.tensors` gave; it is not learned further.

        Raises:
            ValueError: they do not fit this policy.
        """
        parts = parted(tensors)
        beside, first, second = dict[str, Beside](), *NAMES[kind]
        expected = {f"{path}.{name}" for path in self.maps for name in (first, second)}
        if parts[MAP].keys() != expected or parts[OWN].keys() != self.slots.keys():
            odd = sorted((parts[MAP].keys() ^ expected) | (parts[OWN].keys() ^ self.slots.keys()))[0]
            raise ValueError(f"the skill and the policy do not both have {odd!r:.120}")
        for path, place in self.maps.items():
            into, out = parts[MAP][f"{path}.{first}"], parts[MAP][f"{path}.{second}"]
            rows = len(into) if into.dim() == 2 else 0
            if rows < 1 or into.shape != (rows, place.width_in) or out.shape != (rows, place.width_out):
                raise ValueError(f"what stands beside {path!r:.120} is of another size than that map")
            part = KINDS[kind](rows, place.width_in, place.width_out, torch.Generator())
            for name, value in ((first, into), (second, out)):
                setattr(part, name, nn.Parameter(_checked(f"{path}.{name}", value, torch.float32).clone()))
            beside[path] = part
        own = dict[str, nn.Parameter]()
        for name, base in self._base_own.items():
            if parts[OWN][name].shape != base.shape:
                raise ValueError(f"its copy of {name!r:.120} is of another size than the policy's")
            own[name] = nn.Parameter(_checked(name, parts[OWN][name], base.dtype).clone())
        statistics = {name: _checked(name, value, torch.float32).clone() for name, value in parts[STATISTICS].items()}
        return AttachedSkill(kind, beside, own, statistics).to(self.device).frozen()

    def use(self, skill: AttachedSkill | None) -> None:
        """Makes a skill the active one; None: the policy as it was. Actions that the policy has queued are forgotten.

        Raises:
            AttachError: the skill is of another policy, or the policy changed its numbers' kind.
        """
        if self.turn is not None:
            self.turn.kept = kept_in(self.root)
        if skill is None:
            self._place(self._base_own)
            self._hang(False)
        else:
            if skill.beside.keys() != self.maps.keys() or skill.own.keys() != self.slots.keys():
                raise AttachError(
                    "the skill is of another policy, or of other targets: use one that this policy was given"
                )
            skill.to(self.device)
            self._hang(True)
            self._place(skill.own)
        self.active = skill
        self.called.clear()
        self.turn = None
        reset = getattr(self.policy, "reset", None)
        if callable(reset):
            reset()  # queued actions are the last skill's

    @contextlib.contextmanager
    def using(self, skill: AttachedSkill | None) -> Iterator[nn.Module]:
        """Within it a skill is active; behind it the one from before."""
        before = self.active
        self.use(skill)
        try:
            yield self.policy
        finally:
            self.use(before)

    def train(self) -> None:
        """The policy's training mode, but for batch norms: their running statistics stay, as all skills share them."""
        self.policy.train()
        for module in self.root.modules():
            if isinstance(module, _NormBase) and module.track_running_stats:
                module.eval()

    def detach(self) -> nn.Module:
        """The policy as it was before `attach`, without hooks; its skills are no more of use."""
        self.use(None)
        for guard in self._guards:
            guard.remove()
        for parameter, trained in self._trained:
            parameter.requires_grad_(trained)
        self._guards, self._trained = [], []
        _attached.pop(self.root, None)
        _forget_compiled()
        return self.policy

    # ---------------------------------------------------------------- proofs

    def check_called(self) -> None:
        """Raises AttachError where a map was not called since the active skill was chosen: its rows had no effect."""
        missing = sorted(self.maps.keys() - self.called)
        if self.active is not None and missing:
            more = f" and {len(missing) - 1} more maps were" if len(missing) > 1 else " was"
            raise AttachError(
                f"{missing[0]}{more} never called by the policy's forward pass, so rows there do nothing: leave "
                "such maps out of the targets"
            )

    def check_base(self) -> None:
        """Raises AttachError where a bit of the base is not what it was when skills were attached; reads all of it."""
        now = self._hash()
        if changed := sorted(name for name in now.keys() | self._hashes if now.get(name) != self._hashes.get(name)):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise AttachError(
                f"{changed[0]}{more} of the base changed under its skills: an optimizer or the policy itself wrote "
                "into it; load the policy again, and train what `AttachedSkill.trained` names and nothing else"
            )

    def summary(self) -> str:
        """What a skill is, and what part of the policy it reaches, in a line."""
        part, one = self.reach, self.size_of(self.rows)
        what = "rows" if self.kind == "rows" else "ranks of LoRA"
        left = part.size - part.maps - part.own
        return (
            f"{self.rows} {what} beside each of {len(self.maps)} maps with {part.maps / part.size:.1%} of the policy's "
            f"{part.size:,} parameters, copies of {part.own / part.size:.1%}: a skill has {one:,} numbers, "
            f"{one / part.size:.1%}; {left / part.size:.1%} is out of its reach (convolutions: "
            f"{part.convolutions / part.size:.1%})"
        )

    def size_of(self, rows: int) -> int:
        """How many numbers a skill with so many rows beside each map has."""
        return sum(place.width_in + place.width_out for place in self.maps.values()) * rows + self.reach.own

    def _hash(self) -> dict[str, str]:
        """SHA-256 of each parameter and buffer that a state_dict has, as they are while no skill is active."""
        tensors: dict[str, Tensor] = {}
        for path, module in modules_of(self.root).items():
            buffers = {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
            for leaf, value in {**module._parameters, **buffers}.items():
                if value is not None:
                    tensors[f"{path}.{leaf}" if path else leaf] = value
        tensors |= self._base_own
        return {name: fingerprint({name: value}) for name, value in sorted(tensors.items())}

    # ---------------------------------------------------------------- in the policy

    def _add(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], y: Tensor) -> Tensor:
        """The hook of a map. Rows compute in float32, whatever the precision of the base."""
        x: Tensor = args[0] if args else kwargs["input"]
        skill = self.active
        if skill is None:
            return y
        if x.is_nested:
            raise AttachError(f"{path} is given nested tensors: build its encoder with enable_nested_tensor=False")
        self.called.add(path)
        return y + skill.beside[path](x.float()).to(y.dtype)

    def _after(self, module: nn.Module, args: tuple[Any, ...], y: Any) -> None:
        """The hook of the whole policy: its first forward pass with a skill must call every map."""
        if not torch.compiler.is_compiling() and len(self.called) < len(self.maps):
            self.check_called()

    def _hang(self, active: bool) -> None:
        """Registers the hooks, or removes them."""
        if active == bool(self._hooks):
            return
        for path, dtype in self._dtypes.items() if active else ():
            if self.maps[path].module.weight.dtype != dtype:
                raise AttachError(
                    f"{path} was {dtype} when skills were attached: attach to a policy that is converted already"
                )
        if active:
            hooks = [
                place.module.register_forward_hook(functools.partial(self._add, path), with_kwargs=True)
                for path, place in self.maps.items()
            ]
            self._hooks = [*hooks, self.root.register_forward_hook(self._after)]
        else:
            for hook in self._hooks:
                hook.remove()
            self._hooks = []
        _forget_compiled()

    def _place(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Puts parameters into the slots."""
        device = self.device
        for name, slot in self.slots.items():
            parameter = parameters[name]
            if parameter.device != device:
                parameter.data = parameter.data.to(device)
            setattr(slot.module, slot.leaf, parameter)  # and not only into _parameters: recurrent modules keep a list

    @property
    def device(self) -> torch.device:
        """Where the policy is now."""
        owned = {id(parameter) for parameter in self._base_own.values()}
        for place in self.maps.values():
            if id(place.module.weight) not in owned:
                return place.module.weight.device
        others = (p.device for p in self.root.parameters() if id(p) not in owned)
        return next(others, next((p.device for p in self.root.parameters()), torch.device("cpu")))

    # ---------------------------------------------------------------- what would fail in silence

    def _guard_statistics(self) -> Iterator[Any]:
        for path, module in modules_of(self.root).items():
            if isinstance(module, _NormBase) and module.track_running_stats:
                yield module.register_forward_pre_hook(functools.partial(_keeps_statistics, path))

    def _guard_files(self) -> Iterator[Any]:
        """No state_dict holds a skill's copy as the base's, and none is loaded over the base."""
        around = {name[:at] for name in self.slots for at, letter in enumerate(name) if letter == "."}
        modules = modules_of(self.root)
        for module in {id(m): m for m in (self.root, *(modules[path] for path in around if path in modules))}.values():
            yield module.register_state_dict_pre_hook(self._no_state)
        yield self.root.register_load_state_dict_pre_hook(_no_loading)

    def _no_state(self, module: nn.Module, prefix: str, keep_vars: bool) -> None:
        if self.active is not None and self.slots:
            raise AttachError(
                f"the policy's state was asked for while a skill is active, whose copy of {next(iter(self.slots))} "
                "would be kept as the base's: use(None) first"
            )


def _keeps_statistics(path: str, module: nn.Module, args: Any) -> None:
    if module.training:
        raise AttachError(
            f"{path} is a {type(module).__name__} in training mode and would move the running statistics that all "
            "skills share: call Attached.train() instead of policy.train()"
        )


def _no_loading(module: nn.Module, *rest: Any) -> None:
    raise AttachError("numbers were to be loaded into a base that has skills attached: detach() first")


def _checked(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """Raises ValueError unless a tensor is of a kind, and finite."""
    if value.dtype != dtype or not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name!r:.120} holds {value.dtype} where finite {dtype} is needed")
    return value


def _forget_compiled() -> None:
    """Compiled code does not look whether hooks were added or removed: what was compiled is compiled again."""
    dynamo = sys.modules.get("torch._dynamo")
    reset: Callable[[], None] | None = getattr(dynamo, "reset", None)
    if reset is not None:
        reset()
