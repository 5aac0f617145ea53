"""Pattention: a linear map in the form of cross-attention from its input to learnable rows (parameter tokens).

For an input x of width d_in and the active rows A of the keys K (n, d_in) and values V (n, d_out):

    s = x K_A^T        theta(s) = GeLU(tau * s / ||s||_2)        y = theta(s) V_A

(TokenFormer, arXiv 2410.23168, eq. 4-5; T2S, arXiv 2508.01167). tau = sqrt(rows) is fixed when the base is made,
and the norm runs over the active rows alone. So a row that is not active for a skill cannot change that skill's
output. A new row with K = 0 leaves the function as it was, and gradients still reach K through V.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.kernels import EPSILON, TORCH, kernel_for

Rows = tuple[Tensor, Tensor]
"""Keys (rows, d_in) and values (rows, d_out)."""
BEND = ".bend."
"""What stands between a map's path and the rest in the names of the tensors that bend its shared rows."""
BENT = ("key", "value")
"""What is bent of a row."""


def pattention(x: Tensor, key: Tensor, value: Tensor, tau: float, gate: Tensor | None = None) -> Tensor:
    """The equations above in plain operations, which autograd differentiates.

    Args:
        x: (..., d_in)
        key: (rows, d_in)
        value: (rows, d_out)
        gate: (rows,), factors on the rows' weights theta; None for ones.
    Returns:
        (..., d_out)
    """
    scores = x @ key.T
    weights = F.gelu(tau * scores / (scores.norm(dim=-1, keepdim=True) + EPSILON))
    return (weights if gate is None else weights * gate) @ value


def row_weights(x: Tensor, key: Tensor, tau: float) -> Tensor:
    """theta, the weight of each row (..., rows) for inputs (..., d_in)."""
    return TORCH.forward(x @ key.T, tau)[0]


class _Fused(torch.autograd.Function):
    """The same with a derivative written by hand, for the rows that learn and shared ones before them, which get no
    gradient: about a fifth faster on a CPU core."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, key: Tensor, value: Tensor, gate: Tensor | None, tau: float, shared: Rows | None
    ) -> Tensor:
        if shared is not None:
            key, value = torch.cat([shared[0], key]), torch.cat([shared[1], value])
        flat = x.reshape(-1, x.shape[-1])
        scores = flat @ key.T
        ctx.kernel = kernel_for(scores)
        weights, kept = ctx.kernel.forward(scores, tau)
        ctx.save_for_backward(flat, key, value, gate, weights, *kept)
        ctx.tau, ctx.frozen, ctx.shape = tau, 0 if shared is None else len(shared[0]), x.shape
        y = (weights if gate is None else weights * gate) @ value
        return y.view(*x.shape[:-1], value.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, key, value, gate, weights, *kept = ctx.saved_tensors
        frozen = ctx.frozen
        g = grads[0].reshape(-1, grads[0].shape[-1])
        grad_x = grad_key = grad_value = grad_gate = None
        if ctx.needs_input_grad[2]:
            gated = weights[:, frozen:] if gate is None else weights[:, frozen:] * gate[frozen:]
            grad_value = gated.T @ g
        grad_weights = g @ value.T
        if gate is not None:
            if ctx.needs_input_grad[3]:
                grad_gate = (weights * grad_weights).sum(0)
            grad_weights = grad_weights * gate
        ds = ctx.kernel.backward(grad_weights, tuple(kept), ctx.tau)
        if ctx.needs_input_grad[1]:
            grad_key = ds[:, frozen:].T @ x
        if ctx.needs_input_grad[0]:
            grad_x = (ds @ key).view(ctx.shape)
        return grad_x, grad_key, grad_value, grad_gate, None, None


def fused_pattention(
    x: Tensor,
    key: Tensor,
    value: Tensor,
    tau: float,
    gate: Tensor | None = None,
    shared: Rows | None = None,
) -> Tensor:
    """`pattention` of shared rows, which get no gradient, and these behind them; for gradients by the kernel in use.

    Plain operations under autocast.

    Args:
        x: (..., d_in)
        key, value: (rows, d_in) and (rows, d_out).
        gate: (shared + rows,), factors on the rows' weights; None for ones.
        shared: keys and values of the shared rows; None: there are none.
    Returns:
        (..., d_out)
    """
    autocast, learns = torch.is_autocast_enabled(x.device.type), torch.is_grad_enabled()
    if learns and not autocast:
        return _Fused.apply(x, key, value, gate, tau, shared)  # pyright: ignore[reportReturnType]
    if shared is not None:
        key, value = torch.cat([shared[0].detach(), key]), torch.cat([shared[1].detach(), value])
    if autocast:
        return pattention(x, key, value, tau, gate)
    # acting: a fifth of its time goes into autograd's bookkeeping
    weights = TORCH.forward(x.reshape(-1, x.shape[-1]) @ key.T, tau)[0]
    return ((weights if gate is None else weights * gate) @ value).view(*x.shape[:-1], value.shape[1])


class Pattention(nn.Module):
    """A linear map of the base policy; all of its rows are active.

    Args:
        rows: how many rows it has; fixes tau.
        width_in, width_out: d_in, d_out.
        generator: for the initial keys and values.
        gain: factor on the values; 1 / sqrt(2 layers) for linear maps that end a residual branch.
    """

    def __init__(
        self, rows: int, width_in: int, width_out: int, generator: torch.Generator | None = None, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.tau = math.sqrt(rows)
        self.key = nn.Parameter(torch.randn(rows, width_in, generator=generator) / math.sqrt(width_in))
        self.value = nn.Parameter(torch.randn(rows, width_out, generator=generator) * (gain / math.sqrt(rows)))

    def forward(self, x: Tensor) -> Tensor:
        return fused_pattention(x, self.key, self.value, self.tau)


class Bend(nn.Module):
    """A skill's own low-rank change of the shared rows' keys and values, W + up @ down: it bends rows that it shares
    without touching them. A fresh one has up = 0 and changes nothing.

    Args:
        up: "key" and "value" -> (rows, r), for the first `rows` shared rows.
        down: "key" -> (r, d_in), "value" -> (r, d_out).
    """

    def __init__(self, up: Mapping[str, Tensor], down: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.up = nn.ParameterDict({name: nn.Parameter(up[name]) for name in BENT})
        self.down = nn.ParameterDict({name: nn.Parameter(down[name]) for name in BENT})

    def forward(self, name: str, rows: Tensor) -> Tensor:
        """The keys (shared, d_in), or the values (shared, d_out), bent."""
        change = self.up[name] @ self.down[name]
        return torch.cat([rows[: len(change)] + change, rows[len(change) :]])


class GrownPattention(nn.Module):
    """A linear map as a skill uses it: frozen rows of the base and of earlier skills, and the skill's specific rows.

    Args:
        base: the base policy's linear map; tau is taken from it.
        frozen_key, frozen_value: (shared, d_in) and (shared, d_out), the shared rows that are active.
        key, value: (new, d_in) and (new, d_out), this skill's specific rows.
        gate: (shared,), this skill's own factor on each shared row's value, or None.
        bend: this skill's own low-rank change of the first shared rows, or None.
        skill_gate: (skills,), this skill's own factor on the keys of all rows of an earlier skill, or None. At 0 these
            rows are not there, for the norm neither; at 1 they are as they were learned.
        owner: (shared,) int64, whose each shared row is: 0 the base's, n the n-th earlier skill's.
    """

    frozen_key: Tensor
    frozen_value: Tensor
    owner: Tensor

    def __init__(
        self,
        base: Pattention,
        frozen_key: Tensor,
        frozen_value: Tensor,
        key: Tensor,
        value: Tensor,
        gate: Tensor | None = None,
        bend: Bend | None = None,
        skill_gate: Tensor | None = None,
        owner: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.tau = base.tau
        self.register_buffer("frozen_key", frozen_key.detach())
        self.register_buffer("frozen_value", frozen_value.detach())
        self.key = nn.Parameter(key)
        self.value = nn.Parameter(value)
        self.gate = None if gate is None else nn.Parameter(gate)
        self.bend = bend
        self.skill_gate = None if skill_gate is None else nn.Parameter(skill_gate)
        if skill_gate is not None:
            assert owner is not None
            self.register_buffer("owner", owner)

    def shared(self) -> tuple[Tensor, Tensor]:
        """Keys (shared, d_in) and values (shared, d_out) of the shared rows, as this skill has them."""
        key, value = self.frozen_key, self.frozen_value
        if self.bend is not None:
            key, value = self.bend("key", key), self.bend("value", value)
        if self.skill_gate is not None:
            key = key * F.pad(self.skill_gate, (1, 0), value=1.0)[self.owner][:, None]
        return key, value

    def forward(self, x: Tensor) -> Tensor:
        key, value = self.shared()
        gate = None if self.gate is None else F.pad(self.gate, (0, len(self.key)), value=1.0)
        if self.bend is None and self.skill_gate is None:
            return fused_pattention(x, self.key, self.value, self.tau, gate, (key, value))
        key, value = torch.cat([key, self.key]), torch.cat([value, self.value])
        return fused_pattention(x, key, value, self.tau, gate)

    def fused(self) -> Pattention:
        """The same function as a plain `Pattention` without gradients, for acting: gates and bends become part of the
        rows."""
        plain = Pattention(1, 1, 1)
        plain.tau = self.tau
        key, value = self.shared()
        gated = value if self.gate is None else value * self.gate[:, None]
        plain.key = nn.Parameter(torch.cat([key, self.key]).detach(), requires_grad=False)
        plain.value = nn.Parameter(torch.cat([gated, self.value]).detach(), requires_grad=False)
        return plain
