"""A policy of another make as it was before any training: what learning from scratch begins from."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from skilltokens.attached.drawing import drawn_from
from skilltokens.attached.places import slots_of, unwrapped
from skilltokens.types import AttachError

RESETS = ("reset_parameters", "_reset_parameters")
"""What torch's modules, and those that follow them, call the function that draws their numbers anew."""


def fresh_numbers(policy: nn.Module, seed: int) -> dict[str, Tensor]:
    """All parameters of a policy, drawn anew by the functions of its own modules; the policy stays as it is.

    Inner modules draw first, so that one around them has the last word, as when a policy is made.

    Args:
        policy: without skills, or with none active.
        seed: of what is drawn. The policy's own random numbers are left alone.

    Raises:
        AttachError: nobody draws a parameter anew, or the policy keeps running statistics of what its base has seen.
    """
    root = unwrapped(policy)
    for path, module in root.named_modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            raise AttachError(
                f"{path} is a {type(module).__name__} with running statistics of what the base has seen: learning from "
                "scratch would begin with them; leave out attached_scratch"
            )
    slots = slots_of(root)
    kept = {name: slot.parameter.detach().clone() for name, slot in slots.items()}
    try:
        with torch.no_grad(), drawn_from(seed, (parameter.device for parameter in root.parameters())):
            for slot in slots.values():
                if slot.parameter.is_floating_point():
                    slot.parameter.fill_(math.nan)
            for module in _inner_first(root):
                _reset(module)
            drawn = {name: slot.parameter.detach().clone() for name, slot in slots.items()}
    finally:
        with torch.no_grad():
            for name, slot in slots.items():
                slot.parameter.copy_(kept[name])
    for name, value in drawn.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise AttachError(
                f"nothing draws {name} anew, so the policy cannot begin from scratch: give its module a function "
                "reset_parameters(), or leave out attached_scratch"
            )
    return drawn


def _inner_first(root: nn.Module) -> list[nn.Module]:
    return [module for _, module in reversed(list(root.named_modules()))]


def _reset(module: nn.Module) -> None:
    for name in RESETS:
        reset: Any = getattr(type(module), name, None)
        if callable(reset):
            with contextlib.suppress(TypeError):  # one that wants arguments is no such function
                reset(module)
                return
