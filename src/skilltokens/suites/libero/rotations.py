"""Rotations as matrices (3, 3) and as axis times angle (3,), in radians."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rotation_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (3, 3) of a rotation given as axis times angle (3,), in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotation_vector(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis times angle (3,) of a rotation (3, 3); at half a turn the axis is one of the two."""
    angle = float(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1.0, 1.0)))
    if angle < 1e-9:
        return np.zeros(3)
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    length = float(np.linalg.norm(axis))
    if length < 1e-6:
        values, vectors = np.linalg.eigh(matrix)
        return angle * vectors[:, int(values.argmax())]
    return angle * axis / length


def angle_between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Radians from one rotation (3, 3) to another."""
    return float(np.arccos(np.clip((np.sum(one * other) - 1) / 2, -1.0, 1.0)))
