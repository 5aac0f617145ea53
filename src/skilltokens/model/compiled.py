"""numba's form of Pattention's element-wise part: loops for the processor's vector units, compiled at import.

The normal distribution function is Abramowitz and Stegun's 7.1.26, off by at most 1.5e-7. Its exponential is the
density's as well, so GeLU and its slope share what costs most. The exponential is Cephes' expf: NumPy's would not run
on vectors here. Sums are taken in the order that suits the processor; what is not a number stays so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from skilltokens.types import Array

f32 = np.float32
LEAST = f32(-87.0)
"""Below it exp() is no usual float32."""
EPSILON = f32(1e-6)
FAST = {"contract", "reassoc", "nsz", "arcp"}
"""What the compiler may do to be fast: all but to assume that every number is finite."""
LOOPS = "void(float32[:,::1], float32[:,::1], float32[:,::1], float32[::1], float64)"


@intrinsic
def _as_float(_typing: Any, bits: Any) -> Any:
    """The float32 that has the bits of an int32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always")
def _exp(x: Any) -> Any:
    """exp(x) for x <= 0, as 2^n exp(r) with |r| <= ln(2) / 2."""
    x = max(x, LEAST)
    n = np.int32(x * f32(1.44269504) - f32(0.5))  # rounds, since it cuts towards 0
    r = x - f32(n) * f32(0.693359375) + f32(n) * f32(2.12194440e-4)  # ln(2) in two parts
    p = f32(1.9875691500e-4) * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    power = _as_float(np.int32((n + np.int32(127)) << np.int32(23)))  # pyright: ignore[reportCallIssue]
    return (p * r * r + r + f32(1.0)) * power


@njit(inline="always")
def _normal(u: Any) -> Any:
    """The normal distribution function at u, and exp(-u^2 / 2)."""
    e = _exp(f32(-0.5) * u * u)
    t = f32(1.0) / (f32(1.0) + f32(0.3275911 / math.sqrt(2)) * abs(u))
    p = f32(1.061405429) * t - f32(1.453152027)
    p = p * t + f32(1.421413741)
    p = p * t - f32(0.284496736)
    p = p * t + f32(0.254829592)
    tail = f32(0.5) * p * t * e
    return (tail if u < f32(0.0) else f32(1.0) - tail), e


@njit(LOOPS, fastmath=FAST, error_model="numpy")
def forward(scores: Array, theta: Array, slope: Array, ratio: Array, tau: float) -> None:
    """Scores (n, rows) become u; writes theta and GeLU's slope at u, both (n, rows), and tau / (|s| + eps) (n,)."""
    size = f32(tau)
    for i in range(scores.shape[0]):
        total = f32(0.0)
        for j in range(scores.shape[1]):
            total += scores[i, j] * scores[i, j]
        factor = size / (math.sqrt(total) + EPSILON)
        ratio[i] = factor
        for j in range(scores.shape[1]):
            u = scores[i, j] * factor
            part, e = _normal(u)
            scores[i, j] = u
            theta[i, j] = u * part
            slope[i, j] = part + u * f32(0.3989422804) * e  # 1 / sqrt(2 pi)


@njit(LOOPS, fastmath=FAST, error_model="numpy")
def backward(grad: Array, scaled: Array, slope: Array, ratio: Array, tau: float) -> None:
    """The gradient of theta (n, rows) becomes that of the scores; the rest is what `forward` left."""
    size = f32(tau)
    for i in range(grad.shape[0]):
        total = f32(0.0)
        for j in range(grad.shape[1]):
            grad[i, j] *= slope[i, j]
            total += grad[i, j] * scaled[i, j]
        length = size / ratio[i]  # |s| + eps
        along = total / (size * size) * (length / max(length - EPSILON, EPSILON))
        for j in range(grad.shape[1]):
            grad[i, j] = (grad[i, j] - scaled[i, j] * along) * ratio[i]
