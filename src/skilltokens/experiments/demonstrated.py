"""The demonstrations of a run's tasks: tasks of later lessons may have fewer than those of the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skilltokens.demos.store import DemonstrationStore
from skilltokens.experiments.settings import RunSettings
from skilltokens.machine import cores
from skilltokens.simulation.demonstrate import demonstrations, store_of
from skilltokens.types import Report, Suite, Task, silent


def stores_of(
    settings: RunSettings[Any],
    suite: Suite,
    tasks: Sequence[Task],
    report: Report = silent,
    workers: int | None = None,
) -> list[DemonstrationStore]:
    """The store of each task of a run, in the order taught; what is missing is made. Args and Raises: `demonstrations`.

    Which tasks have fewer is a matter of the order alone, so that a joint method learns from the same.
    """
    first, limit = settings.first, settings.evaluate.step_limit
    if settings.later == settings.demonstrations:
        return demonstrations(suite, tasks, settings.demonstrations, report, workers, limit)
    return [
        *demonstrations(suite, tasks[:first], settings.demonstrations, report, workers, limit),
        *demonstrations(suite, tasks[first:], settings.later, report, workers, limit),
    ]


def make_stores(settings: RunSettings[Any], suite: Suite, tasks: Sequence[Task], report: Report) -> None:
    """Makes what is missing, in as many processes as there are cores, before several runs ask for it."""
    stores_of(settings, suite, tasks, report, cores())


def stores_there(settings: RunSettings[Any], suite: Suite, tasks: Sequence[Task]) -> list[DemonstrationStore | None]:
    """The store of each task as far as there is one; nothing is made."""
    return [
        store_of(suite, task, settings.demonstrations if place < settings.first else settings.later)
        for place, task in enumerate(tasks)
    ]
