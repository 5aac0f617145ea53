"""One run of the toy suite for all tests of learn()."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.experiments.lifelong.runs import TASKS, Settings, work
from tests.killing import dies

from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.records import LifelongRecord
from skilltokens.experiments.settings import RunSettings
from skilltokens.locking import LOCKS
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def settings(place: Path) -> Settings:
    return RunSettings(
        method=T2SSettings(reuse=1.0, rows_in="all"),
        suite="tests.toy:Toy",
        tasks=TASKS,
        policy=PolicySettings(width=16, layers=1, history=4),
        train=TrainSettings(iterations=6, first_iterations=10, batch=8, window=6, log_every=2, observation_noise=0.01),
        evaluate=EvaluateSettings(episodes=4, group=4, points=3, horizon=12),
        demonstrations=DemonstrationSettings(episodes=4, folder=str(place / "demos")),
    )


@pytest.fixture(scope="session")
def whole(place: Path, settings: Settings) -> LifelongRecord:
    """A run that was never interrupted."""
    return learn(settings, place / "whole", recipe="small")


@pytest.fixture(scope="session")
def begun(place: Path, settings: Settings, whole: LifelongRecord) -> Path:
    """A run that died in its second lesson."""
    assert dies(work, place / "begun", {"train"}, 12, settings) == "train"
    folder = place / "begun"
    names = {path.name for path in folder.iterdir() if ".tmp-" not in path.name and path.name not in LOCKS}
    assert names == {"run.json", "state-1.safetensors", "progress.safetensors"}
    return folder


@pytest.fixture
def half(begun: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    return shutil.copytree(begun, tmp_path / "half")
