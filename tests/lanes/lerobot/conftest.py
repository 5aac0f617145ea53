"""Libraries for LeRobot: of the toy robot, of its pictures, and of Meta-World."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lerobot.utils.import_utils import register_third_party_plugins
from tests.pictured import pictured_stores
from tests.small import make_stores
from tests.toy import TASKS

from skilltokens.demos import DemonstrationStore
from skilltokens.grow import learn_skill
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.suites import load_suite, task_of

register_third_party_plugins()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


SMALL = PolicySettings(width=32, layers=2)


def grown(folder: Path, stores: list[DemonstrationStore], train: TrainSettings, policy: PolicySettings = SMALL) -> Path:
    """A library of these skills, whose folder is a checkpoint of LeRobot."""
    for store in stores:
        learn_skill(folder, store, train=train, policy=policy)
    return folder


@pytest.fixture(scope="session")
def toy_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two skills of the toy robot that succeed sometimes."""
    folder = tmp_path_factory.mktemp("toy")
    train = TrainSettings(iterations=60, first_iterations=60, rate=3e-3, window=12, batch=16)
    return grown(folder / "library", make_stores(folder / "stores", TASKS[:2], 30), train)


@pytest.fixture(scope="session")
def pictured_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One skill that sees a picture."""
    folder = tmp_path_factory.mktemp("pictured")
    train = TrainSettings(iterations=3, first_iterations=3, window=12, batch=8)
    return grown(folder / "library", pictured_stores(folder / "stores", TASKS[:1]), train)


@pytest.fixture(scope="session")
def chunked_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two skills that predict four actions at a time."""
    folder = tmp_path_factory.mktemp("chunked")
    train = TrainSettings(iterations=3, first_iterations=3, window=12, batch=8)
    policy = PolicySettings(width=32, layers=2, chunk=4)
    return grown(folder / "library", make_stores(folder / "stores", TASKS[:2]), train, policy)


@pytest.fixture(scope="session")
def arm_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Meta-World skill that closes the window most of the time."""
    from skilltokens.demos import write_store

    folder, suite = tmp_path_factory.mktemp("metaworld"), load_suite("metaworld")
    task = task_of(suite, "window-close")
    store = write_store(
        folder / "store",
        suite.demonstrate(task, 10, 0, 0.1),
        task=task,
        features=suite.features,
        source="scripted",
        suite=suite.name,
        versions=suite.versions(),
    )
    return grown(folder / "library", [store], TrainSettings(first_iterations=60, rate=3e-3))
