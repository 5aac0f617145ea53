"""What replay keeps of the tasks learned: windows of their demonstrations, in memory, each step of them once.

Windows overlap, so a step that many of them contain is kept once for all: what is kept of a task is never more than its
demonstrations. Numbers and pictures stay as the demonstrations have them, unscaled, and pictures in bytes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skilltokens.demos.store import DemonstrationStore
from skilltokens.methods.base import Lesson, under
from skilltokens.methods.examples import Examples, Source
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings


class Memory:
    """Windows of earlier tasks, by the tasks' names; of a task that is taught again those of the last time.

    Args:
        settings: of the training; a window is as long as there.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.lessons: dict[str, Lesson] = {}
        """Each task alone, with a store in memory of the steps that its windows contain."""
        self.ends: dict[str, NDArray[np.int64]] = {}
        """The windows' last steps in that store."""

    def __len__(self) -> int:
        """How many windows there are."""
        return sum(map(len, self.ends.values()))

    def add(self, lesson: Lesson, ends: NDArray[np.int64]) -> None:
        """Keeps windows of a lesson of one task.

        Args:
            ends: their last steps (n,), counted over the task's demonstrations.
        """
        (name,), (store,) = lesson.names, lesson.stores
        needed, offsets = _needed(store, ends, self.settings.window, lesson.chunk)
        arrays = {feature: np.asarray(store[feature])[needed] for feature in store.features}
        self.lessons[name] = dataclasses.replace(lesson, stores=(store.holding(arrays, offsets),))
        self.ends[name] = np.cumsum(needed)[ends] - 1

    def source(self, policy: Policy | None = None) -> Replayed:
        """The windows as examples; of pictures that the policy sees through a frozen trunk, what that makes of them."""
        return Replayed(list(self.lessons.values()), list(self.ends.values()), self.settings, policy)

    def nbytes(self) -> int:
        """Bytes of all that is kept, the tasks' sentence vectors included."""
        kept = [*self.state().values()]
        words = sum(vectors.nbytes for lesson in self.lessons.values() for vectors in lesson.embeddings)
        return sum(tensor.nbytes for tensor in kept) + words

    def state(self) -> dict[str, Tensor]:
        """All but what the lessons know themselves."""
        tensors: dict[str, Tensor] = {}
        for number, (name, lesson) in enumerate(self.lessons.items()):
            (store,) = lesson.stores
            arrays = {f"feature.{feature}": np.asarray(store[feature]) for feature in store.features}
            arrays |= {"offsets": np.asarray(store.offsets), "ends": self.ends[name]}
            tensors |= {f"{number}.{key}": torch.from_numpy(array) for key, array in arrays.items()}
        return tensors

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        """The reverse of `state`; `lessons` are those learned so far."""
        self.lessons, self.ends = {}, {}
        tasks = {task.names[0]: task for lesson in lessons for task in lesson.apart()}
        for number, (name, lesson) in enumerate(tasks.items()):
            arrays = {key: tensor.cpu().numpy() for key, tensor in under(f"{number}.", state).items()}
            features = {feature: arrays[f"feature.{feature}"] for feature in lesson.stores[0].features}
            held = lesson.stores[0].holding(features, arrays["offsets"])
            self.lessons[name], self.ends[name] = dataclasses.replace(lesson, stores=(held,)), arrays["ends"]


class Replayed:
    """Windows of several tasks, all equally likely; each comes with any of its task's wordings."""

    def __init__(
        self,
        lessons: Sequence[Lesson],
        ends: Sequence[NDArray[np.int64]],
        settings: TrainSettings,
        policy: Policy | None = None,
    ) -> None:
        stores, vectors = [lesson.stores[0] for lesson in lessons], tuple(lesson.embeddings[0] for lesson in lessons)
        together = dataclasses.replace(lessons[0], stores=tuple(stores), embeddings=vectors)
        self._source = Source(together, settings, policy)
        before = np.cumsum([0, *(store.steps for store in stores)])
        self._numbers = np.concatenate([own + start for own, start in zip(ends, before, strict=False)])

    def sample(self, number: int, generator: np.random.Generator) -> Examples:
        """So many windows at random, with repetition."""
        return self._source.at(self._numbers[generator.integers(len(self._numbers), size=number)], generator)


def most_bytes(lessons: Sequence[Lesson], windows: int, window: int) -> int:
    """The most bytes that so many windows of each task can take."""
    tasks = {task.names[0]: task for lesson in lessons for task in lesson.apart()}
    return sum(
        min(task.stores[0].steps, windows * (window + task.chunk - 1)) * _step_bytes(task.stores[0])
        for task in tasks.values()
    )


def _step_bytes(store: DemonstrationStore) -> int:
    return sum(math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in store.features.values())


def _needed(
    store: DemonstrationStore, ends: NDArray[np.int64], window: int, chunk: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which steps of a store windows contain (steps,), and the offsets of the runs that they make.

    A window reaches back to its first step, or its episode's, and ahead to the last action of its last step's chunk, or
    its episode's. So the windows are the same in a store in which each run is an episode.
    """
    offsets = np.asarray(store.offsets)
    episode = np.searchsorted(offsets, ends, side="right") - 1
    first = np.maximum(ends - window + 1, offsets[episode])
    last = np.minimum(ends + chunk, offsets[episode + 1])
    change = np.zeros(store.steps + 1, np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    needed = np.cumsum(change[:-1]) > 0
    begins = needed.copy()
    begins[1:] &= ~needed[:-1]
    begins[offsets[:-1]] = needed[offsets[:-1]]
    return needed, np.concatenate([np.cumsum(needed)[begins] - 1, [needed.sum()]]).astype(np.int64)
