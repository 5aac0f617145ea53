"""Pattention with a low-rank change of its rows, W + up @ down, and gradients that go through the factors alone.

Where only the factors learn, the gradient of the whole matrix is not needed: for scores s = x (K + U D)^T

    dL/dU = ds^T (x D^T)        dL/dD = (ds U)^T x

and the same of the values, with theta in the place of ds. With a rank of a few this spares two of the six products of a
map. It has other last bits than the way through the whole matrix, which autograd takes; so it goes with the kernel
(`Kernel.by_factors`), and torch's, the reference, does without.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skilltokens.model.kernels import kernel_for

Rows = tuple[Tensor, Tensor]
"""Keys (rows, d_in) and values (rows, d_out)."""


def by_factors(x: Tensor) -> bool:
    """Whether a bent map that is computed for this input now is to be computed by `bent_pattention`."""
    if not torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
        return False
    return kernel_for(x).by_factors


def bent_pattention(
    x: Tensor, shared: Rows, own: Rows | None, up: nn.ParameterDict, down: nn.ParameterDict, tau: float
) -> Tensor:
    """Pattention of shared rows, the first of them bent, and of own rows behind them.

    Args:
        x: (..., d_in)
        shared: keys (shared, d_in) and values (shared, d_out), which get no gradient.
        own: keys and values of rows that learn; None: there are none.
        up: "key" and "value" -> (bent, r), for the first shared rows.
        down: "key" -> (r, d_in), "value" -> (r, d_out).
    Returns:
        (..., d_out)
    """
    key, value = (rows[:0].detach() for rows in shared) if own is None else own
    factors = up["key"], down["key"], up["value"], down["value"]
    return _Bent.apply(x, *shared, key, value, *factors, tau)  # pyright: ignore[reportReturnType]


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shared_key: Tensor,
        shared_value: Tensor,
        own_key: Tensor,
        own_value: Tensor,
        up_key: Tensor,
        down_key: Tensor,
        up_value: Tensor,
        down_value: Tensor,
        tau: float,
    ) -> Tensor:
        key = _bent(shared_key, own_key, up_key, down_key)
        value = _bent(shared_value, own_value, up_value, down_value)
        flat = x.reshape(-1, x.shape[-1])
        scores = flat @ key.T
        ctx.kernel = kernel_for(scores)
        weights, kept = ctx.kernel.forward(scores, tau)
        ctx.save_for_backward(flat, key, value, up_key, down_key, up_value, down_value, weights, *kept)
        ctx.tau, ctx.shape, ctx.shared, ctx.own = tau, x.shape, len(shared_key), len(own_key)
        return (weights @ value).view(*x.shape[:-1], value.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, key, value, up_key, down_key, up_value, down_value, weights, *kept = ctx.saved_tensors
        g = grads[0].reshape(-1, grads[0].shape[-1])
        grad_up_value, grad_down_value = _through(weights[:, : len(up_value)], g, up_value, down_value)
        grad_own_value = weights[:, ctx.shared :].T @ g if ctx.own else None
        ds = ctx.kernel.backward(g @ value.T, tuple(kept), ctx.tau)
        grad_up_key, grad_down_key = _through(ds[:, : len(up_key)], x, up_key, down_key)
        grad_own_key = ds[:, ctx.shared :].T @ x if ctx.own else None
        grad_x = (ds @ key).view(ctx.shape) if ctx.needs_input_grad[0] else None
        own = grad_own_key, grad_own_value
        return grad_x, None, None, *own, grad_up_key, grad_down_key, grad_up_value, grad_down_value, None


def _bent(shared: Tensor, own: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """All rows (shared + own, width), the first of the shared ones bent."""
    rows = torch.cat([shared, own])
    rows[: len(up)].addmm_(up, down)
    return rows


def _through(weights: Tensor, given: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of both factors, (bent, r) and (r, width), where that of the matrix is weights^T @ given."""
    return weights.T @ (given @ down.T), (weights @ up).T @ given
