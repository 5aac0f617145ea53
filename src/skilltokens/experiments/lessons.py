"""Which tasks a run teaches in which order, and how they make lessons: a lesson is a set of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skilltokens.configuration import check_setting
from skilltokens.experiments.settings import RunSettings
from skilltokens.suites import in_context, task_of
from skilltokens.types import SettingError, Suite, Task

if TYPE_CHECKING:
    from skilltokens.demos.store import DemonstrationStore
    from skilltokens.language import LanguageEncoder
    from skilltokens.methods.base import Lesson
    from skilltokens.methods.shift import Places


def order_of(settings: RunSettings[Any], suite: Suite) -> tuple[str, ...]:
    """The names of the tasks in the order they are taught; one that is taught again stands twice.

    It depends on the settings of the order alone, so that it is the same for every method and every training seed.

    Raises:
        SettingError: a setting of the order is out of its range, or there are fewer tasks than the order or the first
            lesson asks for.
    """
    for name in ("first", "order_seed", "lessons", "exponent"):
        check_setting(settings, name)
    names = settings.tasks or tuple(task.name for task in suite.tasks)
    count = settings.lessons or len(names)
    if settings.order != "power-law" and count > len(names):
        raise SettingError(
            f"--lessons {count} is more than the {len(names)} tasks, each of which is taught once: use {len(names)} or "
            "fewer, or --order power-law, which repeats them"
        )
    if settings.first > count:
        raise SettingError(f"--first {settings.first} is more than the {count} tasks of the run: use {count} or fewer")
    random = np.random.default_rng([settings.order_seed, 41])
    if settings.order == "given":
        return names[:count]
    shuffled = [names[i] for i in random.permutation(len(names))]
    if settings.order == "shuffled":
        return tuple(shuffled[:count])
    weights = np.arange(1, len(names) + 1, dtype=np.float64) ** -settings.exponent
    return tuple(shuffled[i] for i in random.choice(len(names), size=count, p=weights / weights.sum()))


def tasks_of(settings: RunSettings[Any], suite: Suite) -> list[Task]:
    """The tasks in the order they are taught, in the words that the run gives them (`settings.context`).

    The suite itself, its demonstrations and their stores know them by its own words: see `suites_own`.

    Raises:
        SettingError: as `order_of` does, or the suite has no task of a name, or no words for the context of one.
    """
    return [in_context(suite, task_of(suite, name), settings.context) for name in order_of(settings, suite)]


def suites_own(suite: Suite, tasks: Sequence[Task]) -> list[Task]:
    """The same tasks as the suite has them, without a context."""
    return [task_of(suite, task.name) for task in tasks]


def groups_of(tasks: int, first: int = 1, joint: bool = False) -> list[range]:
    """The tasks of each lesson, by their place in the order: the first `first` together, then one by one.

    Args:
        joint: the method learns all tasks in one lesson.
    """
    if joint:
        return [range(tasks)]
    return [range(first), *(range(i, i + 1) for i in range(first, tasks))]


def lessons_of(
    tasks: Sequence[Task],
    stores: Sequence[DemonstrationStore],
    encoder: LanguageEncoder,
    groups: Sequence[range],
    chunk: int = 1,
    places: Places | None = None,
) -> list[Lesson]:
    """The lessons that teach these tasks to a policy that predicts `chunk` actions. Held-out wordings are left out."""
    from skilltokens.methods.base import Lesson

    wordings = [(task.instruction, *task.wordings) for task in tasks]
    vectors = [encoder(texts) for texts in wordings]
    return [
        Lesson(
            index,
            tuple(tasks[i].name for i in group),
            tuple(stores[i] for i in group),
            tuple(wordings[i] for i in group),
            tuple(vectors[i] for i in group),
            group.start,
            chunk,
            places or {},
        )
        for index, group in enumerate(groups)
    ]
