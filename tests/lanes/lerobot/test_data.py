"""LeRobot's own reader opens our exports, and data sets by its own writer are imported: numbers are equal both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from tests.exchange.lerobot_sets import CAMERA, CLOSE, OPEN, disc, door_store

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.exchange.lerobot import FileSizes, export_lerobot, import_lerobot
from skilltokens.types import ACTION, SIMULATOR_STATE, STATE, Episode, Feature, Task

FPS = 10
LENGTHS = (7, 5)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    place = tmp_path_factory.mktemp("stores")
    return [door_store(place / task.name, task, LENGTHS, seed=seed, side=32) for seed, task in enumerate((OPEN, CLOSE))]


def opened(folder: Path, **options: Any) -> LeRobotDataset:
    return LeRobotDataset("local/doors", root=folder, **options)


@pytest.mark.parametrize("videos", [False, True])
@pytest.mark.parametrize("sizes", [FileSizes(), FileSizes(data=0.001, videos=0.0001, chunk=1)])
def test_lerobots_reader_sees_the_same_steps(
    videos: bool, sizes: FileSizes, stores: list[DemonstrationStore], tmp_path: Path
):
    export_lerobot(stores, tmp_path / "set", fps=FPS, robot="door arm", videos=videos, sizes=sizes)
    data = opened(tmp_path / "set")
    assert (len(data), data.num_episodes, data.fps, data.meta.robot_type) == (24, 4, FPS, "door arm")
    row = 0
    for store in stores:
        for episode in store:
            for step in range(len(episode)):
                item = data[row]
                for name in (STATE, ACTION):
                    np.testing.assert_array_equal(item[name].numpy(), episode.features[name][step])
                picture = (item[CAMERA] * 255).round().numpy().transpose(1, 2, 0)
                apart = np.abs(picture - episode.features[CAMERA][step].astype(np.float64))
                assert apart.mean() < 6 if videos else not apart.any(), apart.mean()
                assert item["task"] == store.task.instruction
                assert item["frame_index"] == step
                row += 1


@pytest.mark.parametrize("videos", [False, True])
def test_steps_before_and_after_are_those_of_the_episode(
    videos: bool, stores: list[DemonstrationStore], tmp_path: Path
):
    export_lerobot(stores, tmp_path / "set", fps=FPS, videos=videos)
    times = {ACTION: [0, 1 / FPS, 2 / FPS], STATE: [-1 / FPS, 0], CAMERA: [-1 / FPS, 0]}
    item = opened(tmp_path / "set", delta_timestamps=times)[LENGTHS[0] - 1]  # the last step of the first episode
    episode = stores[0].episode(0)
    np.testing.assert_array_equal(item[ACTION].numpy(), episode.features[ACTION][[-1, -1, -1]])
    assert item[f"{ACTION}_is_pad"].tolist() == [False, True, True]
    np.testing.assert_array_equal(item[STATE].numpy(), episode.features[STATE][-2:])
    assert item[CAMERA].shape == (2, 3, 32, 32)
    seen = item[CAMERA].numpy().transpose(0, 2, 3, 1) * 255
    assert np.abs(seen - episode.features[CAMERA][-2:]).mean() < (6 if videos else 1e-3)


def test_every_dtype_and_shape_is_opened(tmp_path: Path):
    random = np.random.default_rng(0)
    features = {
        "observation.half": Feature((3,), "float16"),
        "observation.double": Feature((3,), "float64"),
        "observation.count": Feature((2,), "int32"),
        "observation.long": Feature((1,), "int64"),
        "observation.flag": Feature((), "bool"),
        "observation.bytes": Feature((4,), "uint8"),
        "observation.table": Feature((2, 3), "float32"),
        "observation.heat": Feature((4, 5, 3), "float32"),
        "observation.stack": Feature((2, 3, 2, 2), "float32"),
        "observation.images.grey": Feature((8, 8, 1), "uint8"),
        SIMULATOR_STATE: Feature((6,), "float64"),
        ACTION: Feature((2,), "float64"),
    }
    arrays = {name: (random.random((9, *one.shape)) * 2).astype(one.dtype) for name, one in features.items()}
    store = write_store(
        tmp_path / "store", [Episode(arrays)], task=Task("one", "do it"), features=features, source="human", suite="own"
    )
    export_lerobot([store], tmp_path / "set", fps=FPS)
    data = opened(tmp_path / "set")
    for step in range(9):
        item = data[step]
        for name in set(features) - {SIMULATOR_STATE, "observation.images.grey"}:
            right = arrays[name][step]
            if right.dtype == np.float64:  # LeRobot's reader makes single floats of them
                right = right.astype(np.float32)
            np.testing.assert_array_equal(np.asarray(item[name]).reshape(right.shape), right)
        grey = (item["observation.images.grey"] * 255).round().numpy()[0]
        np.testing.assert_array_equal(grey, arrays["observation.images.grey"][step, ..., 0])


def test_a_loader_makes_batches_of_an_export(stores: list[DemonstrationStore], tmp_path: Path):
    export_lerobot(stores, tmp_path / "set", fps=FPS)
    loader = torch.utils.data.DataLoader(opened(tmp_path / "set"), batch_size=8)
    batches = list(loader)
    assert [len(batch["task"]) for batch in batches] == [8, 8, 8]
    assert {words for batch in batches for words in batch["task"]} == {"open the door", "close the door"}


def recorded(folder: Path, videos: bool) -> dict[str, list[dict[str, np.ndarray]]]:
    """A data set by LeRobot's own writer, of an arm in degrees; what was recorded, sentence -> episodes."""
    joints = ["shoulder.pos", "elbow.pos", "gripper.pos"]
    features: dict[str, Any] = {
        ACTION: {"dtype": "float32", "shape": (3,), "names": joints},
        STATE: {"dtype": "float32", "shape": (3,), "names": joints},
        CAMERA: {
            "dtype": "video" if videos else "image",
            "shape": (64, 64, 3),
            "names": ["height", "width", "channels"],
        },
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    }
    data = LeRobotDataset.create(
        "local/arm", fps=30, root=folder, robot_type="so101", features=features, use_videos=videos
    )
    random = np.random.default_rng(0)
    shown: dict[str, list[dict[str, np.ndarray]]] = {"lift it": [], "drop it": []}
    for number in range(4):
        words = ["lift it", "drop it"][number % 2]
        steps = 12 + number
        arrays = {name: (random.normal(size=(steps, 3)) * 90).astype(np.float32) for name in (STATE, ACTION)}
        arrays[CAMERA] = np.stack([disc(64, step, steps) for step in range(steps)])
        for step in range(steps):
            frame = {name: array[step] for name, array in arrays.items()}
            data.add_frame({**frame, "next.reward": np.ones(1, np.float32), "task": words})
        data.save_episode()
        shown[words].append(arrays)
    data.finalize()
    return shown


@pytest.mark.parametrize("videos", [False, True])
def test_what_lerobot_recorded_is_imported(videos: bool, tmp_path: Path):
    shown = recorded(tmp_path / "set", videos)
    stores = import_lerobot(tmp_path / "set", tmp_path / "demos", images=True)
    assert [store.task.instruction for store in stores] == list(shown)
    for store in stores:
        about = store.settings["lerobot"]
        assert (about["fps"], about["robot"]) == (30, "so101")
        assert about["names"][ACTION] == ["shoulder.pos", "elbow.pos", "gripper.pos"]
        assert store.settings["imported"]["left"] == ["next.reward"]
        for episode, arrays in zip(store, shown[store.task.instruction], strict=True):
            for name in (STATE, ACTION):
                np.testing.assert_array_equal(episode.features[name], arrays[name])
            apart = np.abs(episode.features[CAMERA].astype(np.int64) - arrays[CAMERA]).mean((1, 2, 3))
            assert apart.max() < (8 if videos else 1e-9)


def test_there_and_back_through_lerobot(tmp_path: Path):
    recorded(tmp_path / "set", False)
    stores = import_lerobot(tmp_path / "set", tmp_path / "demos", images=True)
    export_lerobot(stores, tmp_path / "out")
    first, second = opened(tmp_path / "set"), opened(tmp_path / "out")
    assert len(first) == len(second)
    back = import_lerobot(tmp_path / "out", tmp_path / "back")
    assert [store.digest for store in back] == [store.digest for store in stores]
