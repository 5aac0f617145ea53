"""What the lessons of a lifelong run cost, in training steps and evaluated cells: to estimate how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skilltokens.experiments.lessons import groups_of, order_of
from skilltokens.experiments.settings import RunSettings


@dataclass(frozen=True)
class Cost:
    """What one lesson costs: training steps, and rollouts of one cell each, on the way and at its end."""

    steps: int
    points: int
    final: int


def costs_of(settings: RunSettings[Any]) -> list[Cost]:
    """The lessons of a run, and behind them its variants, as a lesson without training."""
    from skilltokens.methods import load_method, method_of
    from skilltokens.suites import load_suite

    kind = load_method(method_of(settings.method))
    tasks = len(order_of(settings, load_suite(settings.suite)))
    groups = groups_of(tasks, settings.first, kind.joint)
    return costs(settings, groups, joint=kind.joint, keeps=kind.keeps)


def costs(settings: RunSettings[Any], groups: list[range], *, joint: bool, keeps: bool) -> list[Cost]:
    """The same of lessons that teach these tasks.

    Args:
        joint: the method learns all tasks in one lesson.
        keeps: it changes no earlier skill, so that only the new ones are rolled out after a lesson.
    """
    train, variants = settings.train, len(settings.evaluate.variants)
    lessons = []
    for index, group in enumerate(groups):
        first = train.first_iterations if index == 0 and settings.protocol != "A+" else train.iterations
        points = 0 if joint or len(group) > 1 else len(settings.evaluate.curve) - 1
        alone = keeps or (settings.evaluate.old == "end" and index < len(groups) - 1)
        final = len(group) if alone else group.stop
        lessons.append(Cost(first + train.iterations * (len(group) - 1), points, final))
    return lessons + ([Cost(0, 0, variants * groups[-1].stop)] if variants else [])
