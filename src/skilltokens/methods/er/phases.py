"""Phases of a demonstration, and windows that are spread over them equally (after PHASER, arXiv 2606.03598).

A fair sample of windows has few of a short phase, such as closing the gripper, on which a whole task may depend. PHASER
gives each phase the same memory. Its phases come from changes of the actions that a vision-language model confirms;
here the changes alone decide. They are found by binary segmentation (Scott and Knott, 1974) of the actions' means.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from skilltokens.demos.store import DemonstrationStore
from skilltokens.types import ACTION, Array

MOST = 8
"""The most phases of an episode: smooth actions could be cut anywhere."""
SHORTEST = 3
"""Steps of the shortest phase."""
STILL = 0.1
"""Least variance that is taken for noise, as a share of an action's variance over the episode."""
_MEDIAN = 0.455  # of the square of a standard normal number


def change_points(actions: Array) -> list[int]:
    """The steps at which a new phase begins, rising, without step 0, for the actions (steps, A) of one episode.

    Each number of the action is divided by its deviation over the episode, so units do not matter. Cut first is the
    part of which two means explain most beyond what one does. Nothing is cut where they explain less than
    (A + 1) log(steps) times the variance of the noise (the Bayesian information criterion), which is that of the
    differences from step to step.
    """
    deviations = np.asarray(actions, np.float64) - np.mean(actions, 0, dtype=np.float64)
    size = np.sqrt(np.square(deviations).mean(0))
    scaled = deviations[:, size > 1e-8] / size[size > 1e-8]
    steps, width = scaled.shape
    if steps < 2 * SHORTEST or not width:
        return []
    noise = np.median(np.square(np.diff(scaled, axis=0)), 0).mean() / (2 * _MEDIAN)
    least = (width + 1) * np.log(steps) * max(noise, STILL)
    points = [0, steps]
    while len(points) <= MOST:
        cuts = [(first, *_best_split(scaled[first:last])) for first, last in itertools.pairwise(points)]
        first, at, gain = max(cuts, key=lambda cut: cut[2])
        if gain <= least:
            break
        points = sorted([*points, first + at])
    return points[1:-1]


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
