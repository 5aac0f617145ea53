"""Data sets that LeRobot wrote become stores: what is taken, under which names, and what is kept for the way back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.exchange.lerobot_sets import (
    CAMERA,
    CLOSE,
    DATA,
    EPISODES,
    INFO,
    OPEN,
    STATS,
    TINY,
    copied,
    door_store,
    edited,
    foreign,
    replaced,
    rewritten,
)  # fmt: skip

from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.lerobot import FileSizes, export_lerobot, import_lerobot
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, Feature, Progress, Task


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    return import_lerobot(TINY, tmp_path_factory.mktemp("tiny"), images=True)


def test_each_task_is_a_store_with_its_sentence(tiny: list[DemonstrationStore]):
    assert [(store.task.name, store.task.instruction, store.episodes, store.steps) for store in tiny] == [
        ("close-the-window", "close the window", 2, 60), ("close-the-faucet", "close the faucet", 2, 60),
    ]  # fmt: skip
    assert [store.path.name for store in tiny] == [store.task.name for store in tiny]


def test_numbers_are_those_of_the_parquet_file_bit_by_bit(tiny: list[DemonstrationStore]):
    table = pq.read_table(TINY / DATA)
    for number, store in enumerate(tiny):
        mine = table.filter(pa.compute.equal(table["task_index"], number))  # pyright: ignore[reportAttributeAccessIssue]
        for name in (STATE, ENVIRONMENT_STATE, ACTION):
            right = np.array(mine[name].to_pylist(), np.float32)
            assert store[name].dtype == np.float32
            np.testing.assert_array_equal(np.asarray(store[name]), right)


def test_pictures_have_the_shape_and_the_brightness_that_the_data_set_says(tiny: list[DemonstrationStore]):
    said = json.loads((TINY / STATS).read_text())[CAMERA]["mean"]
    seen = np.concatenate([np.asarray(store[CAMERA]) for store in tiny])
    assert seen.shape == (120, 64, 64, 3)
    np.testing.assert_allclose(seen.mean((0, 1, 2)) / 255, np.ravel(said), atol=0.003)


def test_each_picture_is_that_of_its_step(tiny: list[DemonstrationStore]):
    import av

    with av.open(str(TINY / f"videos/{CAMERA}/chunk-000/file-000.mp4")) as video:
        right = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    whole = pq.read_table(TINY / EPISODES).to_pylist()
    numbers = {store.task.instruction: store for store in tiny}
    place = dict.fromkeys(numbers, 0)
    for entry in whole:
        words, rows = entry["tasks"][0], slice(entry["dataset_from_index"], entry["dataset_to_index"])
        store, start = numbers[words], place[words]
        np.testing.assert_array_equal(store[CAMERA][start : start + entry["length"]], right[rows])
        place[words] += entry["length"]


def test_fps_robot_and_names_are_kept_and_come_out_again(tiny: list[DemonstrationStore], tmp_path: Path):
    about = tiny[0].settings["lerobot"]
    assert (about["fps"], about["robot"], about["names"][STATE]) == (80, "sawyer", ["x", "y", "z", "gripper"])
    export_lerobot(tiny, tmp_path / "out")
    old, new = (json.loads((folder / INFO).read_text()) for folder in (TINY, tmp_path / "out"))
    assert (new["fps"], new["robot_type"]) == (80, "sawyer")
    for name in (STATE, ENVIRONMENT_STATE, ACTION):
        assert new["features"][name] == old["features"][name]


def test_pictures_are_left_out_unless_they_are_asked_for_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["demos", "import", str(TINY), str(tmp_path / "demos")]) == 0
    printed = capsys.readouterr().out
    assert f"not taken: {CAMERA} (--images)" in printed
    assert "observation.state: x, y, z, gripper" in printed
    store = DemonstrationStore.open(tmp_path / "demos" / "close-the-window")
    assert CAMERA not in store.features
    assert store.settings["imported"]["left"] == [f"{CAMERA} (--images)"]


def test_a_data_set_in_the_hubs_cache_is_made_of_links(tmp_path: Path):
    snapshot = tmp_path / "datasets--someone--arm" / "snapshots" / "abc123"
    for file in (path for path in TINY.rglob("*") if path.is_file()):
        blob = tmp_path / "datasets--someone--arm" / "blobs" / str(abs(hash(file)))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        link = snapshot / file.relative_to(TINY)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    store, _ = import_lerobot(snapshot, tmp_path / "demos", images=True)
    assert store.settings["imported"]["file"] == "arm"


def test_a_split_is_a_part_of_the_episodes(tmp_path: Path):
    folder = copied(TINY, tmp_path / "set")
    edited(folder / INFO, lambda info: info.update(splits={"train": "0:3", "test": "3:4"}))
    stores = import_lerobot(folder, tmp_path / "demos", subset="test")
    assert [store.episodes for store in stores] == [1]
    with pytest.raises(DemonstrationError, match=r"no split 'tset': did you mean 'test'"):
        import_lerobot(folder, tmp_path / "demos", subset="tset")


def test_a_data_set_of_one_task_takes_the_users_words(tmp_path: Path):
    folder = foreign(tmp_path / "set", [door_store(tmp_path / "store")])
    words = ["--instruction", "swing it open", "--wordings", "open up", "--suite", "lab", "--source", "leader arm"]
    assert main(["demos", "import", str(folder), str(tmp_path / "demos"), *words]) == 0
    store = DemonstrationStore.open(tmp_path / "demos" / "open-the-door")
    assert store.task == Task("open-the-door", "swing it open", ("open up",))
    assert (store.suite, store.source) == ("lab", "leader arm")


def test_words_for_one_task_take_that_task_or_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["demos", "import", str(TINY), str(tmp_path), "--task", "a"]) == 2
    assert "shows 2 tasks" in capsys.readouterr().err
    words = ["--instruction", "close the faucet", "--task", "faucet"]
    assert main(["demos", "import", str(TINY), str(tmp_path), *words]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["faucet"]


def test_what_has_no_place_in_a_store_is_named(tmp_path: Path):
    folder = foreign(tmp_path / "set", [door_store(tmp_path / "store", pictures=False)])

    def more(info: dict) -> None:
        info["features"] |= {
            "next.reward": {"dtype": "float32", "shape": [1], "names": None},
            "observation.note": {"dtype": "string", "shape": [1], "names": None},
            "observation.images.depth": {
                "dtype": "image", "shape": [4, 4, 1], "names": None, "info": {"is_depth_map": True}
            },
            "observation/foo": {"dtype": "float32", "shape": [2], "names": None},
        }  # fmt: skip

    edited(folder / INFO, more)
    (store,) = import_lerobot(folder, tmp_path / "demos", images=True)
    assert store.settings["imported"]["left"] == [
        "next.reward", "observation.note (string)", "observation.images.depth (depth)", "observation/foo",
    ]  # fmt: skip


def test_a_name_that_can_name_no_file_becomes_one_that_can_and_comes_out_again(tmp_path: Path):
    name = "observation.images.wrist camera (left)"
    folder = foreign(tmp_path / "set", [door_store(tmp_path / "store")])
    edited(folder / INFO, lambda info: info["features"].update({name: info["features"].pop(CAMERA)}))

    def rename(table: pa.Table) -> pa.Table:
        return table.rename_columns([name if old == CAMERA else old for old in table.column_names])

    rewritten(folder / DATA, rename)
    (store,) = import_lerobot(folder, tmp_path / "demos", images=True)
    (safe,) = set(store.features) - {STATE, ACTION}
    assert store.settings["lerobot"]["columns"] == {safe: name}
    export_lerobot([store], tmp_path / "out")
    assert name in json.loads((tmp_path / "out" / INFO).read_text())["features"]
    (again,) = import_lerobot(tmp_path / "out", tmp_path / "back")
    assert again.digest == store.digest


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("int8", "int32"),
        ("uint16", "int32"),
        ("uint32", "int64"),
        ("int64", "int64"),
        ("bool", "bool"),
        ("uint8", "uint8"),
    ],
)
def test_integers_that_a_store_does_not_have_become_wider_ones(dtype: str, stored: str, tmp_path: Path):
    folder = foreign(tmp_path / "set", [door_store(tmp_path / "store", pictures=False)])
    values = np.arange(12) % 2 if dtype == "bool" else np.arange(12) % 100
    edited(
        folder / INFO,
        lambda info: info["features"].update({"observation.n": {"dtype": dtype, "shape": [1], "names": None}}),
    )
    rewritten(
        folder / DATA,
        lambda table: table.append_column("observation.n", pa.array(values.astype(dtype))),
    )
    (store,) = import_lerobot(folder, tmp_path / "demos")
    assert store.features["observation.n"] == Feature((1,), stored)
    np.testing.assert_array_equal(np.asarray(store["observation.n"])[:, 0], values.astype(dtype))


def test_sentences_whose_names_would_be_one_get_two(tmp_path: Path):
    stores = [
        door_store(tmp_path / "a", Task("a", "Open the door!"), pictures=False),
        door_store(tmp_path / "b", Task("b", "open the door"), pictures=False),
        door_store(tmp_path / "c", Task("c", "打开门"), pictures=False),
    ]
    folder = foreign(tmp_path / "set", stores)
    names = [store.task.name for store in import_lerobot(folder, tmp_path / "demos")]
    assert names[0] == "Open-the-door"
    assert len({name.lower() for name in names}) == 3


def test_the_same_import_again_keeps_what_is_there_and_another_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["demos", "import", str(TINY), str(tmp_path / "demos")]
    assert main(words) == 0
    before = (tmp_path / "demos" / "close-the-window" / "header.json").stat()
    assert main(words) == 0
    assert (tmp_path / "demos" / "close-the-window" / "header.json").stat() == before
    assert main([*words, "--images"]) == 2
    assert "holds other demonstrations" in capsys.readouterr().err


def test_progress_counts_the_episodes_of_all_tasks(tmp_path: Path):
    news: list[Progress] = []
    import_lerobot(TINY, tmp_path, report=news.append)
    assert [(one.stage, one.done, one.total) for one in news] == [("import", number, 4) for number in range(4)]


def test_one_row_group_is_in_memory_at_a_time(tmp_path: Path):
    """Three times as many episodes take no more memory; pyarrow counts its own."""
    peaks = []
    for episodes in (10, 30):
        store = door_store(tmp_path / f"store-{episodes}", lengths=(40,) * episodes, side=32)
        folder = foreign(tmp_path / f"set-{episodes}", [store])
        old, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
        pa.set_memory_pool(pool)
        try:
            import_lerobot(folder, tmp_path / f"demos-{episodes}", images=True)
        finally:
            pa.set_memory_pool(old)
        peaks.append(pool.max_memory())
    assert 0 < peaks[1] < 1.5 * peaks[0]


def test_a_row_group_of_many_episodes_and_an_episode_of_many_row_groups(tmp_path: Path):
    folder = foreign(tmp_path / "set", [door_store(tmp_path / "store", lengths=(7, 5, 9))])
    whole = import_lerobot(folder, tmp_path / "demos", images=True)[0]
    table = pq.read_table(folder / DATA)
    for size in (4, 100):
        pq.write_table(table, folder / DATA, row_group_size=size)
        (store,) = import_lerobot(folder, tmp_path / f"demos-{size}", images=True)
        for name in store.features:
            np.testing.assert_array_equal(np.asarray(store[name]), np.asarray(whole[name]))


def test_many_files_in_many_folders(tmp_path: Path):
    stores = [door_store(tmp_path / task.name, task, (30,) * 4, side=32) for task in (OPEN, CLOSE)]
    sizes = FileSizes(data=0.015, videos=0.001, chunk=2)
    for videos in (False, True):
        folder = tmp_path / f"set-{videos}"
        export_lerobot(stores, folder, fps=10, videos=videos, sizes=sizes)
        files = list(folder.glob("videos/*/*/*.mp4" if videos else "data/*/*.parquet"))
        assert len(files) > 2
        assert len({path.parent for path in files}) > 1
        back = import_lerobot(folder, tmp_path / f"back-{videos}")
        if not videos:
            assert [store.digest for store in back] == [store.digest for store in stores]
        for old, new in zip(stores, back, strict=True):
            assert np.abs(np.asarray(old[CAMERA], np.int64) - np.asarray(new[CAMERA])).max(initial=0) < 120
            assert np.abs(np.asarray(old[CAMERA], np.int64) - np.asarray(new[CAMERA])).mean() < 4


def test_without_pyarrow_a_sentence_says_what_to_install(tmp_path: Path):
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from skilltokens.cli import main\n"
        f"sys.exit(main(['demos', 'import', {str(TINY)!r}, {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2, 'skilltokens: LeRobot data sets need pyarrow: run `pip install "skilltokens[lerobot]"`\n'
    )  # fmt: skip


def test_sets_of_before_tasks_had_a_name_for_their_index(tmp_path: Path):
    folder = copied(TINY, tmp_path / "set")
    rewritten(folder / "meta/tasks.parquet", lambda table: table.rename_columns(["task_index", "__index_level_0__"]))
    assert import_lerobot(folder, tmp_path / "demos")[0].task.instruction == "close the window"


def test_counts_that_pandas_made_floats_of(tmp_path: Path):
    folder = copied(TINY, tmp_path / "set")

    def floats(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index("data/chunk_index")
        return table.set_column(index, "data/chunk_index", table.column(index).cast(pa.float64()))

    rewritten(folder / EPISODES, floats)
    assert len(import_lerobot(folder, tmp_path / "demos")) == 2


def test_a_data_set_without_statistics(tmp_path: Path):
    folder = copied(TINY, tmp_path / "set")
    (folder / STATS).unlink()
    rewritten(
        folder / EPISODES,
        lambda table: table.select([name for name in table.column_names if not name.startswith("stats/")]),
    )
    assert len(import_lerobot(folder, tmp_path / "demos")) == 2


def test_times_of_a_long_episode_are_single_floats(tmp_path: Path):
    """An hour in, two neighbours of 30 Hz are known to 0.2 ms only."""
    store = door_store(tmp_path / "store", lengths=(120_000,), pictures=False)
    folder = foreign(tmp_path / "set", [store])
    edited(folder / INFO, lambda info: info.update(fps=30))
    replaced(folder / DATA, "timestamp", lambda old: list(np.arange(len(old)) / 30))
    assert import_lerobot(folder, tmp_path / "demos")[0].steps == 120_000
