"""The toy robot seen from above: a picture instead of the markers' places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tests.small import ENCODER, LANGUAGE, make_stores
from tests.toy import TASKS, Table, Toy

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lessons import groups_of, lessons_of
from skilltokens.methods.base import Lesson, generator_of
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.types import ACTION, STATE, Feature, Observation, Scale, Task

TOP = "observation.images.top"
SIZE = 40


@dataclass
class Pictured(Toy):
    """The suite."""

    name: str = "pictured"
    features: Mapping[str, Feature] = field(
        default_factory=lambda: {STATE: Feature((2,)), TOP: Feature((SIZE, SIZE, 3), "uint8"), ACTION: Feature((2,))}
    )
    scales: Mapping[str, Scale] = field(default_factory=lambda: {STATE: Scale((0.0,) * 2, (0.5,) * 2)})

    def make(self, task: Task) -> Table:
        return SeenFromAbove(task, self.horizon)


class SeenFromAbove(Table):
    """The table, observed by a camera above it."""

    def _observation(self) -> Observation:
        return {STATE: self.place.astype(np.float32), TOP: self.picture()}

    def picture(self) -> np.ndarray:
        picture = np.full((SIZE, SIZE, 3), 235, np.uint8)
        for place, colour in ((self.red, (200, 40, 40)), (self.blue, (40, 60, 200)), (self.place, (20, 20, 20))):
            x, y = np.round((place + 1) / 2 * (SIZE - 1)).astype(int)
            picture[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] = colour
        return picture


@dataclass
class SeenToo(Toy):
    """The toy robot with its markers' places, and a picture besides."""

    name: str = "seen-too"

    def __post_init__(self) -> None:
        self.features = {**self.features, TOP: Feature((SIZE, SIZE, 3), "uint8")}

    def make(self, task: Task) -> Table:
        return BothSeen(task, self.horizon)


class BothSeen(SeenFromAbove):
    """The table, observed by a camera above it and as numbers."""

    def _observation(self) -> Observation:
        return {**Table._observation(self), TOP: self.picture()}


def pictured_stores(folder: Path, tasks: Sequence[Task] = TASKS[:3], episodes: int = 3) -> list[DemonstrationStore]:
    return make_stores(folder, tasks, episodes, Pictured())


def pictured_policy(seed: int = 0, trunk: str = "none") -> Policy:
    suite = Pictured()
    settings = PolicySettings(width=64, layers=1, history=4)
    if trunk != "none":
        settings = replace(settings, trunk=trunk, neck=8, points=4)
    return Policy(Shape.of(suite.features, suite.scales, LANGUAGE), settings, generator_of(seed, 0))


def pictured_lessons(stores: Sequence[DemonstrationStore]) -> list[Lesson]:
    return lessons_of([store.task for store in stores], stores, ENCODER, groups_of(len(stores)))
