"""What the benchmarks measure on: the default policy and training, with Meta-World's shapes and random data.

Speed does not depend on what the numbers say, so no simulator is needed but where one is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.timing import Effort
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.methods import load_method, method_settings
from skilltokens.methods.base import Lesson, Training
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import Array, Episode, Feature, Task

LANGUAGE = 384
"""Width of MiniLM's sentence vectors."""
STEPS = 80
"""Steps of a demonstration; Meta-World's experts need 42 to 147."""


@dataclass(frozen=True)
class Bench:
    """What every benchmark gets."""

    effort: Effort
    folder: Path
    """For files that are removed afterwards."""
    quick: bool = False
    """See that it runs; the figures do not count."""


def make_store(
    path: Path, episodes: int, features: Mapping[str, Feature] | None = None, number: int = 0
) -> DemonstrationStore:
    """A store of random demonstrations of `STEPS` steps each."""
    features = features or MetaWorld().features
    rng = np.random.default_rng(number)

    def random_episodes() -> Iterator[Episode]:
        for _ in range(episodes):
            yield Episode({name: _values(feature, rng) for name, feature in features.items()})

    task = Task(f"task-{number}", f"instruction {number}")
    return write_store(path, random_episodes(), task=task, features=features, source="random", suite="benchmark")


def _values(feature: Feature, rng: np.random.Generator) -> Array:
    shape = (STEPS, *feature.shape)
    if feature.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.uniform(-1, 1, shape).astype(feature.dtype)


def make_policy(settings: PolicySettings | None = None) -> Policy:
    """A policy with random weights for Meta-World's observations and actions."""
    suite = MetaWorld()
    return Policy(Shape.of(suite.features, suite.scales, LANGUAGE), settings or PolicySettings())


def make_lesson(index: int, store: DemonstrationStore) -> Lesson:
    """A lesson of one task, with two wordings."""
    return Lesson(
        index,
        (store.task.name,),
        (store,),
        (("one wording", "another wording"),),
        (embedding(index, wordings=2),),
        first=index,
    )


def embedding(number: int, wordings: int = 1) -> Array:
    """Unit vectors like those of sentences, (wordings, LANGUAGE)."""
    vectors = np.random.default_rng([number, 1]).standard_normal((wordings, LANGUAGE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_training(kind: str, store: DemonstrationStore, train: TrainSettings) -> Training:
    """What fit() trains: the "T2S base", a "T2S skill" or "T2S rows skill" (by new rows alone) added to it, or the same
    base of "linear" layers."""
    if kind in ("T2S skill", "T2S rows skill"):
        return make_skill("t2s" if kind == "T2S skill" else "t2s-rows", store, train)
    name, policy = ("sequential", PolicySettings(maps="linear")) if kind == "linear" else ("t2s", PolicySettings())
    method = load_method(name)(make_policy(policy), method_settings(name)(), train, seed=0)
    return method.begin(make_lesson(0, store))


def make_skill(method: str, store: DemonstrationStore, train: TrainSettings) -> Training:
    """What fit() trains in a second lesson by a method, whose skill is new on the base that the first made."""
    grown = load_method(method)(make_policy(), method_settings(method)(), train, seed=0)
    grown.begin(make_lesson(0, store))
    grown.finish(make_lesson(0, store))
    return grown.begin(make_lesson(1, store))
