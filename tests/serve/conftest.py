"""A library and a server that listens, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.served import make_served

from skilltokens.serve.server import PolicyServer, serving
from skilltokens.serve.settings import ServeSettings
from skilltokens.skills.library import SkillLibrary


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two skills; not to be changed."""
    return make_served(tmp_path_factory.mktemp("served") / "library").folder


@pytest.fixture
def library(folder: Path) -> SkillLibrary:
    """It, opened apart from what a server opened."""
    return SkillLibrary.open(folder)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the server logged."""
    return []


@pytest.fixture(scope="module")
def server(folder: Path, lines: list[str]) -> Iterator[PolicyServer]:
    """A server that listens on a free port; not to be stopped."""
    server = PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0), log=lines.append)
    with serving(server):
        yield server


@pytest.fixture
def address(server: PolicyServer) -> str:
    return "{}:{}".format(*server.address)
