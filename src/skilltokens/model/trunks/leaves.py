"""Pictures to measure a trunk's features on: dead leaves, whose statistics are those of natural pictures.

Discs of random colours lie on each other; their radii follow r ** -3 (Lee, Mumford and Huang, IJCV 2001). The constants
that standardise a trunk's features are measured on them, so they depend on no data set, no robot and no task.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PICTURES, SIZE, DISCS = 12, 128, 300
SMALLEST, LARGEST = 2.0, 64.0
"""Radii in pixels."""
DARKEST, BRIGHTEST = 50, 205
"""Of each colour: the contrast of a camera's pictures."""


def dead_leaves(pictures: int = PICTURES, size: int = SIZE) -> NDArray[np.uint8]:
    """Pictures (n, size, size, 3), the same on every machine."""
    draws = np.random.PCG64(7).random_raw(pictures * DISCS * 6).astype(np.float64) / 2**64
    rows, columns = np.mgrid[:size, :size]
    canvas = np.empty((pictures, size, size, 3), np.uint8)
    for number, discs in enumerate(draws.reshape(pictures, DISCS, 6)):
        canvas[number] = 127
        for y, x, share, *colour in discs:
            radius = (SMALLEST**-2 + share * (LARGEST**-2 - SMALLEST**-2)) ** -0.5
            top, left = (max(int(at * size - radius), 0) for at in (y, x))
            part = slice(top, int(y * size + radius) + 2), slice(left, int(x * size + radius) + 2)
            inside = (rows[part] - y * size) ** 2 + (columns[part] - x * size) ** 2 < radius**2
            canvas[number][part][inside] = [int(DARKEST + (BRIGHTEST - DARKEST) * value) for value in colour]
    return canvas
