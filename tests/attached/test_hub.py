"""A base at the Hub: downloaded once by its commit, and refused in a sentence where it is not there or another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from tests.attached.bases import write
from tests.attached.test_library import LOADER, acts, create, numbers, opened
from tests.hubstub import Hub, at_home

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.loading import located, source_of
from skilltokens.types import HubError, LibraryError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own, of httpx2
NAME = "me/policy"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with at_home(monkeypatch, tmp_path) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def test_a_base_at_the_hub_is_known_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in write(tmp_path / "base").iterdir()}
    stored = hub.make(NAME)
    first = stored.put(files)
    stored.names["v1"] = first.name
    second = stored.put({**files, "config.json": b'{"kind": "unet"}'})
    one, place, _ = source_of(NAME, "v1")
    assert (one.path, one.revision) == (NAME, first.name)
    assert {name: (place / name).read_bytes() for name in files} == files
    newest, _, _ = source_of(NAME)
    assert newest.revision == second.name
    assert newest.files != one.files
    asked = len(hub.asked)
    assert located(NAME, first.name) == (place, first.name)  # what is here is not asked for again
    assert len(hub.asked) == asked
    with pytest.raises(HubError, match="v2"):
        located(NAME, "v2")
    with pytest.raises(HubError, match="me/nothing"):
        located("me/nothing")


def test_skills_stay_beside_their_commit_whatever_the_base_s_maker_does(hub: Hub, tmp_path: Path) -> None:
    stored = hub.make(NAME)
    stored.put({path.name: path.read_bytes() for path in write(tmp_path / "base").iterdir()})
    library = create(tmp_path / "library", Path(NAME))
    library.add("push", ["push the block"], numbers(library, 1))
    actions = acts(library.actor_of("push"))
    stored.put({path.name: path.read_bytes() for path in write(tmp_path / "newer", seed=3).iterdir()})
    assert np.array_equal(acts(opened(tmp_path / "library").actor_of("push")), actions)
    with pytest.raises(LibraryError, match="is not what it was when skills were attached"):
        _ = AttachedLibrary.open(tmp_path / "library", loader=LOADER, base=NAME).attached
    for base, revision in (("me/nothing", ""), (NAME, "no-such-branch"), (NAME, "0" * 40)):
        with pytest.raises(HubError, match="me/"):
            create(tmp_path / "other", Path(base), revision=revision)
    assert not (tmp_path / "other").exists()
