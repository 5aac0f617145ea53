"""What the figures mean: LIBERO's FWT, NBT and AUC, final success, and intervals, as pure functions on counts.

Notation, as in LIBERO (arXiv 2306.03310): c[t, k] is the success rate on task k after lesson t, and c[k, k, e] the
rate on task k at point e of its own lesson. Lessons and tasks count from 0 here, so K - k stands where the paper,
counting from 1, writes K - k + 1. Counts are stored and rates derived: every public function that takes counts takes
successes and episodes as integer arrays of one shape. docs/metrics.md works an example step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rates = NDArray[np.float64]

RATES = (0.0, 1.0)
"""Where rates lie; their differences lie between -1 and 1."""


@dataclass(frozen=True)
class Interval:
    """Both ends of a confidence interval, in the unit of what it is about."""

    low: float
    high: float


@dataclass(frozen=True)
class Lifelong:
    """The figures of one run over K tasks; None where the run does not define one.

    `final_of` (K,) is c[K-1, k], success after the last lesson; `learned_of` (K,) is c[k, k], success when the skill
    was learned; `fwt_of` (K,), `nbt_of` (K-1,), `auc_of` (K,) hold one value a task. The floats are their means. Where
    the first tasks were taught together, `fwt_of` and `auc_of` hold those of the other tasks alone.
    """

    final_of: Rates
    learned_of: Rates | None
    fwt_of: Rates | None
    nbt_of: Rates | None
    auc_of: Rates | None
    lost_of: Rates | None = None
    """(K-1,): c[k, k] less c[K-1, k], what was lost between when a task was learned and the end: less BWT of GEM
    (arXiv 1706.08840, eq. 3). Unlike NBT it needs no tests in between."""
    forgotten_of: Rates | None = None
    """(K-1,): the part of NBT_k in cells where the task's own skill was called; the rest was miscalled."""

    @property
    def final(self) -> float:
        """Average success over all tasks after the last lesson."""
        return float(self.final_of.mean())

    @property
    def learned(self) -> float | None:
        """Forward transfer as final success: the mean of c[k, k]. Some papers call this FWT."""
        return _mean(self.learned_of)

    @property
    def fwt(self) -> float | None:
        """LIBERO's FWT: the mean area under the learning curves."""
        return _mean(self.fwt_of)

    @property
    def nbt(self) -> float | None:
        """LIBERO's NBT: how much success was lost afterwards; 0 is no forgetting, below 0 is later improvement."""
        return _mean(self.nbt_of)

    @property
    def lost(self) -> float | None:
        """What was lost of the earlier skills by the end: GEM's BWT with its sign turned."""
        return _mean(self.lost_of)

    @property
    def forgotten(self) -> float | None:
        """The part of NBT that was lost where the task's own skill was called; what is left of NBT was miscalled."""
        return _mean(self.forgotten_of)

    @property
    def auc(self) -> float | None:
        """LIBERO's AUC: learning and keeping in one figure."""
        return _mean(self.auc_of)


@dataclass(frozen=True)
class Paired:
    """Method A less method B on the same seeds and tasks.

    `interval` is of the mean over what `over` names: seeds, or tasks where there is one seed only; None where there is
    one of both. `wins`, `ties` and `losses` count the (seed, task) pairs in which A is better, equal or worse.
    """

    difference: float
    interval: Interval | None
    over: Literal["seeds", "tasks"]
    wins: int
    ties: int
    losses: int


def rates(successes: ArrayLike, episodes: ArrayLike) -> Rates:
    """Success rates, entry by entry; NaN where there was no episode.

    Raises:
        ValueError: the shapes differ, or a count is negative or above its episodes.
    """
    good, tried = _counts(successes, episodes)
    return np.divide(good, tried, out=np.full(good.shape, np.nan), where=tried > 0)


def wilson(successes: ArrayLike, episodes: ArrayLike, confidence: float = 0.95) -> tuple[Rates, Rates]:
    """Wilson's score interval of each success rate: (low, high), each of the counts' shape; [0, 1] without episodes.

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 of n and n of n.
    """
    good, tried = _counts(successes, episodes)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    n = np.maximum(tried, 1).astype(np.float64)
    p = good / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Rounding may leave 1e-17 where the algebra says 0 or 1; the rate itself always lies inside.
    low = np.where(tried == 0, 0.0, np.where(good == 0, 0.0, np.minimum(np.maximum(middle - half, 0.0), p)))
    high = np.where(tried == 0, 1.0, np.where(good == tried, 1.0, np.maximum(np.minimum(middle + half, 1.0), p)))
    return low, high


def mean_interval(
    values: ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval | None:
    """Student's t interval of the mean of `values` (n,), one value a seed; None for fewer than two.

    It takes the values to be about normal, and covers the mean as often as it says from two seeds on, where a
    percentile bootstrap does so half of the time (three seeds: three quarters). It is cut at `bounds`, beyond which
    no mean can be.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    n = len(numbers)
    if n < 2:
        return None
    from scipy.special import stdtrit  # only where it is needed: it takes a while to load

    middle, spread = float(numbers.mean()), float(numbers.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * spread / math.sqrt(n)
    return Interval(max(middle - half, min(bounds[0], middle)), min(middle + half, max(bounds[1], middle)))


def rate_interval(successes: ArrayLike, episodes: ArrayLike) -> Interval:
    """Of the mean rate of several seeds (n,): the wider of Student's t over seeds and Wilson's over all episodes.

    Seeds that agree by chance, such as three with 20 of 20, would get an interval without a width from the first alone.
    One seed gets Wilson's, which says nothing about others.
    """
    good, tried = _counts(successes, episodes)
    low, high = (float(end) for end in wilson(good.sum(), tried.sum()))
    seeds = mean_interval(rates(good, tried), bounds=RATES)
    return Interval(low, high) if seeds is None else Interval(min(low, seeds.low), max(high, seeds.high))


def forward_transfer(curves: Sequence[ArrayLike], at: Sequence[ArrayLike] = ()) -> Rates:
    """FWT_k for each task, (K,): the mean of its learning curve, rates (points,), from the first point to the last.

    Args:
        at: for each curve the shares of training of its points (points,); left out: they are evenly spaced. Evenly
            spaced points weigh the same, as LIBERO has it; of others each weighs as much as the training that it is
            nearest to (the trapezoidal rule), so that the area does not hang on where most of the points lie.
    """
    places: Sequence[ArrayLike | None] = at or [None] * len(curves)
    return np.array([_area(curve, shares) for curve, shares in zip(curves, places, strict=True)])


def _area(curve: ArrayLike, at: ArrayLike | None) -> float:
    rates_of, shares = np.asarray(curve, dtype=np.float64), np.asarray([] if at is None else at, dtype=np.float64)
    if at is not None and shares.shape != rates_of.shape:
        raise ValueError(f"a learning curve of {rates_of.size} points was measured at {shares.size} of them")
    order = np.argsort(shares, kind="stable")
    gaps = np.diff(shares[order])
    if len(gaps) == 0 or np.ptp(gaps) < 1e-6:
        return float(rates_of.mean())
    return float(np.trapezoid(rates_of[order], shares[order]) / gaps.sum())


def negative_backward_transfer(matrix: ArrayLike, together: int = 1, where: ArrayLike | None = None) -> Rates:
    """NBT_k for the first K - 1 tasks, (K-1,), from rates c (K, K): the mean over t > k of c[k, k] - c[t, k].

    The first `together` tasks were taught in one lesson: c[together - 1, k] is then where they were learned.

    Args:
        where: (K, K), which cells count; the others add nothing to the sum, which is divided by the same number. So the
            parts of several masks that make up all cells add up to NBT_k.
    """
    c = _square(matrix)
    counted = np.ones(c.shape, dtype=bool) if where is None else np.asarray(where, dtype=bool)
    rows = [max(k, together - 1) for k in range(len(c) - 1)]
    lost = [np.where(counted[row + 1 :, k], c[row, k] - c[row + 1 :, k], 0.0) for k, row in enumerate(rows)]
    return np.array([losses.mean() for losses in lost], dtype=np.float64)


def area_under_curve(
    matrix: ArrayLike, curves: Sequence[ArrayLike], first: int = 0, at: Sequence[ArrayLike] = ()
) -> Rates:
    """AUC_k for each task from `first` on: (FWT_k + the sum over t > k of c[t, k]) / (K - k), tasks counted from 0.

    Args:
        at: as in `forward_transfer`.
    """
    c = _square(matrix)
    tasks = len(c)
    if len(curves) != tasks - first:
        raise ValueError(f"{len(curves)} learning curves for {tasks - first} tasks")
    area = forward_transfer(curves, at)
    return np.array([(area[k - first] + c[k + 1 :, k].sum()) / (tasks - k) for k in range(first, tasks)])


def held(curve: ArrayLike) -> Rates:
    """A learning curve (points,) by LIBERO's own rule: from its best point on it keeps the best value.

    That is the curve of a learner that goes back to its best checkpoint. When the checkpoint is chosen on the states
    that are reported, it flatters: use it to compare with figures that were made that way, and say so.
    """
    points = np.array(curve, dtype=np.float64)
    best = int(points.argmax())
    points[best:] = points[best]
    return points


def lifelong(
    successes: ArrayLike,
    episodes: ArrayLike,
    curves: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    together: int = 1,
    miscalled: ArrayLike | None = None,
    at: Sequence[ArrayLike] = (),
) -> Lifelong:
    """All figures of a run that learned its tasks one after another.

    Args:
        successes, episodes: (K, K) counts; entry [t, k] for k <= t is task k after task t was taught; the rest is not
            read.
        curves: a (successes, episodes) pair of (points,) for each task with a lesson of its own, from before that
            lesson to the skill as it is kept. Without them, or with a curve of fewer than two points, FWT and AUC are
            None: the area was not measured.
        together: the first so many tasks were taught in one lesson (protocol B). Rows before the last of them are not
            read, and these tasks have no curve: FWT and AUC are over the others, NBT over all.
        miscalled: (K, K), the cells that another task's skill acted in: what is lost there is not forgotten. Left out:
            none.
        at: for each curve the shares of training of its points; left out: evenly spaced (`forward_transfer`).

    NBT is None where nothing was taught after any task. Where old tasks were not tested after every lesson but were
    after the last, NBT and AUC are None.

    Raises:
        ValueError: shapes do not fit, a count is impossible, or a task has no episode when it was taught or at the end.
    """
    c = _square(rates(successes, episodes))
    tasks = len(c)
    rows = np.maximum(np.arange(tasks), together - 1)
    if np.isnan(c[rows, np.arange(tasks)]).any() or np.isnan(c[-1]).any():
        raise ValueError("a task was not evaluated after the lesson that taught it, or after the last one")
    whole = not any(np.isnan(c[t, : t + 1]).any() for t in range(together - 1, tasks))
    lines = [rates(good, tried) for good, tried in curves]
    alone = range(together if together > 1 else 0, tasks)
    kept = None if miscalled is None else ~np.asarray(miscalled, dtype=bool)
    measured = len(lines) == len(alone) > 0 and all(line.size > 1 and not np.isnan(line).any() for line in lines)
    later = tasks > together
    learned = c[rows, np.arange(tasks)]
    return Lifelong(
        final_of=c[-1].copy(),
        learned_of=learned,
        fwt_of=forward_transfer(lines, at) if measured else None,
        nbt_of=negative_backward_transfer(c, together) if later and whole else None,
        auc_of=area_under_curve(c, lines, alone.start, at) if measured and whole else None,
        lost_of=(learned - c[-1])[:-1] if later else None,
        forgotten_of=negative_backward_transfer(c, together, kept) if later and whole else None,
    )


def together(successes: ArrayLike, episodes: ArrayLike) -> Lifelong:
    """The figures of a run that learned all K tasks in one lesson (multitask), from counts (K,) after it.

    Only final success is defined: nothing was learned after anything else, so FWT, NBT and AUC are None.
    """
    return Lifelong(rates(successes, episodes).ravel(), None, None, None, None)


def paired(a: ArrayLike, b: ArrayLike) -> Paired:
    """Compares two methods on the same seeds and tasks, from rates (seeds, tasks) each.

    Pairing takes out what both share: a hard task is hard for both, a lucky set of demonstrations lucky for both.

    Raises:
        ValueError: the two shapes differ, are empty or are not (seeds, tasks).
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.size == 0:
        raise ValueError(f"paired rates must both be (seeds, tasks), not {first.shape} and {second.shape}")
    apart = first - second
    # 17/20 - 16/20 and 0.05 differ in the last bit: a tie is a difference that no count can make.
    tie = np.abs(apart) < 1e-9
    many = len(apart) > 1
    difference = float(apart.mean())
    return Paired(
        difference=0.0 if abs(difference) < 1e-12 else difference,  # wins and losses that cancel, less rounding
        interval=mean_interval(apart.mean(axis=1) if many else apart[0], bounds=(-1.0, 1.0)),
        over="seeds" if many else "tasks",
        wins=int(np.sum((apart > 0) & ~tie)),
        ties=int(np.sum(tie)),
        losses=int(np.sum((apart < 0) & ~tie)),
    )


def trained_share(trained: Sequence[int], base: int) -> Rates:
    """Parameters trained for each lesson over those of the whole policy after the first lesson, (lessons,)."""
    if base <= 0:
        raise ValueError(f"a policy has parameters, so base cannot be {base}")
    return np.asarray(trained, dtype=np.float64) / base


def roughness(episodes: Sequence[ArrayLike]) -> float:
    """How rough movements are: the mean length of the actions' second difference, |a[t+1] - 2 a[t] + a[t-1]|.

    The mean is over all steps of all episodes that have one before and one behind; NaN where there is none. 0: actions
    change steadily, or not at all; 4 sqrt(A): each of A numbers jumps from end to end of [-1, 1] at every step.

    Args:
        episodes: for each the actions that were executed, (steps, A).
    """
    bends = [np.diff(np.asarray(actions, np.float64), n=2, axis=0) for actions in episodes]
    lengths = [np.linalg.norm(bend, axis=1) for bend in bends]
    joined = np.concatenate([np.zeros(0), *lengths])
    return float(joined.mean()) if len(joined) else math.nan


def _mean(values: Rates | None) -> float | None:
    return None if values is None else float(values.mean())


def _square(matrix: ArrayLike) -> Rates:
    c = np.asarray(matrix, dtype=np.float64)
    if c.ndim != 2 or c.shape[0] != c.shape[1] or c.size == 0:
        raise ValueError(f"the success matrix must be (tasks, tasks), not {c.shape}")
    return c


def _counts(successes: ArrayLike, episodes: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    good, tried = np.asarray(successes, dtype=np.int64), np.asarray(episodes, dtype=np.int64)
    if good.shape != tried.shape:
        raise ValueError(f"successes {good.shape} and episodes {tried.shape} differ in shape")
    if (good < 0).any() or (good > tried).any():
        raise ValueError("successes must lie between 0 and the episodes")
    return good, tried
