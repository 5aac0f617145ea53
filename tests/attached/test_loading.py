"""Who makes a policy of a base, where its files lie, and what its loader says of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.attached.bases import load, write
from tests.attached.test_library import FEATURES, SHARE, create

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.loading import Base
from skilltokens.attached.statistics import WHOLE
from skilltokens.demos import DemonstrationStore
from skilltokens.grow_attached import learn_attached
from skilltokens.settings import TrainSettings
from skilltokens.types import ACTION, STATE, LibraryError, SettingError

TRAIN = TrainSettings(iterations=2, batch=4)


class Loader:
    """One that knows its bases, and wants states and actions in ranges."""

    def __init__(self) -> None:
        self.base = Base(torch.nn.Identity(), spreads={STATE: WHOLE, ACTION: WHOLE}, features=FEATURES)
        self.batches = 0

    def knows(self, place: Path) -> bool:
        return (place / "config.json").exists()

    def __call__(self, place: Path) -> Base:
        return replace(self.base, policy=load(place), prepare=self.prepare)

    def prepare(self, batch: dict) -> dict:
        self.batches += 1
        return batch


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> Loader:
    loader = Loader()
    entries = [SimpleNamespace(name=name, value="x", load=lambda: loader) for name in names]
    monkeypatch.setattr("skilltokens.attached.loading.entry_points", lambda group: entries)
    return loader


def beside(folder: Path, base: Path, store: DemonstrationStore) -> AttachedLibrary:
    return AttachedLibrary.create(folder, base, share=SHARE, features=store.features)


def test_the_installed_loader_that_knows_a_base_needs_no_name(
    tmp_path: Path, toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, store = write(tmp_path / "base"), toy_stores[0]
    loader = installed(monkeypatch, "mine")
    library = learn_attached(beside(tmp_path / "library", base, store), store, train=TRAIN, aside=0)
    assert library.source.loader == "mine"
    assert loader.batches >= TRAIN.iterations
    skill = library.numbers("reach-red")
    assert skill is not None
    assert skill.statistics.keys() == {f"{name}{part}" for name in (STATE, ACTION) for part in (".center", ".unit")}
    values = np.asarray(store[STATE], np.float64)
    np.testing.assert_allclose(skill.statistics[f"{STATE}.unit"], (values.max(0) - values.min(0)) / 2, rtol=1e-6)
    installed(monkeypatch)
    with pytest.raises(LibraryError, match="the base's loader 'mine' is not installed here: install its package"):
        _ = AttachedLibrary.open(library.folder).attached
    installed(monkeypatch, "mine", "yours")
    with pytest.raises(LibraryError, match="is known to mine and yours: choose one"):
        beside(tmp_path / "other", base, store)


def test_what_the_base_does_not_find_in_the_data_is_said(
    tmp_path: Path, toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write(tmp_path / "base")
    loader = installed(monkeypatch, "mine")
    loader.base = replace(loader.base, features={**FEATURES, "observation.gripper": FEATURES[ACTION]})
    with pytest.raises(LibraryError, match=r"reads 'observation.gripper', float32 \(2,\), which is absent in"):
        beside(tmp_path / "library", base, toy_stores[0])
    loader.base = replace(loader.base, features=FEATURES)
    more = {**toy_stores[0].features, "observation.gripper": FEATURES[ACTION]}
    library = AttachedLibrary.create(tmp_path / "library", base, share=SHARE, features=more)
    assert library.features == dict(FEATURES)  # a robot that has no such reading can act too


def test_an_output_folder_of_lerobot_train_means_its_last_policy(tmp_path: Path) -> None:
    made_of = write(tmp_path / "base")
    place = tmp_path / "outputs" / "checkpoints" / "000100" / "pretrained_model"
    place.parent.mkdir(parents=True)
    shutil.copytree(made_of, place)
    (tmp_path / "outputs" / "checkpoints" / "last").symlink_to("000100")
    library = create(tmp_path / "library", tmp_path / "outputs")
    assert library.source.path == str(place.resolve())  # and not a link, which the next training moves


def test_pickled_numbers_are_never_opened(tmp_path: Path) -> None:
    place = tmp_path / "base"
    place.mkdir()
    torch.save({}, place / "pytorch_model.bin")
    with pytest.raises(LibraryError, match=r"holds pytorch_model\.bin, which is pickled and never opened"):
        create(tmp_path / "library", place)
    with pytest.raises(SettingError, match="there is no loader 'nobody'"):
        create(tmp_path / "library", write(tmp_path / "other"), loader="nobody")
    assert not (tmp_path / "library").exists()
