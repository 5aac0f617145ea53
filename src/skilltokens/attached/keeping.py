"""What a policy keeps in itself of an episode, beside its weights: queues of observations and actions, averages.

A policy that looks back keeps them in its own attributes. They are taken out and put back, so that several episodes may
take turns with one policy.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from skilltokens.types import AttachError

_OWN = {*vars(nn.Module()), "config"}
"""Attributes that no episode changes."""


def kept_in(policy: nn.Module) -> dict[str, Any]:
    """Copies of a policy's own attributes but for modules, parameters, buffers and its configuration.

    Raises:
        AttachError: one cannot be copied.
    """
    whole = (*policy.modules(), *policy.parameters(), *policy.buffers())
    memo = {id(part): part for part in whole}
    kept: dict[str, Any] = {}
    for name, value in vars(policy).items():
        if name in _OWN:
            continue
        try:
            kept[name] = copy.deepcopy(value, memo)
        except Exception as problem:  # anybody's objects
            raise AttachError(
                f"the {type(policy).__name__} keeps {name!r} in itself, which cannot be copied "
                f"({type(problem).__name__}): let one episode end before the next begins, or load the policy twice"
            ) from problem
    return kept


def put_back(policy: nn.Module, kept: dict[str, Any]) -> None:
    """Gives a policy what `kept_in` took out."""
    vars(policy).update(kept)
