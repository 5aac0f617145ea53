"""Encoders: they make a token of each observation feature at each time step, and one of the instruction.

The name, the shape and the dtype of a feature decide how it is read (demos/kinds.py). Every encoder is called with the
raw feature, the instruction's token and noise, which is added to the scaled feature. A skill may have a copy of an
encoder of its own. If it may copy some parts only, the encoder's attribute `own` names them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.demos import kinds
from skilltokens.model.images import ImageEncoder
from skilltokens.model.scaled import Scaled
from skilltokens.model.tpst import make_linear
from skilltokens.types import Feature, Scale, SettingError


class VectorEncoder(Scaled):
    """A vector feature (B, T, n) -> tokens (B, T, width): scaled, then one linear map."""

    def __init__(self, scale: Scale, width: int, generator: torch.Generator | None) -> None:
        super().__init__(scale)
        self.map = make_linear(len(scale.center), width, generator)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.map(self.scaled(x, noise))


class GoalEncoder(Scaled):
    """A goal (B, T, 1 + n) -> tokens (B, T, width), by one linear map of all but its first number.

    The first number is 1 where the goal is given (`given`). Where it is 0 the token is masked, as in MaskedMimic (arXiv
    2409.14393): no token attends to it.
    """

    def __init__(self, scale: Scale, width: int, generator: torch.Generator | None) -> None:
        super().__init__(scale)
        self.map = make_linear(len(scale.center) - 1, width, generator)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.map(self.scaled(x, noise)[..., 1:])

    def given(self, x: Tensor) -> Tensor:
        """Where the goal is given (B, T)."""
        return x[..., 0] > 0.5


class SetEncoder(Scaled):
    """A set (B, T, slots, n) -> tokens (B, T, width): the instruction attends to the objects, however many there are.

    The first number of a slot is 1 if it holds an object and 0 if it is empty; full slots come first. Each object gets
    a hidden vector. Its key is made of that; its value of that and of the scaled slot, so that positions reach it by a
    linear map alone. The instruction gives one query for each head. A head's output is the mean of the values, weighted
    by softmax over the objects. So neither the order of the objects nor the number of empty slots matters.
    """

    HEADS, KEY, HIDDEN = 4, 8, 48

    def __init__(self, scale: Scale, width: int, generator: torch.Generator | None) -> None:
        super().__init__(scale)
        if width % self.HEADS:
            raise SettingError(f"policy.width {width} is no multiple of {self.HEADS}, as a set of objects needs")
        n = len(scale.center)
        self.hidden = make_linear(n, self.HIDDEN, generator)
        self.key = make_linear(self.HIDDEN, self.HEADS * self.KEY, generator)
        self.query = make_linear(width, self.HEADS * self.KEY, generator)
        self.value = make_linear(self.HIDDEN + n, width, generator)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None = None) -> Tensor:
        present = x[..., 0] > 0.5
        if torch._C._get_tracing_state() is not None or torch.compiler.is_exporting():
            # No shape may depend on what is seen.
            filled, empty = x.shape[2], ~present.any(-1, keepdim=True)
            present = torch.cat([present[..., :1] | empty, present[..., 1:]], -1)
        else:
            filled = max(int(present.sum(-1).max()), 1)  # full slots come first: nothing is computed for the empty ones
        x, present = x[:, :, :filled], present[:, :, :filled]
        x = self.scaled(x, None if noise is None else noise[:, :, :filled])
        hidden = F.gelu(self.hidden(x))
        key = self.key(hidden).unflatten(-1, (self.HEADS, self.KEY))
        query = self.query(instruction).reshape(-1, 1, 1, self.HEADS, self.KEY)
        score = (key * query).sum(-1) / math.sqrt(self.KEY)
        weight = score.masked_fill(~present[..., None], -1e9).softmax(2)
        value = self.value(torch.cat([hidden, x], -1)).unflatten(-1, (self.HEADS, -1))
        return (weight[..., None] * value).sum(2).flatten(2)


class InstructionEncoder(nn.Module):
    """Unit sentence vectors (B, n) -> tokens (B, 1, width)."""

    def __init__(self, language: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.gain = math.sqrt(language)  # entries of a unit vector are of size 1 / sqrt(n)
        self.map = make_linear(language, width, generator)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.map(embedding * self.gain)[:, None]


ENCODERS: dict[str, Callable[[Scale, int, torch.Generator | None], nn.Module]] = {
    "vector": VectorEncoder,
    "goal": GoalEncoder,
    "set": SetEncoder,
    "image": ImageEncoder,
    "float image": ImageEncoder,
}
"""Kind of feature -> its encoder's class, called with (scale, width, generator)."""


def kind_of(name: str, feature: Feature) -> str:
    """The kind of a feature, a key of `ENCODERS`.

    Raises:
        SettingError: no encoder reads such a feature.
    """
    kind = kinds.kind_of(name, feature)
    if kind is None:
        raise SettingError(
            f"feature {name!r} of shape {feature.shape} and dtype {feature.dtype} cannot be read "
            f"({kinds.unread(feature)}): use (n,) for a vector, (slots, n) for a set, (height, width, colours) in "
            "uint8, or in floats from 0 to 1, for a picture of at least 32 x 32"
        )
    return kind
