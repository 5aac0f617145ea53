"""Experience replay (arXiv 1902.10486; for robots LIBERO's, arXiv 2306.03310): old windows behind each new batch.

After a lesson some windows of its demonstrations are kept (`memory.py`). In every later step as many of them as the
batch has new ones are put behind it, drawn uniformly from those of all earlier tasks, and both halves weigh the same.
LIBERO's own code keeps the first windows of a task, which are those of its first few episodes; here they are a fair
sample of the windows of all episodes, or as many of each phase of each episode (`phases.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skilltokens.methods.base import Lesson, under
from skilltokens.methods.er import ERSettings
from skilltokens.methods.er.memory import Memory, Replayed, most_bytes
from skilltokens.methods.er.phases import spread
from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.simulation.memory import available, gibibytes
from skilltokens.types import SettingError

MEMORY = "memory."


class Replay(Rule):
    """As many old windows behind the new ones, with the same weight in the loss."""

    passes = 2.0

    def __init__(self, memory: Replayed) -> None:
        self.memory = memory

    def examples(self, new: Examples, now: Now) -> Examples:
        return new.joined(self.memory.sample(len(new), now.generator))


class ER(Sequential):
    """Keeps windows of each task when it is learned."""

    settings: ERSettings

    def __init__(self, base: Policy, settings: ERSettings, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.memory = Memory(train)

    def check_memory(self, lessons: Sequence[Lesson]) -> None:
        windows, free = self.settings.windows, available()
        needed = 2 * most_bytes(lessons, windows, self.train.window)  # a copy while it is written
        if free is not None and needed > free:
            raise SettingError(
                f"replay would take {gibibytes(needed)} of memory ({windows} windows of {self.train.window} steps of "
                f"each task, twice while they are saved) where {gibibytes(free)} are free: lower method.windows"
            )

    def rule(self, lesson: Lesson) -> Rule:
        return Replay(self.memory.source(self.base)) if len(self.memory) else Rule()

    def finish(self, lesson: Lesson) -> None:
        for number, task in enumerate(lesson.apart()):
            self.memory.add(task, self._chosen(task, np.random.default_rng([self.seed, lesson.index, number])))

    def _chosen(self, task: Lesson, generator: np.random.Generator) -> NDArray[np.int64]:
        """The last steps of the windows of a task that are kept."""
        (store,) = task.stores
        if self.settings.keep == "phases":
            return spread(store, self.settings.windows, generator)
        number = min(self.settings.windows, store.steps)
        return np.sort(generator.choice(store.steps, size=number, replace=False))

    def remembered(self) -> int:
        return self.memory.nbytes()

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **{f"{MEMORY}{name}": value for name, value in self.memory.state().items()}}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        super().restore({name: value for name, value in state.items() if not name.startswith(MEMORY)}, lessons)
        self.memory.restore(under(MEMORY, state), lessons)
