"""Libraries that the tests of this folder copy and change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.skills.making import make_library


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a skill of every form; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "library"
    make_library(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "library"))
