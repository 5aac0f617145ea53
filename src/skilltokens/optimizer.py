"""AdamW for many small tensors: the same bits, a fraction of the calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

_lists: Any = torch
"""torch's operations on lists of tensors, which type checkers do not see."""
STEP = "step"
"""The name of AdamW's count of steps."""
SMALL = 8192
"""The most numbers of a parameter that is joined with others: of more, copying costs what the calls did."""


class JoinedAdamW:
    """torch's AdamW, with the small parameters of each group joined to one vector while it steps.

    A skill has some seventy tensors of a few hundred numbers, and AdamW calls ten operations on each. Every one of them
    works number by number, so on the joined vector they give the same bits. What has no gradient in a step is left out
    of it, as in torch's. What is kept of it is that of torch's AdamW over the parameters themselves.

    Args:
        groups: torch's parameter groups, each with its `lr`.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], weight_decay: float) -> None:
        self._alone = torch.optim.AdamW(groups, weight_decay=weight_decay)
        self._small: list[list[Parameter]] = []
        """The parameters of each group that could be joined in the last step."""
        self._parts: list[_Part] = []
        """Those that are."""
        self._joined: torch.optim.AdamW | None = None
        """Of one vector for each of the parts."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those that it was made of, with today's rates."""
        return self._alone.param_groups

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        self._alone.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        """One step of all parameters that have a gradient."""
        small = [_small(group["params"]) for group in self.param_groups]
        if not _same(small, self._small):
            self._separate()
            self._join(small)
        gradients = [part.gather() for part in self._parts]
        if self._joined is not None:
            for group, part in zip(self._joined.param_groups, self._parts, strict=True):
                group["lr"] = self.param_groups[part.group]["lr"]
            self._joined.step()
        self._alone.step()
        for part, many in zip(self._parts, gradients, strict=True):
            part.scatter(many)

    def restart(self) -> None:
        """It is as before its first step."""
        self._small, self._parts, self._joined = [], [], None
        self._alone.state.clear()

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """What it remembers of each parameter that has stepped, by the parameter's number over all groups."""
        self._separate()
        return self._alone.state_dict()["state"]

    def load(self, moments: dict[int, dict[str, Tensor]]) -> None:
        """Goes on from what `moments` gave."""
        self.restart()
        self._alone.load_state_dict({"state": moments, "param_groups": self._alone.state_dict()["param_groups"]})

    def _join(self, small: list[list[Parameter]]) -> None:
        """Takes over what these parameters remember; those that have stepped less often than others stay alone."""
        alike = [(number, self._alike(part)) for number, part in enumerate(small)]
        self._small, self._parts = small, [_Part(number, part) for number, part in alike if len(part) > 1]
        if not self._parts:
            return
        self._joined = torch.optim.AdamW(
            [{**self.param_groups[part.group], "params": [part.vector]} for part in self._parts]
        )
        for part in self._parts:
            states = [self._alone.state.pop(parameter, {}) for parameter in part.parameters]
            self._joined.state[part.vector] = {
                name: value.clone() if name == STEP else torch.cat([state[name].flatten() for state in states])
                for name, value in states[0].items()
            }

    def _separate(self) -> None:
        """Gives each parameter back what it remembers."""
        for part in self._parts:
            assert self._joined is not None
            for name, value in self._joined.state[part.vector].items():
                pieces = [value] * len(part.parameters) if name == STEP else part.pieces_of(value)
                for parameter, piece in zip(part.parameters, pieces, strict=True):
                    self._alone.state[parameter][name] = piece.clone()
        self._small, self._parts, self._joined = [], [], None

    def _alike(self, part: list[Parameter]) -> list[Parameter]:
        """Those that have stepped as often as the first."""
        steps = [float(self._alone.state[p][STEP]) if p in self._alone.state else 0.0 for p in part]
        return [parameter for parameter, count in zip(part, steps, strict=True) if count == steps[0]]


class _Part:
    """The joined parameters of a group: a vector that has their numbers and gradients while they step."""

    def __init__(self, group: int, parameters: list[Parameter]) -> None:
        self.group, self.parameters = group, parameters
        self.vector = Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        self.vector.grad = torch.zeros_like(self.vector)
        self._numbers, self._gradients = self.pieces_of(self.vector.detach()), self.pieces_of(self.vector.grad)

    def pieces_of(self, vector: Tensor) -> list[Tensor]:
        """A vector's pieces, in the shapes of the parameters."""
        pieces = vector.split([parameter.numel() for parameter in self.parameters])
        return [piece.view(parameter.shape) for piece, parameter in zip(pieces, self.parameters, strict=True)]

    def gather(self) -> list[Tensor | None]:
        """Takes numbers and gradients in. The gradients are returned, and the parameters have none until `scatter`."""
        gradients = [parameter.grad for parameter in self.parameters]
        _lists._foreach_copy_(self._numbers, self.parameters)
        _lists._foreach_copy_(self._gradients, gradients)
        for parameter in self.parameters:
            parameter.grad = None
        return gradients

    def scatter(self, gradients: Sequence[Tensor | None]) -> None:
        """Gives the parameters their new numbers, and their gradients back."""
        _lists._foreach_copy_(self.parameters, self._numbers)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient


def _small(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Those that are worth joining, of one kind with the first of them."""
    small = [parameter for parameter in parameters if parameter.grad is not None and parameter.numel() <= SMALL]
    return [p for p in small if (p.dtype, p.device) == (small[0].dtype, small[0].device)]


def _same(some: Sequence[Sequence[Parameter]], others: Sequence[Sequence[Parameter]]) -> bool:
    return [[id(p) for p in part] for part in some] == [[id(p) for p in part] for part in others]
