"""The element-wise part of Pattention, between its products, in the forms that training may compute it by.

For scores s (n, rows) it gives theta = GeLU(u), u = tau s / (|s| + eps), and for a gradient of theta that of s. torch's
form is the reference. numba's passes over memory once where torch does for each operation, and agrees to about 3e-7 of
the largest value, not to the last bit. So forms are for gradients alone: whatever acts or is evaluated computes by
torch's, and a skill's bits do not depend on which form it was learned by.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from skilltokens.types import SettingError

EPSILON = 1e-6


class Kernel(Protocol):
    """A form of the element-wise part."""

    def forward(self, scores: Tensor, tau: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        """theta (n, rows), and what `backward` needs. The scores (n, rows), contiguous, may be overwritten."""
        ...

    def backward(self, grad: Tensor, kept: tuple[Tensor, ...], tau: float) -> Tensor:
        """The gradient of the scores for that of theta (n, rows), contiguous, which may be overwritten."""
        ...


class TorchKernel:
    """In torch's operations, for every device and kind of number."""

    def forward(self, scores: Tensor, tau: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        ratio = tau / (scores.norm(dim=-1, keepdim=True) + EPSILON)
        scaled = scores.mul_(ratio)
        return F.gelu(scaled), (scaled, ratio)

    def backward(self, grad: Tensor, kept: tuple[Tensor, ...], tau: float) -> Tensor:
        scaled, ratio = kept
        du = torch.ops.aten.gelu_backward(grad, scaled)
        inner = torch.linalg.vecdot(du, scaled).unsqueeze(-1) / tau**2
        # scaled = tau s / (|s| + eps): the second term takes out the part along s
        return (du - scaled * inner * ((tau / ratio) / (tau / ratio - EPSILON).clamp_min(EPSILON))).mul_(ratio)


class NumbaKernel:
    """Compiled by numba, for float32 on the CPU; in one thread.

    Raises:
        SettingError: numba is not installed, or does not work here.
    """

    def __init__(self) -> None:
        try:
            from skilltokens.model import compiled  # takes some two seconds, and numba is an extra
        except ImportError as problem:
            reason = str(problem).split("\n", 1)[0]
            raise SettingError(
                f'the kernel numba needs numba ({reason}): run `pip install "skilltokens[fast]"`, or use torch'
            ) from problem
        self._loops = compiled

    def forward(self, scores: Tensor, tau: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        theta, slope, ratio = torch.empty_like(scores), torch.empty_like(scores), scores.new_empty(len(scores))
        self._loops.forward(scores.numpy(), theta.numpy(), slope.numpy(), ratio.numpy(), tau)
        return theta, (scores, slope, ratio)

    def backward(self, grad: Tensor, kept: tuple[Tensor, ...], tau: float) -> Tensor:
        scaled, slope, ratio = kept
        self._loops.backward(grad.numpy(), scaled.numpy(), slope.numpy(), ratio.numpy(), tau)
        return grad


TORCH = TorchKernel()
_chosen: ContextVar[Kernel] = ContextVar("kernel", default=TORCH)


@functools.cache
def kernel(name: str) -> Kernel:
    """The form of this name, "torch" or "numba".

    Raises:
        SettingError: it does not work here.
    """
    return {"torch": TorchKernel, "numba": NumbaKernel}[name]()


@contextlib.contextmanager
def computing_by(name: str) -> Iterator[None]:
    """Within it, maps that are computed for gradients on this thread use the form of this name.

    Raises:
        SettingError: it does not work here.
    """
    token = _chosen.set(kernel(name))
    try:
        yield
    finally:
        _chosen.reset(token)


def kernel_for(scores: Tensor) -> Kernel:
    """The form that is in use, where it can take such scores; else torch's."""
    usual = scores.dtype == torch.float32 and scores.device.type == "cpu"
    return _chosen.get() if usual else TORCH
