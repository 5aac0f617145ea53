"""Whether a difference of success rates is more than chance: exact tests, a bootstrap, corrections, resolution.

Two kinds of chance are kept apart. The exact tests take the episodes as trials of the very policies that were tested;
intervals over seeds also hold what another training would have changed. All functions are pure, and those that draw
have a fixed seed. docs/compare.md says when to read which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from skilltokens.metrics import Interval

ALPHA, POWER = 0.05, 0.8
"""The usual level of a test, and the chance with which a difference that is there shall be shown."""
DRAWS = 4000
"""Resamples of a bootstrap: the ends of its interval then move by about a hundredth of its width from seed to seed."""


@dataclass(frozen=True)
class Discordant:
    """Of episodes that began in the same states: those that A alone and B alone solved, of all."""

    first: int
    second: int
    episodes: int


def discordant(first: Sequence[str], second: Sequence[str]) -> Discordant:
    """Counts the episodes that only one of two policies solved.

    Args:
        first, second: the outcomes of A and of B, cell by cell, a letter an episode: 1 for success, 0 for failure.

    Raises:
        ValueError: the outcomes are not of the same episodes.
    """
    pairs = [pair for a, b in zip(first, second, strict=True) for pair in zip(a, b, strict=True)]
    return Discordant(pairs.count(("1", "0")), pairs.count(("0", "1")), len(pairs))


def paired_test(counts: Discordant) -> float:
    """McNemar's exact test, two-sided: the chance of a split at least as uneven, were both policies equally good.

    An episode that only one solved is then a fair coin (McNemar 1947, Psychometrika 12:153, in its exact binomial
    form). 1 where no episode differs.
    """
    tossed = counts.first + counts.second
    if tossed == 0:
        return 1.0
    from scipy.stats import binomtest  # only where it is needed: it takes a while to load

    return float(binomtest(counts.first, tossed, 0.5).pvalue)


def unpaired_test(successes: tuple[int, int], episodes: tuple[int, int]) -> float:
    """Fisher's exact test of two rates whose episodes do not pair, two-sided.

    The chance of a table no likelier than this one, given as many successes in all (Fisher 1935, The Logic of Inductive
    Inference). It never finds a difference too easily; with few episodes it misses some.

    Raises:
        ValueError: a count is impossible.
    """
    for good, tried in zip(successes, episodes, strict=True):
        if not 0 <= good <= tried or tried == 0:
            raise ValueError(f"{good} successes of {tried} episodes")
    mine, other = sorted(zip(successes, episodes, strict=True))  # the test is symmetric; so is its rounding
    return _unpaired(mine, other)


@lru_cache(maxsize=4096)
def _unpaired(mine: tuple[int, int], other: tuple[int, int]) -> float:
    from scipy.stats import fisher_exact

    table = [[mine[0], other[0]], [mine[1] - mine[0], other[1] - other[0]]]
    return min(1.0, cast(float, fisher_exact(table)[1]))


def holm(chances: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected so that the chance of any false finding stays at the level of one.

    Holm's step-down method (1979, Scandinavian Journal of Statistics 6:65); it asks nothing of how the tests depend on
    each other.
    """
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    corrected, least = [0.0] * len(chances), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(chances) - rank) * chances[i]))
        corrected[i] = least
    return corrected


def bootstrap_interval(
    apart: ArrayLike, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """Percentile interval of the mean of paired differences (seeds, tasks), by a hierarchical bootstrap.

    Each resample draws seeds, and for each drawn seed its tasks, both with replacement; a pair stays together, since
    its difference is what is drawn. It says what other seeds *and* other tasks of the kind might give. With few seeds
    it is too narrow (see `metrics.mean_interval`), so it stands beside Student's t and not in its place. None for a
    single difference.
    """
    differences = np.asarray(apart, dtype=np.float64)
    if differences.ndim != 2 or differences.size == 0:
        raise ValueError(f"differences must be (seeds, tasks), not {differences.shape}")
    seeds, tasks = differences.shape
    if seeds * tasks < 2:
        return None
    chance = np.random.default_rng(seed)
    rows = chance.integers(seeds, size=(draws, seeds, 1))
    columns = chance.integers(tasks, size=(draws, seeds, tasks))
    means = differences[rows, columns].mean(axis=(1, 2))
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(low), float(high))


def smallest_paired(counts: Discordant, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The smallest difference that so many pairs would show with this power; None where even 1 would not be shown.

    The share of pairs that differ is taken to be the one seen, or the difference itself where that is more. Connor
    (1987, Biometrics 43:207): n = (z_a sqrt(s) + z_b sqrt(s - d^2))^2 / d^2 for a share s and a difference d.
    """
    share = (counts.first + counts.second) / max(counts.episodes, 1)

    def needed(d: float) -> float:
        s = max(share, d)
        return (_z(1 - alpha / 2) * math.sqrt(s) + _z(power) * math.sqrt(s - d * d)) ** 2 / d**2

    return _smallest(needed, counts.episodes)


def smallest_unpaired(
    successes: tuple[int, int], episodes: tuple[int, int], alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The same of two rates whose episodes do not pair, about the mean of both rates.

    Fleiss, Tytun and Ury (1980, Biometrics 36:343): n = m / 4 (1 + sqrt(1 + 4 / (m d)))^2, as Fisher's test needs,
    where m = (z_a sqrt(2 p q) + z_b sqrt(p1 q1 + p2 q2))^2 / d^2 for p the mean of the rates p1 and p2; of two numbers
    of episodes their harmonic mean counts.
    """
    if min(episodes) == 0:
        return None
    middle = sum(successes) / sum(episodes)

    def needed(d: float) -> float:
        p = min(max(middle, d / 2), 1 - d / 2)
        low, high = p - d / 2, p + d / 2
        spread = low * (1 - low) + high * (1 - high)
        normal = (_z(1 - alpha / 2) * math.sqrt(2 * p * (1 - p)) + _z(power) * math.sqrt(max(spread, 0.0))) ** 2 / d**2
        return normal / 4 * (1 + math.sqrt(1 + 4 / (normal * d))) ** 2 if normal else 0.0

    return _smallest(needed, 2 / (1 / episodes[0] + 1 / episodes[1]))


def _smallest(needed: Callable[[float], float], episodes: float) -> float | None:
    """The difference at which so many episodes are needed, by halving: the larger it is, the fewer."""
    if needed(1.0) > episodes:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if needed(middle) <= episodes else (middle, high)
    return high


def _z(share: float) -> float:
    return NormalDist().inv_cdf(share)
