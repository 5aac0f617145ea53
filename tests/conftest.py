"""What the tests of the core share."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import hypothesis
import pytest

from skilltokens.machine import cores

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore

# A busy machine is no fault: tests make no claim on time.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core, and one thread each: libraries read this when they are loaded, here and in tests' commands.
    os.environ["OMP_NUM_THREADS"] = "1"

MOST_WORKERS = 8
"""Processes that `-n auto` starts at most: each may come to hold a gibibyte."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-tasks", action="store_true", help="tests take every task and every moment, not some")


def pytest_configure() -> None:
    """A shell that runs the tests in the background makes them ignore Ctrl-C, and so would the commands they stop."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several processes the longest files come first, so that none of them is left over at the end."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` is. Lanes have no xdist."""
    return min(cores(), MOST_WORKERS)


@pytest.fixture(scope="session")
def toy_stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    """Four demonstrations of each toy task."""
    from tests.small import make_stores  # torch: only where these are used

    return make_stores(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_demos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of demonstrations for runs of the toy suite, four of a task; the first such run makes them."""
    return str(tmp_path_factory.mktemp("demos"))
