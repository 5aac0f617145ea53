"""Features once: kept beside the demonstrations, the bits of acting, resumed, bounded, and never half written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.pictured import TOP, pictured_policy, pictured_stores
from tests.toy import TASKS

from skilltokens.demos import DemonstrationStore, stores_in
from skilltokens.locking import LOCKS
from skilltokens.model import kept
from skilltokens.model.features import precomputed
from skilltokens.model.kept import FOLDER, PART, PIECES, WHOLE, Entry
from skilltokens.model.trunks.trunk import FrozenTrunk
from skilltokens.types import Array, DemonstrationError, Progress

POLICY = pictured_policy(trunk="lite0-random")
ENCODERS = {path.replace("/", "."): encoder for path, encoder in POLICY.encoders.items()}
LIMIT = 1.0


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    pictured_stores(folder, TASKS[:2], 2)
    return folder


@pytest.fixture
def stores(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[DemonstrationStore]:
    """Stores of their own without features."""
    shutil.copytree(originals, tmp_path / "demos", ignore=shutil.ignore_patterns(FOLDER))
    monkeypatch.setattr(kept, "PIECE", 8)
    monkeypatch.setattr(kept, "_seen", set())
    return stores_in(tmp_path / "demos")


def features(stores: list[DemonstrationStore], limit: float = LIMIT) -> list[Array]:
    return precomputed(ENCODERS, stores, "cpu", limit)[TOP]


def entries(store: DemonstrationStore) -> list[Path]:
    return sorted((store.path.parent / FOLDER).iterdir())


def whole_alone(entry: Path) -> bool:
    """Whether nothing unfinished lies in an entry."""
    return {path.name for path in entry.iterdir()} - set(LOCKS) == {WHOLE}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many pictures went through a trunk since it was last asked."""
    count = [0]
    compute = FrozenTrunk.compute

    def counted(self: FrozenTrunk, picture: torch.Tensor) -> torch.Tensor:
        count[0] += 1
        return compute(self, picture)

    monkeypatch.setattr(FrozenTrunk, "compute", counted)

    def ask() -> int:
        now, count[0] = count[0], 0
        return now

    return ask


def test_they_are_the_bits_that_acting_gives(stores: list[DemonstrationStore]):
    (array,) = features(stores[:1])
    assert array.dtype == np.float16
    pictures = torch.from_numpy(np.array(stores[0][TOP]))
    trunk = POLICY.trunk
    assert trunk is not None
    trunk._recent.clear()
    assert array.tobytes() == trunk.look(pictures).numpy().tobytes()
    seen = POLICY.looked({TOP: pictures[None]})[TOP][0]
    assert torch.equal(torch.from_numpy(np.array(array)).float(), seen)


def test_they_are_computed_once_and_shared(stores: list[DemonstrationStore], computed: Callable[[], int]):
    first = features(stores)
    assert computed() == sum(store.steps for store in stores) + kept.CHECKED * len(stores)
    again = features(stores_in(stores[0].path.parent))
    assert computed() == 0
    assert [a.tobytes() for a in first] == [b.tobytes() for b in again]
    assert all(whole_alone(entry) for entry in entries(stores[0]))
    assert [store.path for store in stores_in(stores[0].path.parent)] == [store.path for store in stores]


def test_a_part_of_a_store_has_its_own_pictures(stores: list[DemonstrationStore]):
    (whole,), (part,) = features(stores[:1]), features([stores[0].part(1, 2)])
    assert part.tobytes() == whole[int(stores[0].offsets[1]) :].tobytes()


def test_what_is_in_memory_stays_there(stores: list[DemonstrationStore]):
    arrays = {name: np.asarray(stores[0][name][:5]) for name in stores[0].features}
    held = stores[0].holding(arrays, np.array([0, 5]))
    for one, limit in ((held, LIMIT), (stores[0], 0.0)):
        assert len(features([one], limit)[0]) == one.steps
    assert not (stores[0].path.parent / FOLDER).exists()


class Killed(BaseException):
    """As a killed process: nothing catches it."""


def test_a_killed_computation_goes_on(
    stores: list[DemonstrationStore], computed: Callable[[], int], monkeypatch: pytest.MonkeyPatch
):
    whole = features(stores[:1])[0].tobytes()
    (entry,) = entries(stores[0])
    shutil.rmtree(entry)
    compute = Entry.compute

    def dying(self: Entry, first: int, last: int) -> Array:
        if first >= 2 * kept.PIECE:
            raise Killed
        return compute(self, first, last)

    with monkeypatch.context() as patch:
        patch.setattr(Entry, "compute", dying)
        with pytest.raises(Killed):
            features(stores[:1])
    with (entry / PART).open("ab") as part:  # half a piece behind the whole ones
        part.write(b"\0" * 100)
    computed()
    assert features(stores[:1])[0].tobytes() == whole
    assert computed() == stores[0].steps - 2 * kept.PIECE + kept.CHECKED


@pytest.mark.parametrize("name", [PART, PIECES])
def test_a_piece_that_was_altered_is_computed_again(
    name: str, stores: list[DemonstrationStore], computed: Callable[[], int], monkeypatch: pytest.MonkeyPatch
):
    whole = features(stores[:1])[0].tobytes()
    (entry,) = entries(stores[0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(Killed()))
        (entry / WHOLE).unlink()
        with pytest.raises(Killed):
            features(stores[:1])
    content = bytearray((entry / name).read_bytes())
    content[-40] ^= 1
    (entry / name).write_bytes(content)
    computed()
    assert features(stores[:1])[0].tobytes() == whole
    assert 0 < computed() < stores[0].steps


@pytest.mark.parametrize("damage", ["cut", "longer", "other pictures", "no array", "other shape"])
def test_a_file_that_is_not_what_it_should_be_is_made_anew(damage: str, stores: list[DemonstrationStore]):
    whole, other = (array.copy() for array in features(stores))
    for entry in entries(stores[0]):
        path = entry / WHOLE
        content = path.read_bytes()
        if damage == "cut":
            path.write_bytes(content[:-100])
        elif damage == "longer":
            path.write_bytes(content + b"\0")
        elif damage == "other pictures":
            altered = np.load(path)
            altered[0] = altered[-1] + 1
            np.save(path, altered)
        elif damage == "no array":
            path.write_bytes(b"no array")
        else:
            np.save(path, np.zeros((3, 2), np.float16))
    again = features(stores)
    assert [again[0].tobytes(), again[1].tobytes()] == [whole.tobytes(), other.tobytes()]


def test_what_was_not_used_for_longest_goes_first(stores: list[DemonstrationStore]):
    one = features(stores[:1])[0].nbytes / 1e9
    (oldest,) = entries(stores[0])
    os.utime(oldest, (1, 1))
    features(stores[1:], 1.5 * one)
    assert not oldest.exists()
    assert len(entries(stores[0])) == 1


def test_what_does_not_fit_is_refused_and_what_is_needed_stays(stores: list[DemonstrationStore]):
    one = features(stores[:1])[0].nbytes / 1e9
    with pytest.raises(DemonstrationError, match=r"takes 0\.\d GB in .* more than train\.features-gb .*: raise it"):
        features(stores, 1.1 * one)
    assert whole_alone(entries(stores[0])[0])


def test_a_full_disk_is_said_and_loses_nothing(stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
        with pytest.raises(DemonstrationError, match=r"the disk has 0\.0 GB left: free some space, or use"):
            features(stores[:1])
    pieces = [0]

    def full(_: int) -> None:
        pieces[0] += 1
        if pieces[0] > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DemonstrationError, match=r"No space left on device.* which goes on from here"):
            features(stores[:1])
    (entry,) = entries(stores[0])
    assert (entry / PIECES).stat().st_size > 0
    assert len(features(stores[:1])[0]) == stores[0].steps


def test_progress_is_told_where_it_takes_long(stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch):
    news: list[Progress] = []
    for patience in (60.0, 0.0):
        monkeypatch.setattr(kept, "PATIENCE", patience)
        for entry in [] if patience else entries(stores[0]):
            shutil.rmtree(entry)
        precomputed(ENCODERS, stores[:1], "cpu", LIMIT, news.append)
        assert bool(news) == (patience == 0)
    assert (news[-1].stage, news[-1].done, news[-1].total) == ("features", stores[0].steps, stores[0].steps)
    assert news[-1].note == f"{stores[0].task.name} top"
