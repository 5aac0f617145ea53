"""One rotation matrix as a quaternion: scipy's numbers, bit for bit, by plain arithmetic at a tenth of its time.

Meta-World asks scipy for one quaternion a step in 22 of its tasks, which was a quarter of their steps' time: scipy's
way is made for many matrices at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SURE = 1e-13
"""How far from orthogonal a matrix may be here: a tenth of what scipy takes as it is; others it makes orthogonal."""


class PlainRotation:
    """What Meta-World calls of scipy's `Rotation`."""

    def __init__(self, quaternion: NDArray[np.float64]) -> None:
        self._quaternion = quaternion

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.float64]) -> PlainRotation:
        """The rotation of one matrix (3, 3). Raises what scipy raises where it is none."""
        return cls(quaternion_of(matrix))

    def as_quat(self) -> NDArray[np.float64]:
        """(4,), the scalar last."""
        return self._quaternion


def quaternion_of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """`scipy.spatial.transform.Rotation.from_matrix(matrix).as_quat()` for one matrix (3, 3).

    The way is Markley's (doi 10.2514/1.31730): the largest of the diagonal and the trace says which number is made
    first; of equal ones the first.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    if not _is_rotation(a, b, c, d, e, f, g, h, i):
        from scipy.spatial.transform import Rotation

        scipys: Any = Rotation
        return scipys.from_matrix(matrix).as_quat()
    trace = a + e + i
    if a >= e and a >= i and a >= trace:
        x, y, z, w = 1 - trace + 2 * a, d + b, g + c, h - f
    elif e >= i and e >= trace:
        x, y, z, w = b + d, 1 - trace + 2 * e, h + f, c - g
    elif i >= trace:
        x, y, z, w = c + g, f + h, 1 - trace + 2 * i, d - b
    else:
        x, y, z, w = h - f, c - g, d - b, 1 + trace
    length = math.sqrt(x * x + y * y + z * z + w * w)
    return np.array([x / length, y / length, z / length, w / length])


def _is_rotation(a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float, i: float) -> bool:
    """Whether the rows are orthogonal and of length 1, and the determinant is positive."""
    return (
        abs(a * a + b * b + c * c - 1) < _SURE
        and abs(d * d + e * e + f * f - 1) < _SURE
        and abs(g * g + h * h + i * i - 1) < _SURE
        and abs(a * d + b * e + c * f) < _SURE
        and abs(a * g + b * h + c * i) < _SURE
        and abs(d * g + e * h + f * i) < _SURE
        and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0
    )
