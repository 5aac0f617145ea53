"""ALOHA's layout: one episode a file, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.exchange.making import OPEN, foreign, opened

from skilltokens.cli.exchange.importing import import_
from skilltokens.demos import DemonstrationStore, check
from skilltokens.exchange.hdf5 import import_hdf5, task_in
from skilltokens.types import ACTION, STATE, DemonstrationError, Feature, SettingError

HIGH = "observation.images.cam_high"


def episode(path: Path, number: int, steps: int = 6, *, base: bool = False) -> Path:
    """As record_sim_episodes.py of github.com/tonyzhaozh/act writes one: numbers in float32, pictures in uint8."""
    random = np.random.default_rng(number)
    path.parent.mkdir(exist_ok=True)
    with opened(path, "w") as file:
        file.attrs["sim"] = True
        for key in ("qpos", "qvel"):
            file[f"observations/{key}"] = random.normal(size=(steps, 14)).astype(np.float32)
        file["observations/images/cam_high"] = random.integers(0, 256, (steps, 6, 8, 3), np.uint8)
        file["action"] = random.uniform(-1, 1, (steps, 14)).astype(np.float32)
        if base:
            file["base_action"] = random.uniform(-1, 1, (steps, 2)).astype(np.float32)
    return path


def array(path: Path, key: str) -> Any:
    with opened(path, "r") as file:
        return file[key][()]


def test_a_folder_of_episodes_is_one_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [episode(tmp_path / "cube" / f"episode_{number}.hdf5", number, 4 + number) for number in range(11)]
    words = [str(tmp_path / "cube"), str(tmp_path / "store"), "--instruction", "hand it over", "--images"]
    assert import_(words) == 0
    store = DemonstrationStore.open(tmp_path / "store")
    assert store.features == {STATE: Feature((14,)), HIGH: Feature((6, 8, 3), "uint8"), ACTION: Feature((14,))}
    assert np.diff(store.offsets).tolist() == list(range(4, 15))
    for number in (2, 10):
        shown = store.episode(number).features
        np.testing.assert_array_equal(shown[STATE], array(files[number], "observations/qpos"))
        np.testing.assert_array_equal(shown[HIGH], array(files[number], "observations/images/cam_high"))
        np.testing.assert_array_equal(shown[ACTION], array(files[number], "action"))
    assert (store.task.instruction, store.source, store.suite) == ("hand it over", "human", "own")
    assert check(store.path) == []
    assert "not taken: qvel" in capsys.readouterr().out


def test_a_file_is_a_store_of_one_episode(tmp_path: Path) -> None:
    path = episode(tmp_path / "cube" / "episode_3.h5", 3)
    store = import_hdf5(path, tmp_path / "store", task=OPEN)
    assert (store.episodes, store.settings["imported"]["file"]) == (1, "episode_3.h5")
    assert set(store.features) == {STATE, ACTION}


def test_a_base_that_drives_is_in_the_action(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = episode(tmp_path / "cube" / "episode_0.hdf5", 0, base=True)
    import_([str(path), str(tmp_path / "store"), "--instruction", "hand it over"])
    both = np.concatenate([array(path, "action"), array(path, "base_action")], axis=1)
    np.testing.assert_array_equal(DemonstrationStore.open(tmp_path / "store")[ACTION], both)
    assert "action <- action, base_action" in capsys.readouterr().out
    keys = {ACTION: ["action"], STATE: ["qpos", "qvel"]}
    store = import_hdf5(path, tmp_path / "store", task=OPEN, keys=keys)
    assert (store.features[ACTION].shape, store.features[STATE].shape) == ((14,), (28,))


def compress(path: Path) -> None:
    with opened(path, "a") as file:
        del file["observations/images/cam_high"]
        file.attrs["compress"] = True
        rows = np.tile(np.frombuffer(b"\xff\xd8\xff\xe0" + bytes(60), np.uint8), (6, 1))
        file["observations/images/cam_high"] = rows


def test_compressed_pictures_are_one_sentence(tmp_path: Path) -> None:
    path = episode(tmp_path / "cube" / "episode_0.hdf5", 0)
    compress(path)
    with pytest.raises(DemonstrationError, match="observations/images/cam_high holds pictures as JPEG or PNG files"):
        import_hdf5(path, tmp_path / "store", task=OPEN, images=True)
    assert import_hdf5(path, tmp_path / "store", task=OPEN).settings["imported"]["unread"] == {
        "images/cam_high": "JPEG or PNG"
    }


def test_what_does_not_fit_is_one_sentence_with_its_file(tmp_path: Path) -> None:
    files = [episode(tmp_path / "cube" / f"episode_{number}.hdf5", number) for number in range(3)]
    with pytest.raises(DemonstrationError, match="does not say what it shows: give an instruction"):
        import_hdf5(tmp_path / "cube", tmp_path / "store")
    with pytest.raises(DemonstrationError, match="does not say what it shows"):
        task_in(files[0])
    with pytest.raises(DemonstrationError, match="has no subsets"):
        import_hdf5(tmp_path / "cube", tmp_path / "store", task=OPEN, subset="train")
    with opened(files[1], "a") as file:
        file["action"][2, 3] = np.nan
    with pytest.raises(DemonstrationError, match=r"episode_1.hdf5, step 2, feature 'action' holds nan"):
        import_hdf5(tmp_path / "cube", tmp_path / "store", task=OPEN)
    foreign(files[1], {"eef": (3,)})
    with pytest.raises(DemonstrationError, match=r"episode_1.hdf5 is no episode in ALOHA's layout, as episode_0.hdf5"):
        import_hdf5(tmp_path / "cube", tmp_path / "store", task=OPEN)
    files[1].write_bytes(files[0].read_bytes()[:1000])
    with pytest.raises(DemonstrationError, match=r"episode_1.hdf5 is no readable HDF5 file"):
        import_hdf5(tmp_path / "cube", tmp_path / "store", task=OPEN)
    assert not (tmp_path / "store").exists()


def test_a_folder_of_tasks_has_no_instruction_of_its_own(tmp_path: Path) -> None:
    foreign(tmp_path / "files" / "one.hdf5", {"eef": (3,)})
    with pytest.raises(SettingError, match="is a folder of tasks"):
        import_([str(tmp_path / "files"), str(tmp_path / "stores"), "--instruction", "lift it"])
