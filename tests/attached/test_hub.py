"""A base at the Hub: referred to by its commit, downloaded once, and refused where it is not what skills stand on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from tests.attached.bases import write
from tests.attached.test_library import acts, create, numbers, opened
from tests.hubstub import Hub, at_home

from skilltokens.attached.library import AttachedLibrary
from skilltokens.types import HubError, LibraryError


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with at_home(monkeypatch, tmp_path) as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def put(hub: Hub, folder: Path) -> None:
    stored = hub.repositories.get("me/base") or hub.make("me/base")
    stored.put({path.name: path.read_bytes() for path in folder.iterdir()})


def test_a_base_at_the_hub_stays_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    put(hub, write(tmp_path / "base"))
    library = create(tmp_path / "library", "me/base")  # pyright: ignore[reportArgumentType]
    library.add("push", ["push the block"], numbers(library, 1))
    actions, commit = acts(library.actor_of("push")), library.source.revision
    assert library.source.path == "me/base"
    assert len(commit) == 40
    put(hub, write(tmp_path / "newer", seed=3))  # its maker goes on
    before = len(hub.fetched())
    assert np.array_equal(acts(opened(tmp_path / "library").actor_of("push")), actions)
    assert len(hub.fetched()) == before
    newer = AttachedLibrary.open(tmp_path / "library", loader="tests.attached.bases:load", base="me/base")
    with pytest.raises(LibraryError, match="is not what it was when skills were attached"):
        _ = newer.attached


@pytest.mark.parametrize(("base", "revision"), [("me/none", ""), ("me/base", "no-such-branch"), ("me/base", "0" * 40)])
def test_what_the_hub_has_not_leaves_nothing(hub: Hub, tmp_path: Path, base: str, revision: str) -> None:
    put(hub, write(tmp_path / "base"))
    with pytest.raises(HubError, match="me/"):
        create(tmp_path / "library", base, revision=revision)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "library").exists()
