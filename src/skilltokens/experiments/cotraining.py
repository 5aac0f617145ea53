"""Co-training in a run: whose demonstrations each lesson may draw old windows from, and what keeping them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skilltokens.demos.store import DemonstrationStore, same_features, stores_in
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_of
from skilltokens.methods.base import Lesson, Method, Training
from skilltokens.methods.cotrain.likeness import Seen, scaled_numbers
from skilltokens.methods.cotrain.rule import cotraining
from skilltokens.types import NOTE, Progress, Report, SettingError, Suite, nearest

Stores = Mapping[str, DemonstrationStore]


class Cotraining:
    """What the lessons of a run learn beside their own demonstrations; nothing where `cotrain.share` is 0.

    Args:
        settings: of the run.
        suite: one that has a method `from_hand` says by it how steps are compared.
        method: before its first lesson.
        lessons: of the run.
        base: the names of the skills that the run began from.
        report: told what it has to do without.

    Raises:
        SettingError: the settings are impossible in this run.
        DemonstrationError: there is no store in a folder, or its features are others.
    """

    def __init__(
        self,
        settings: RunSettings[Any],
        suite: Suite,
        method: Method,
        lessons: Sequence[Lesson],
        base: Sequence[str],
        report: Report,
    ) -> None:
        self.settings, self.lessons = settings, lessons
        self._sources = settings.cotrain.sources()
        self.base: Stores = {}
        """The demonstrations of the base's tasks."""
        if not settings.cotrain.share:
            return
        if method.joint:
            raise SettingError(
                f"cotrain.share is for methods that learn task after task, and {method_of(settings.method)} learns all "
                "at once: leave it out"
            )
        self.base = _of_base(settings.cotrain.folders, base, report)
        same_features([*lessons[0].stores, *self.base.values()], alike=True)
        self._check_oracle()
        self._action = method.base.shape.action
        self._seen = None if settings.cotrain.score == "any" else _seen(suite, method)

    @property
    def digests(self) -> list[str]:
        """Of the base's demonstrations."""
        return [store.digest for store in self.base.values()]

    def beside(self, training: Training, lesson: Lesson) -> Training:
        """A lesson's training, with old windows in its steps where there are some; several tasks at once have none."""
        old = self._old(lesson) if self.settings.cotrain.share and len(lesson.names) == 1 else {}
        if not old:
            return training
        settings = self.settings
        stores, seed = list(old.values()), settings.seed
        return cotraining(training, lesson, stores, settings.cotrain, settings.train, self._seen, self._action, seed)

    def nbytes(self, lessons: int) -> int:
        """Bytes of demonstrations that must be kept after so many lessons, for later ones to draw from."""
        if not self.settings.cotrain.share:
            return 0
        named = {name for names in self._sources.values() for name in names}
        kept = self._known(lessons)
        return sum(_bytes(store) for name, store in kept.items() if not self._sources or name in named)

    def _known(self, lessons: int) -> Stores:
        """All demonstrations after so many lessons, by task; of one that was taught again those of the last time."""
        taught = {
            name: store
            for lesson in self.lessons[:lessons]
            for name, store in zip(lesson.names, lesson.stores, strict=True)
        }
        return {**self.base, **taught}

    def _old(self, lesson: Lesson) -> Stores:
        """Those that a lesson may draw from: never its own task's."""
        (own,) = lesson.names
        known = {name: store for name, store in self._known(lesson.index).items() if name != own}
        if not self._sources:
            return known
        return {name: known[name] for name in self._sources.get(own, ())}

    def _check_oracle(self) -> None:
        """Raises SettingError where a task that `oracle` names is none, or has no demonstrations when it is needed."""
        tasks = [name for lesson in self.lessons for name in lesson.names]
        for new in self._sources:
            if new not in tasks:
                raise SettingError(f"cotrain.oracle names {new!r}, no task of the run: {nearest(new, tasks)}")
        for lesson in self.lessons:
            known = self._known(lesson.index)
            for old in self._sources.get(lesson.names[0], ()):
                if old not in known or old in lesson.names:
                    later = "it is learned later" if old in tasks else nearest(old, list(known))
                    raise SettingError(
                        f"cotrain.oracle names {old!r} for {lesson.names[0]}, when there are no demonstrations of it: "
                        f"{later}"
                    )


def _of_base(folders: Sequence[str], names: Sequence[str], report: Report) -> Stores:
    """The demonstrations of the base's tasks in some folders, by task, in the base's order."""
    if not names:
        return {}
    if not folders:
        note = "co-training draws from the run's own lessons alone: name the base's demonstrations by cotrain.folders"
        report(Progress(NOTE, 0, 1, note))
        return {}
    stores: dict[str, DemonstrationStore] = {}
    for store in [store for folder in folders for store in stores_in(folder)]:
        name = store.task.name
        if name in stores and name in names and stores[name].path != store.path:
            raise SettingError(
                f"cotrain.folders holds two stores of {name!r}, {stores[name].path} and {store.path}: name one folder"
            )
        stores[name] = store
    missing = [name for name in names if name not in stores]
    if len(missing) == len(names):
        raise SettingError(
            f"{', '.join(folders)} holds no demonstrations of what the base has learned ({_some(names)}): name their "
            "folder by cotrain.folders, or make them by `skilltokens demos make`"
        )
    if missing:
        note = f"co-training does without demonstrations of {len(missing)} of the base's tasks ({_some(missing)})"
        report(Progress(NOTE, 0, 1, note))
    ordered = {name: stores[name] for name in names if name in stores}
    for store in ordered.values():
        store.verify()  # altered numbers would be learned without a word
    return ordered


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _seen(suite: Suite, method: Method) -> Seen:
    """How steps are compared: as the suite says, else by all numbers that the policy sees."""
    own: Seen | None = getattr(suite, "from_hand", None)
    shape = method.base.shape
    return own or scaled_numbers({name: scale for name, scale in shape.scales.items() if name not in shape.kinds})


def _bytes(store: DemonstrationStore) -> int:
    return sum(store[name].nbytes for name in store.features) + np.asarray(store.offsets).nbytes
