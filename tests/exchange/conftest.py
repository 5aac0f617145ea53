"""The Hub on this machine that the tests of downloads ask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tests.exchange.hub_server import BOWL, MB, REPOSITORY, STOVE, HubServer, serving

from skilltokens.exchange import download as transfers


def content(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfers, "PAUSES", (0.0, 0.0, 0.0))
    files = {
        "README.md": b"# LIBERO",
        f"libero_goal/{BOWL}_demo.hdf5": content(1, 3 * MB),
        f"libero_goal/{STOVE}_demo.hdf5": content(2, 2 * MB + 17),
        "libero_10/long_task_demo.hdf5": content(3, 100),
        "libero_goal/notes.txt": b"no demonstrations",
    }
    with serving(HubServer(REPOSITORY, files)) as hub:
        yield hub
