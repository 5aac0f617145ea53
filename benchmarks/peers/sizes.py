"""How large two sides are, and the settings that make one as large as the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Size:
    """Numbers of parameters."""

    total: int
    trained: int

    @classmethod
    def of(cls, module: nn.Module, trained: Iterable[nn.Parameter] | None = None) -> Size:
        """Of a module; what is trained are the parameters that take gradients, unless they are given."""
        chosen = [p for p in module.parameters() if p.requires_grad] if trained is None else trained
        return cls(count(module.parameters()), count(chosen))


def count(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers these parameters have, each counted once."""
    return sum(parameter.numel() for parameter in {id(p): p for p in parameters}.values())


def nearest(candidates: Iterable[Setting], target: int, size: Callable[[Setting], int]) -> Setting:
    """The candidate whose size lies nearest to the target; of equally near ones the first.

    Raises:
        ValueError: there are no candidates.
    """
    return min(candidates, key=lambda one: abs(size(one) - target))


def beside(ours: Size, theirs: Size) -> str:
    """Both sizes in words, and by how much theirs differs."""
    total = f"{ours.total:,} / {theirs.total:,} ({_differs(ours.total, theirs.total)})"
    if ours.total == ours.trained and theirs.total == theirs.trained:
        return f"{total}, all trained"
    return f"{total}, trained {ours.trained:,} / {theirs.trained:,} ({_differs(ours.trained, theirs.trained)})"


def _differs(ours: int, theirs: int) -> str:
    return "equal" if ours == theirs else f"{100 * (theirs / ours - 1):+.2g} %"
