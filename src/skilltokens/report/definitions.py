"""The headline figures: how each is called, derived from a run, and explained. The page and RESULTS.md share them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from skilltokens import metrics
from skilltokens.report.runs import Run

Kind = Literal["rate", "share", "count", "minutes", "megabytes", "times"]


@dataclass(frozen=True)
class Definition:
    """One headline figure: how it is called, read, derived from a run, and explained."""

    key: str
    title: str
    short: str
    better: Literal["higher", "lower"]
    kind: Kind
    of: Callable[[Run], float | None]
    formula: str
    meaning: str

    @property
    def bounds(self) -> tuple[float, float]:
        """Where its values can lie."""
        if self.kind != "rate":
            return 0.0, math.inf
        return (-1.0, 1.0) if self.key in ("nbt", "forgotten", "lost") else metrics.RATES


def _figure(name: str) -> Callable[[Run], float | None]:
    return lambda run: None if run.figures is None else getattr(run.figures, name)


def _held_fwt(run: Run) -> float | None:
    if run.figures is None or run.figures.fwt_of is None:
        return None
    curves = [curve for k in range(run.learned) if (curve := run.curves.get(k)) is not None]
    lines = [metrics.held(metrics.rates(curve.successes, curve.episodes)) for curve in curves]
    return float(metrics.forward_transfer(lines, [curve.progress for curve in curves]).mean())


def _data(run: Run) -> float | None:
    if not run.trained:
        return None
    return run.record.remembered[-1] / 1e6 if run.record.remembered else 0.0


def _passes(run: Run) -> float | None:
    if not run.trained:
        return None
    return sum(run.record.passes) / len(run.record.passes) if run.record.passes else 1.0


def _minutes(run: Run) -> float | None:
    seconds = run.record.timing.train_s
    return sum(seconds) / 60 if seconds else None


DEFINITIONS = (
    Definition(
        "final",
        "Final success",
        "final",
        "higher",
        "rate",
        _figure("final"),
        "mean over k of c[K, k]",
        "Success on all tasks after the last lesson: what the robot can do in the end.",
    ),
    Definition(
        "fwt",
        "FWT",
        "FWT",
        "higher",
        "rate",
        _figure("fwt"),
        "mean over k of FWT_k, FWT_k = mean over e of c[k, k, e]",
        "LIBERO's forward transfer: the area under the learning curve of each task, from before its lesson to the "
        "skill as it is kept. It rewards learning fast as well as learning well.",
    ),
    Definition(
        "learned",
        "Success when learned",
        "learned",
        "higher",
        "rate",
        _figure("learned"),
        "mean over k of c[k, k]",
        "Forward transfer as final success: each task right after its own lesson. Some papers call this FWT.",
    ),
    Definition(
        "nbt",
        "NBT",
        "NBT",
        "lower",
        "rate",
        _figure("nbt"),
        "mean over k < K of NBT_k, NBT_k = mean over t > k of (c[k, k] - c[t, k])",
        "Negative backward transfer: how much success each task loses while later ones are learned. 0 is no "
        "forgetting; below 0, later lessons helped. LIBERO's own code divides by K, which makes (K - 1) / K of it.",
    ),
    Definition(
        "lost",
        "Lost by the end",
        "lost",
        "lower",
        "rate",
        _figure("lost"),
        "mean over k < K of c[k, k] - c[K, k]",
        "How much success each earlier task has lost when all are learned: backward transfer (arXiv 1706.08840) with "
        "its sign turned. It stands beside NBT, which needs every old task tested after every lesson.",
    ),
    Definition(
        "forgotten",
        "Forgotten",
        "forgotten",
        "lower",
        "rate",
        _figure("forgotten"),
        "NBT with c[k, k] - c[t, k] taken as 0 where another task's skill acted in c[t, k]",
        "The part of NBT that was lost though the task's own skill was called. The rest of NBT was miscalled: another "
        "skill answered to the same words or to words that mean the same, and the task's own may be as good as before.",
    ),
    Definition(
        "miscalled",
        "Miscalled",
        "miscalled",
        "lower",
        "share",
        lambda run: run.miscalled_share,
        "cells of the success matrix that another task's skill acted in, over all its cells",
        "How often the instruction called a skill that was learned for another task.",
    ),
    Definition(
        "auc",
        "AUC",
        "AUC",
        "higher",
        "rate",
        _figure("auc"),
        "mean over k of AUC_k, AUC_k = (FWT_k + sum over t > k of c[t, k]) / (K - k + 1)",
        "LIBERO's summary of learning and keeping: success on each task averaged over its lesson and all that follow.",
    ),
    Definition(
        "held",
        "FWT, best point held",
        "FWT held",
        "higher",
        "rate",
        _held_fwt,
        "FWT with c[k, k, e] = max over e' of c[k, k, e'] from the best e on",
        "LIBERO's published code goes back to the checkpoint that did best on the very states it reports, and holds "
        "it. That flatters by chance; it stands here only to be put beside figures made in that way.",
    ),
    Definition(
        "trained",
        "Trained per new skill",
        "trained",
        "lower",
        "share",
        lambda run: run.new_skill_share,
        "mean over k > 1 of trained_k / base",
        "Parameters trained for a new skill, over those of the whole policy after the first lesson.",
    ),
    Definition(
        "stored",
        "Parameters stored",
        "stored",
        "lower",
        "count",
        lambda run: float(run.stored[-1]) if run.stored else None,
        "total after the last lesson",
        "Everything that must be kept to act on every skill learned so far.",
    ),
    Definition(
        "data",
        "Data kept",
        "data",
        "lower",
        "megabytes",
        _data,
        "megabytes after the last lesson",
        "Demonstrations that the method keeps to learn on with later ones (replay), in megabytes (1,000,000 bytes).",
    ),
    Definition(
        "passes",
        "Compute of a step",
        "compute",
        "lower",
        "times",
        _passes,
        "mean over lessons of passes_k",
        "What a training step costs, in passes of one batch through the policy, forward and back: 1 is fine-tuning's.",
    ),
    Definition(
        "minutes",
        "Training time",
        "minutes",
        "lower",
        "minutes",
        _minutes,
        "sum over lessons",
        "Wall-clock minutes of training, all lessons together, on the machine named below.",
    ),
)
MISCALLED = frozenset({"forgotten", "miscalled"})
"""Figures that are shown where some cell was miscalled: elsewhere the first is NBT, and the second 0."""
REPLAY = {"data": "remembered", "passes": "passes"}
"""Figures that are shown where a run has one: the key of run.json behind each."""
BETWEEN = frozenset({"nbt", "forgotten", "auc"})
"""Figures that need every old task tested after every lesson."""
LIFELONG = frozenset({"fwt", "learned", "nbt", "lost", "forgotten", "auc", "held"})
"""Figures that a method without lessons does not have."""
