"""What a contender cost, from what its runs wrote down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from skilltokens.report.comparison.model import Costs
from skilltokens.report.runs import Run
from skilltokens.report.summary import Group

BYTES = 4
"""Of a parameter, as float32: the precision in which skills are kept."""


def costs_of(group: Group) -> Costs:
    """The means over a group's seeds."""
    runs = group.runs
    return Costs(
        base=_mean(runs, lambda run: run.base),
        trained=_mean(runs, _trained),
        stored=_mean(runs, _stored),
        stored_bytes=_mean(runs, lambda run: None if (stored := _stored(run)) is None else BYTES * stored),
        remembered_bytes=_mean(runs, _remembered),
        demonstrations=_mean(runs, lambda run: run.demonstrations),
        iterations=_mean(runs, lambda run: None if (steps := steps_of(run)) is None else sum(steps)),
        passes=_mean(runs, _passes),
        seconds=_mean(runs, lambda run: sum(run.record.timing.train_s) or None),
    )


def steps_of(run: Run) -> list[int] | None:
    """Training steps of each lesson done, as the settings say, 0 where nothing was trained; None where not said."""
    iterations, first = (run.config.get(name) for name in ("train.iterations", "train.first_iterations"))
    lessons = run.learned - run.together + 1 if run.foreign else run.record.lessons
    if iterations is None or first is None or not lessons:
        return None
    opening = iterations if run.record.base is not None else first
    steps = [opening + iterations * (run.together - 1), *[iterations] * (lessons - 1)]
    return (
        steps if run.foreign else [count if trained else 0 for count, trained in zip(steps, run.trained, strict=True)]
    )


def _mean(runs: Sequence[Run], of: Callable[[Run], float | None]) -> float | None:
    values = [value for run in runs if (value := of(run)) is not None]
    return float(np.mean(values)) if len(values) == len(runs) else None


def _trained(run: Run) -> float | None:
    trained = run.trained if run.record.base is not None else run.trained[1:]
    return float(np.mean(trained)) if trained else None


def _stored(run: Run) -> float | None:
    return float(run.stored[-1]) if run.stored else None


def _remembered(run: Run) -> float | None:
    if run.record.remembered:
        return float(run.record.remembered[-1])
    return None if run.foreign else 0.0


def _passes(run: Run) -> float | None:
    steps, passes = steps_of(run), run.record.passes
    if steps is None or (run.foreign and not passes):
        return None
    return float(sum(count * weight for count, weight in zip(steps, passes or [1.0] * len(steps), strict=False)))
