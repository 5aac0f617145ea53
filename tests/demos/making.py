"""Small stores and episodes for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Episode, Feature, Task

FRONT = "observation.images.front"
FEATURES = {STATE: Feature((4,)), ENVIRONMENT_STATE: Feature((6,), "float64"), ACTION: Feature((3,))}
WITH_IMAGES = {**FEATURES, FRONT: Feature((5, 4, 3), "uint8")}
PUSH = Task("push-v3", "push the puck to the goal", ("shove the puck onto the target",), ("move the puck there",))


def episode(steps: int, seed: int = 0, images: bool = False) -> Episode:
    """Random values of the features above; step t of the state starts with t, so that a step knows its place."""
    random = np.random.default_rng([seed, steps])
    features = {
        STATE: random.normal(size=(steps, 4)).astype(np.float32),
        ENVIRONMENT_STATE: random.normal(size=(steps, 6)),
        ACTION: random.uniform(-1, 1, size=(steps, 3)).astype(np.float32),
    }
    features[STATE][:, 0] = np.arange(steps)
    if images:
        features[FRONT] = random.integers(0, 256, size=(steps, 5, 4, 3), dtype=np.uint8)
    return Episode(features)


def make_store(
    path: Path, lengths: Sequence[int] = (5, 1, 8), *, seed: int = 0, images: bool = False, task: Task = PUSH
) -> DemonstrationStore:
    episodes = (episode(steps, seed + number, images) for number, steps in enumerate(lengths))
    return store_of(path, episodes, images=images, task=task)


def store_of(path: Path, episodes: Iterable[Episode], *, images: bool = False, task: Task = PUSH) -> DemonstrationStore:
    return write_store(
        path,
        episodes,
        task=task,
        features=WITH_IMAGES if images else FEATURES,
        source="scripted",
        suite="toy",
        versions={"toy": "1.0"},
        settings={"noise": 0.1, "seed": 0},
    )
