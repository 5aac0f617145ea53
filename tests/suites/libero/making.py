"""Stores of LIBERO that take no expert: a few steps of random moves, with the simulator's states."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import store_path
from skilltokens.types import ACTION, SIMULATOR_STATE, Episode, Feature, Suite, Task


def settings_for(folder: Path, episodes: int) -> DemonstrationSettings:
    return DemonstrationSettings(episodes=episodes, folder=str(folder))


def moves_store(folder: Path, suite: Suite, task: Task, episodes: int, steps: int) -> DemonstrationStore:
    """Writes the store FOLDER/SUITE/TASK, which claims to be made with `settings_for`."""
    settings = settings_for(folder, episodes)
    environment = suite.make(task)
    recorded = [_episode(environment, index, steps) for index in range(episodes)]
    width = recorded[0].features[SIMULATOR_STATE].shape[1]
    return write_store(
        store_path(suite, task, settings),
        recorded,
        task=task,
        features={**suite.features, SIMULATOR_STATE: Feature((width,), "float64")},
        source="scripted",
        suite=suite.name,
        versions=suite.versions(),
        settings={"episodes": episodes, "noise": settings.noise, "seed": settings.seed},
    )


def _episode(environment, index: int, steps: int) -> Episode:
    random = np.random.default_rng(index)
    observation, rows = environment.reset("train", index), []
    for _ in range(steps):
        action = random.uniform(-1, 1, 7).astype(np.float32)
        rows.append({**observation, ACTION: action, SIMULATOR_STATE: environment.state()})
        observation, _ = environment.step(action)
    return Episode({name: np.stack([row[name] for row in rows]) for name in rows[0]})
