"""What is wrong with a LeRobot data set is said in one sentence, and a store that was there stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tests.exchange.lerobot_sets import (
    CAMERA,
    CLOSE,
    DATA,
    EPISODES,
    INFO,
    OPEN,
    STATS,
    TASKS,
    VIDEO,
    copied,
    door_store,
    edited,
    foreign,
    replaced,
    rewritten,
)  # fmt: skip

from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.lerobot import export_lerobot, import_lerobot
from skilltokens.exchange.lerobot.own import OWN
from skilltokens.exchange.lerobot.pictures import png
from skilltokens.types import ACTION, STATE, DemonstrationError

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Whole data sets as another program writes them: numbers and PNG, videos; and one of our exports."""
    place = tmp_path_factory.mktemp("sets")
    stores = [door_store(place / task.name, task, seed=seed) for seed, task in enumerate((OPEN, CLOSE))]
    export_lerobot(stores, place / "ours", fps=10)
    return {
        "png": foreign(place / "png", stores),
        "video": foreign(place / "video", stores, videos=True),
        "ours": place / "ours",
        "store": stores[0].path,
    }


def info(change: Callable[[dict[str, Any]], object]) -> Change:
    return lambda folder: edited(folder / INFO, change)


def said(**keys: Any) -> Change:
    return info(lambda content: content.update(keys))


def feature(name: str, **keys: Any) -> Change:
    return info(lambda content: content["features"][name].update(keys))


def column(file: str, name: str, place: int, value: Any) -> Change:
    """One value of a column."""
    return lambda folder: replaced(folder / file, name, lambda old: [*old[:place], value, *old[place + 1 :]])


def without(file: str, name: str) -> Change:
    return lambda folder: rewritten(folder / file, lambda table: table.drop_columns([name]))


def typed(file: str, name: str, kind: pa.DataType) -> Change:
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, table.column(index).cast(kind, safe=False))

    return lambda folder: rewritten(folder / file, change)


def cut(file: str, share: float = 0.5) -> Change:
    def change(folder: Path) -> None:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: int(share * len(content))])

    return change


def gone(file: str) -> Change:
    return lambda folder: (folder / file).unlink()


def picture(content: bytes | None) -> Change:
    return column(DATA, CAMERA, 3, {"bytes": content, "path": "images/3.png"})


def depth_png() -> bytes:
    import io

    content = io.BytesIO()
    Image.fromarray(np.full((16, 16), 1000, np.uint16)).save(content, "PNG")
    return content.getvalue()


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[-20] ^= 1
    return bytes(changed)


V21 = "convert_dataset_v21_to_v30"
CASES: dict[str, tuple[Change, str]] = {
    "version 2.1": (said(codebase_version="v2.1"), V21),
    "version 2.0": (said(codebase_version="v2.0"), rf"{V21}.*convert_dataset_v20_to_v21"),
    "version 4": (said(codebase_version="v4.0"), r"version 'v4.0' where LeRobot's v3.0"),
    "no version": (info(lambda content: content.pop("codebase_version")), "version None"),
    "info.json is no JSON": (cut(INFO), "not JSON"),
    "fps of nothing": (said(fps=0), "fps"),
    "fps in words": (said(fps="thirty"), "fps"),
    "no actions": (info(lambda content: content["features"].pop(ACTION)), "no feature 'action'"),
    "no observation": (
        info(lambda content: [content["features"].pop(name) for name in (STATE, CAMERA)]), "no feature observation"
    ),
    "actions in words": (feature(ACTION, dtype="string"), r"no feature 'action' .*string"),
    "shape of nothing": (feature(STATE, shape=[0]), r"features.*shape"),
    "an endless shape": (feature(STATE, shape=[10**9, 10**9]), "fits no memory"),
    "another width": (feature(STATE, shape=[3]), r"statistics of 2 entries where 3"),
    "an episode more": (said(total_episodes=5), "describes 4 episodes where meta/info.json counts 5"),
    "a step more": (said(total_frames=25), "describes 24 steps where meta/info.json counts 25"),
    "a task more": (said(total_tasks=3), "does not number 3 tasks from 0"),
    "tasks that fit no memory": (said(total_tasks=10**12), "does not number 1000000000000 tasks"),
    "a split behind the end": (said(splits={"train": "0:9"}), "'0:9' is no FIRST:LAST of 4 episodes"),
    "a path out of the folder": (said(data_path="../{chunk_index}/{file_index}"), "do not trust it"),
    "a path from the root": (said(data_path="/etc/{chunk_index}/{file_index}"), "do not trust it"),
    "a path of backslashes": (said(data_path="..\\{chunk_index}\\{file_index}"), "do not trust it"),
    "a template that looks inside": (said(data_path="{chunk_index.__class__}/{file_index}"), "do not trust it"),
    "a template that fills the memory": (said(data_path="{chunk_index:999999999d}"), "do not trust it"),
    "a template without end": (said(data_path="x" * 10_000), "do not trust it"),
    "a template with a video's key": (said(data_path="{video_key}.parquet"), "cannot be filled in"),
    "a null character": (said(data_path="a\0{file_index}"), "null character"),
    "the data are gone": (gone(DATA), "does not exist"),
    "the data are cut": (cut(DATA), "damaged, or no Parquet file"),
    "the tasks are gone": (gone(TASKS), "does not exist"),
    "the tasks are cut": (cut(TASKS), "damaged, or no Parquet file"),
    "the episodes are gone": (gone(EPISODES), "holds no file"),
    "the episodes are cut": (cut(EPISODES), "damaged, or no Parquet file"),
    "no column of actions": (without(DATA, ACTION), "has no columns 'action'"),
    "no column of times": (without(DATA, "timestamp"), "has no columns 'timestamp'"),
    "no column of lengths": (without(EPISODES, "length"), "has no columns 'length'"),
    "no column of sentences": (without(TASKS, "task"), "has no columns 'task'"),
    "whole numbers for floats": (typed(DATA, STATE, pa.list_(pa.int64(), 2)), "holds int64 where float32 is declared"),
    "words for numbers": (typed(DATA, "index", pa.string()), "'index'"),
    "a row without a value": (column(DATA, ACTION, 3, None), "lacks a value"),
    "an entry without a value": (column(DATA, ACTION, 3, [None, 0.5]), "lacks a value"),
    "a value that is no number": (column(DATA, ACTION, 3, [float("nan"), 0.0]), r"episode 0, step 3.*nan"),
    "outside of the episode's statistics": (
        column(DATA, STATE, 8, [1e6, 0.0]),
        r"episode 1, 'observation.state', step 1, entry 0 holds 1e\+06, and meta/episodes",
    ),
    "outside of the statistics": (
        lambda folder: edited(folder / STATS, lambda stats: stats[STATE].update(max=[-50.0, 1e9])),
        "meta/stats.json says",
    ),
    "statistics in words": (
        lambda folder: edited(folder / STATS, lambda stats: stats[STATE].update(max=["x", "y"])), "no numbers"
    ),
    "statistics of another width": (
        lambda folder: edited(folder / STATS, lambda stats: stats[STATE].update(min=[0.0] * 3, max=[1.0] * 3)),
        "statistics of 3 entries where 2",
    ),
    "statistics that are no JSON": (cut(STATS), "not JSON"),
    "another time": (column(DATA, "timestamp", 4, 0.45), "does not fit to 10 steps a second"),
    "a time that is no number": (column(DATA, "timestamp", 4, float("nan")), "does not fit to 10 steps a second"),
    "another step": (column(DATA, "frame_index", 4, 5), "frame_index 5 where meta/episodes needs 4"),
    "another row": (column(DATA, "index", 4, 40), "index 40 where meta/episodes needs 4"),
    "another episode": (column(DATA, "episode_index", 4, 1), "episode_index 1 where meta/episodes needs 0"),
    "another task within an episode": (column(DATA, "task_index", 4, 1), "task_index 1 where meta/episodes needs 0"),
    "a task that is not known": (column(DATA, "task_index", 4, 7), "task_index 7"),
    "a sentence that is not known": (column(EPISODES, "tasks", 1, ["close it"]), "'close it', which meta/tasks"),
    "several tasks in an episode": (
        column(EPISODES, "tasks", 1, ["open the door", "close the door"]), r"episode 1 shows 2 tasks.*delete_episodes"
    ),
    "no task": (column(EPISODES, "tasks", 1, []), "names no task"),
    "one sentence twice": (column(TASKS, "task", 1, "open the door"), "twice"),
    "tasks numbered from 1": (column(TASKS, "task_index", 0, 2), "does not number 2 tasks from 0"),
    "another length": (column(EPISODES, "length", 1, 4), "has the length 4 and the rows 7 to 12"),
    "an episode twice": (column(EPISODES, "episode_index", 1, 0), "has the episode 0 where 1 is next"),
    "a file less than none": (column(EPISODES, "data/file_index", 1, -1), "holds -1 as 'data/file_index'"),
    "a file far away": (column(EPISODES, "data/file_index", 1, 3), "does not exist"),
    "a length of nothing": (column(EPISODES, "length", 1, None), "holds None as 'length'"),
    "no picture": (picture(None), "step 3 holds no picture"),
    "a picture that is none": (picture(b"nothing"), "no readable picture"),
    "a picture that is cut": (picture(png(np.zeros((16, 16, 3), np.uint8))[:-20]), "no readable picture"),
    "a picture with a bit that is another": (picture(flipped(png(np.zeros((16, 16, 3), np.uint8)))), "no readable"),
    "pictures that fit no memory": (feature(CAMERA, shape=[10_000, 70_000, 3]), r"declared"),
    "a picture of another size": (picture(png(np.zeros((8, 16, 3), np.uint8))), r"\[8, 16, 3\] where \[16, 16, 3\]"),
    "a picture of depth": (picture(depth_png()), "a depth picture where RGB is needed"),
    "depth alone": (
        lambda folder: (
            feature(CAMERA, info={"is_depth_map": True})(folder),
            info(lambda content: content["features"].pop(STATE))(folder),
        ),
        r"no feature observation.*\(depth\)",
    ),
}  # fmt: skip
VIDEOS: dict[str, tuple[Change, str]] = {
    "the video is gone": (gone(VIDEO), "does not exist"),
    "the video is cut": (cut(VIDEO), "damaged, or no video|truncated"),
    "the video is empty": (cut(VIDEO, 0), "damaged, or no video"),
    "the video is no video": (lambda folder: shutil.copy(folder / DATA, folder / VIDEO), "damaged, or no video"),
    "the video is shorter": (lambda folder: shorter(folder / VIDEO), "has no picture at"),
    "the video is of another size": (feature(CAMERA, shape=[8, 8, 3]), r"pictures of \[16, 16, 3\] where \[8, 8, 3\]"),
    "pictures that fit no memory": (feature(CAMERA, shape=[10_000, 70_000, 3]), r"declared"),
    "the video begins elsewhere": (
        column(EPISODES, f"videos/{CAMERA}/from_timestamp", 3, 99.0), "has no picture at 99.000 s"
    ),
    "the video begins nowhere": (
        column(EPISODES, f"videos/{CAMERA}/from_timestamp", 3, float("nan")), "holds nan as 'videos/"
    ),
    "no template of videos": (said(video_path=None), "has videos and no video_path"),
    "videos out of the folder": (said(video_path="../{video_key}/{chunk_index}/{file_index}"), "do not trust it"),
    "a key out of the folder": (
        info(lambda content: content["features"].update(
            {"observation.images.x/../../..": content["features"].pop(CAMERA)}
        )), "has no columns|do not trust"
    ),
    "no place of a video": (without(EPISODES, f"videos/{CAMERA}/file_index"), "has no columns 'videos/"),
}  # fmt: skip


def shorter(video: Path) -> None:
    """The same video without its last pictures, whole as a file."""
    from skilltokens.exchange.lerobot.videos import VideoWriter

    writer = VideoWriter(video, 10, 16, 16, "a test")
    writer.write(np.zeros((10, 16, 16, 3), np.uint8))
    writer.close()


def refused(whole: Path, change: Change, words: str, place: Path, old: Path) -> None:
    """Changes a copy, and asserts that its import ends in one sentence and leaves the store that is there."""
    folder = copied(whole, place / "set")
    change(folder)
    shutil.copytree(old, place / "demos" / "open-the-door")
    before = DemonstrationStore.open(place / "demos" / "open-the-door").digest
    with pytest.raises(DemonstrationError, match=words) as problem:
        import_lerobot(folder, place / "demos", images=True)
    assert "\n" not in str(problem.value)
    store = DemonstrationStore.open(place / "demos" / "open-the-door")
    store.verify()
    assert store.digest == before or "open-the-door" not in str(problem.value)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_said_in_one_sentence(name: str, sets: dict[str, Path], tmp_path: Path):
    refused(sets["png"], *CASES[name], tmp_path, sets["store"])


@pytest.mark.parametrize("name", VIDEOS)
def test_a_fault_of_a_video_is_said_in_one_sentence(name: str, sets: dict[str, Path], tmp_path: Path):
    refused(sets["video"], *VIDEOS[name], tmp_path, sets["store"])


def test_the_whole_sets_are_taken(sets: dict[str, Path], tmp_path: Path):
    for name in ("png", "video", "ours"):
        assert len(import_lerobot(sets[name], tmp_path / name, images=True)) == 2


@pytest.mark.parametrize("file", [INFO, TASKS, DATA, EPISODES, STATS, OWN])
def test_one_byte_of_our_export_changed_is_noticed(file: str, sets: dict[str, Path], tmp_path: Path):
    folder = copied(sets["ours"], tmp_path / "set")
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 3] ^= 1
    (folder / file).write_bytes(bytes(content))
    with pytest.raises(DemonstrationError):
        import_lerobot(folder, tmp_path / "demos")


def test_an_export_that_was_changed_on_purpose_is_taken_when_that_is_said(sets: dict[str, Path], tmp_path: Path):
    folder = copied(sets["ours"], tmp_path / "set")
    column(DATA, ACTION, 3, [0.0, 0.0])(folder)
    with pytest.raises(DemonstrationError, match=r"altered since .*--changed"):
        import_lerobot(folder, tmp_path / "demos")
    (folder / OWN).unlink()
    export = copied(sets["ours"], tmp_path / "export")
    (export / OWN).unlink()
    with pytest.raises(DemonstrationError, match=r"skilltokens.json is gone.*--changed"):
        import_lerobot(export, tmp_path / "demos")
    store, _ = import_lerobot(folder, tmp_path / "demos", changed=True)
    assert not np.asarray(store[ACTION])[3].any()
    assert store.task.name == "open-the-door"


def test_a_file_that_was_added_to_our_export_is_noticed(sets: dict[str, Path], tmp_path: Path):
    folder = copied(sets["ours"], tmp_path / "set")
    shutil.copy(folder / EPISODES, folder / "meta/episodes/chunk-000/file-001.parquet")
    with pytest.raises(DemonstrationError, match="was added since"):
        import_lerobot(folder, tmp_path / "demos")
    (folder / "README.md").write_text("a card, as the Hub wants one")
    (folder / "meta/episodes/chunk-000/file-001.parquet").unlink()
    assert len(import_lerobot(folder, tmp_path / "demos")) == 2


def test_our_own_file_names_no_file_out_of_its_folder(sets: dict[str, Path], tmp_path: Path):
    from skilltokens.files import sealed

    folder = copied(sets["ours"], tmp_path / "set")
    content = json.loads((folder / OWN).read_text())
    content["files"]["../../../etc/passwd"] = "0" * 64
    (folder / OWN).write_text(json.dumps(sealed(content)))
    with pytest.raises(DemonstrationError, match="do not trust it"):
        import_lerobot(folder, tmp_path / "demos")
