"""Phases of a demonstration, and windows that are spread over them equally (after PHASER, arXiv 2606.03598).

A fair sample of windows has few of a short phase, such as closing the gripper, on which a whole task may depend. PHASER
gives each phase the same memory. Its phases come from changes of the actions that a vision-language model confirms;
here the changes alone decide. They are found by binary segmentation (Scott and Knott, 1974) of the actions' mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skilltokens.demos.store import DemonstrationStore
from skilltokens.types import ACTION, Array

SHARE = 0.1
"""A change is one where telling the two sides' means apart takes away at least this share of all of the episode's
variation. So there are at most about ten phases, however long the episode and whatever the actions' units."""
SHORTEST = 3
"""Steps of the shortest phase."""


def change_points(actions: Array) -> list[int]:
    """The steps at which a new phase begins, rising, without step 0, for the actions (steps, A) of one episode.

    Each number of the action counts the same: by its variation over the episode.
    """
    deviations = np.asarray(actions, np.float64)
    deviations = deviations - deviations.mean(0)
    spread_out = np.sqrt(np.square(deviations).mean(0))
    moving = spread_out > 1e-8
    scaled = deviations[:, moving] / spread_out[moving]
    least = SHARE * scaled.size
    points: list[int] = []
    parts = [(0, len(scaled))]
    while parts and moving.any():
        first, last = parts.pop()
        at, gain = _best_split(scaled[first:last])
        if at and gain >= least:
            points.append(first + at)
            parts += [(first, first + at), (first + at, last)]
    return sorted(points)


def _best_split(part: NDArray[np.float64]) -> tuple[int, float]:
    """Where two means describe a part (n, A) best, and by how much less squared deviation they leave than one; 0, 0
    where it is too short."""
    number = len(part)
    at = np.arange(SHORTEST, number - SHORTEST + 1)
    if not len(at):
        return 0, 0.0
    sums = np.cumsum(part, 0)
    total, left = sums[-1], sums[at - 1]
    one, two = at[:, None], (number - at)[:, None]
    gains = (np.square(left) / one + np.square(total - left) / two - np.square(total) / number).sum(1)
    best = int(np.argmax(gains))
    return int(at[best]), float(gains[best])


def spread(store: DemonstrationStore, windows: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """The last steps of so many windows of a task, rising: as many of each phase of each episode as it has, at most an
    equal share; what short ones leave goes to the others."""
    starts = [0]
    for first, last in zip(store.offsets[:-1], store.offsets[1:], strict=True):
        points = change_points(np.asarray(store[ACTION])[first:last])
        starts += [*(int(first) + point for point in points), int(last)]
    lengths = np.diff(starts)
    quotas = equal_shares(lengths, windows, generator)
    chosen = [
        start + generator.choice(length, size=quota, replace=False)
        for start, length, quota in zip(starts[:-1], lengths, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def equal_shares(sizes: NDArray[np.int64], total: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How many of `total` each group of these sizes gets: equal numbers, but none more than it has; one more, where
    they do not divide, by chance."""
    total = min(total, int(sizes.sum()))
    level = int(np.searchsorted([np.minimum(sizes, height).sum() for height in range(total + 1)], total, side="right"))
    shares = np.minimum(sizes, level - 1)
    more = np.flatnonzero(sizes > level - 1)
    left = total - int(shares.sum())
    if left:
        shares[generator.choice(more, size=left, replace=False)] += 1
    return shares
