"""Stores become a LeRobot data set and come back as they were: the same digests, whatever they hold."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.demos.making import make_store
from tests.exchange.lerobot_sets import (
    CAMERA,
    CLOSE,
    DATA,
    EPISODES,
    INFO,
    OPEN,
    STATS,
    TASKS,
    TINY,
    door_store,
)  # fmt: skip

from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.exchange.hdf5 import export_hdf5, import_hdf5
from skilltokens.exchange.lerobot import FileSizes, export_lerobot, import_lerobot
from skilltokens.exchange.lerobot.own import OWN
from skilltokens.types import ACTION, SIMULATOR_STATE, STATE, DemonstrationError, Episode, Feature, Progress, Task

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 3), (4, 5, 3), (4, 4, 1), (2, 3, 4), (2, 1, 2, 2))
DTYPES = ("float16", "float32", "float64", "uint8", "int32", "int64", "bool")
WORDS = st.text("abc öß打", min_size=1, max_size=8).filter(lambda words: words.strip())


def random_store(path: Path, task: Task, features: dict[str, Feature], lengths: Sequence[int], seed: int, **about: Any):
    random = np.random.default_rng(seed)

    def array(feature: Feature, steps: int) -> np.ndarray:
        shape, dtype = (steps, *feature.shape), np.dtype(feature.dtype)
        if dtype.kind == "f":
            return (random.normal(size=shape) * 90).astype(dtype)
        high = 2 if dtype.kind == "b" else min(np.iinfo(dtype).max, 2**62)
        low = 0 if dtype.kind in "bu" else -high
        return random.integers(low, high, shape, endpoint=dtype.kind != "b").astype(dtype)

    episodes = (Episode({name: array(one, steps) for name, one in features.items()}) for steps in lengths)
    return write_store(path, episodes, task=task, features=features, **about)


@st.composite
def store_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What one, two or three stores with the same features are made of."""
    feature = st.builds(Feature, st.sampled_from(SHAPES), st.sampled_from(DTYPES))
    names = draw(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True))
    features = {f"observation.{name}": draw(feature) for name in names}
    features[ACTION] = Feature((draw(st.integers(1, 3)),), draw(st.sampled_from(("float32", "float64"))))
    sentences = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
    return [
        {
            "task": Task(f"task-{number}", words, tuple(draw(st.lists(WORDS, max_size=2))), ("held out",)),
            "features": {
                **features,
                **({SIMULATOR_STATE: draw(feature)} if draw(st.booleans()) else {}),
            },
            "lengths": draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)),
            "seed": number,
            "source": draw(WORDS),
            "suite": draw(WORDS),
            "versions": {"toy": "1"},
            "settings": {"noise": draw(st.floats(allow_nan=False, allow_infinity=False)), "wörter": ["打", None]},
        }
        for number, words in enumerate(sentences)
    ]


@settings(max_examples=12, deadline=None)
@given(store_lists(), st.sampled_from((FileSizes(), FileSizes(data=0.0001, chunk=1))))
def test_any_stores_come_back_with_the_same_digests(kinds: list[dict[str, Any]], sizes: FileSizes):
    with tempfile.TemporaryDirectory() as place:
        stores = [random_store(Path(place, str(number)), **kind) for number, kind in enumerate(kinds)]
        export_lerobot(stores, Path(place, "set"), fps=10, sizes=sizes)
        back = import_lerobot(Path(place, "set"), Path(place, "back"))
        assert [store.digest for store in back] == [store.digest for store in stores]


def test_hdf5_becomes_lerobot_and_lerobot_hdf5(tmp_path: Path):
    store = make_store(tmp_path / "store", images=True)
    export_hdf5([store], tmp_path / "one.hdf5")
    first = import_hdf5(tmp_path / "one.hdf5", tmp_path / "first")
    export_lerobot([first], tmp_path / "set", fps=10)
    (second,) = import_lerobot(tmp_path / "set", tmp_path / "demos")
    export_hdf5([second], tmp_path / "two.hdf5")
    third = import_hdf5(tmp_path / "two.hdf5", tmp_path / "third")
    assert store.digest == first.digest == second.digest == third.digest


def test_a_data_set_of_lerobots_becomes_hdf5_and_lerobots_again(tmp_path: Path):
    window, faucet = import_lerobot(TINY, tmp_path / "demos", images=True)
    export_hdf5([window, faucet], tmp_path / "both.hdf5")
    again = import_hdf5(tmp_path / "both.hdf5", tmp_path / "again", subset=faucet.task.name)
    assert again.digest == faucet.digest
    export_lerobot([again], tmp_path / "set")
    assert json.loads((tmp_path / "set" / INFO).read_text())["robot_type"] == "sawyer"


def test_statistics_are_those_of_the_data(tmp_path: Path):
    stores = [door_store(tmp_path / task.name, task, seed=seed) for seed, task in enumerate((OPEN, CLOSE))]
    export_lerobot(stores, tmp_path / "set", fps=10)
    stats = json.loads((tmp_path / "set" / STATS).read_text())
    states = np.concatenate([np.asarray(store[STATE]) for store in stores]).astype(np.float64)
    right = {
        "min": states.min(0), "max": states.max(0), "mean": states.mean(0), "std": states.std(0), "count": [24],
        **{f"q{share:02d}": np.quantile(states, share / 100, axis=0) for share in (1, 10, 50, 90, 99)},
    }  # fmt: skip
    assert stats[STATE].keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(stats[STATE][name], values, rtol=1e-12)
    seen = np.concatenate([np.asarray(store[CAMERA]) for store in stores]).reshape(-1, 3) / 255
    for name, values in {"min": seen.min(0), "max": seen.max(0), "mean": seen.mean(0), "std": seen.std(0)}.items():
        assert np.shape(stats[CAMERA][name]) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(stats[CAMERA][name]), values, rtol=1e-12)
    shares = {"q01": 0.01, "q50": 0.5, "q99": 0.99}
    for name, share in shares.items():
        exact = np.quantile(seen, share, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(np.ravel(stats[CAMERA][name]), exact, rtol=1e-12)


def test_statistics_of_an_episode_are_those_that_lerobot_wrote(tmp_path: Path):
    """Equal but for single floats; LeRobot reads quantiles off a histogram, and ours are exact."""
    export_lerobot(import_lerobot(TINY, tmp_path / "demos"), tmp_path / "set")
    old, new = (pq.read_table(folder / EPISODES).to_pylist() for folder in (TINY, tmp_path / "set"))
    compared = 0
    for name in old[0]:
        if name.startswith((f"stats/{STATE}/", f"stats/{ACTION}/")) and "/q" not in name:
            for one, two in zip(old, new, strict=True):
                np.testing.assert_allclose(one[name], two[name], rtol=1e-3, atol=1e-4)
                compared += 1
    assert compared == 4 * 2 * 5
    assert {name for name in old[0] if "images" not in name} == {*new[0]}


def test_lerobots_own_files_have_their_columns(tmp_path: Path):
    stores = [door_store(tmp_path / task.name, task) for task in (OPEN, CLOSE)]
    export_lerobot(stores, tmp_path / "set", fps=10, robot="so101")
    info = json.loads((tmp_path / "set" / INFO).read_text())
    assert info["robot_type"] == "so101"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 24, 2)
    assert info["splits"] == {"train": "0:4"}
    pandas = json.loads(pq.read_schema(tmp_path / "set" / TASKS).metadata[b"pandas"])
    assert pandas["index_columns"] == ["task"]
    with pq.ParquetFile(tmp_path / "set" / DATA) as data:
        assert [data.metadata.row_group(number).num_rows for number in range(4)] == [7, 5, 7, 5]


def test_private_features_stay_out_of_lerobots_sight(tmp_path: Path):
    features = {STATE: Feature((2,)), ACTION: Feature((1,)), SIMULATOR_STATE: Feature((5,), "float64")}
    about: dict[str, Any] = {"source": "scripted", "suite": "toy"}
    one = random_store(tmp_path / "one", OPEN, features, (3, 4), 0, **about)
    other = {**features, SIMULATOR_STATE: Feature((9,), "float64")}
    two = random_store(tmp_path / "two", CLOSE, other, (5,), 1, **about)
    export_lerobot([one, two], tmp_path / "set", fps=10)
    assert SIMULATOR_STATE not in json.loads((tmp_path / "set" / INFO).read_text())["features"]
    assert SIMULATOR_STATE not in pq.read_schema(tmp_path / "set" / DATA).names
    back = import_lerobot(tmp_path / "set", tmp_path / "back")
    assert [store.digest for store in back] == [one.digest, two.digest]


def test_videos_are_near_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    door_store(tmp_path / "stores" / "a", OPEN, (40, 30), side=64)
    door_store(tmp_path / "stores" / "b", CLOSE, (20,), side=64)
    words = ["demos", "export", str(tmp_path / "stores"), str(tmp_path / "set"), "--layout", "lerobot", "--fps", "20"]
    assert main([*words, "--videos"]) == 0
    assert "lossy" in capsys.readouterr().out
    assert main(["demos", "import", str(tmp_path / "set"), str(tmp_path / "back")]) == 0
    assert f"{CAMERA} (from a video, which is lossy)" in capsys.readouterr().out
    for name, task in (("a", OPEN), ("b", CLOSE)):
        old = DemonstrationStore.open(tmp_path / "stores" / name)
        new = DemonstrationStore.open(tmp_path / "back" / task.name)
        np.testing.assert_array_equal(np.asarray(old[STATE]), np.asarray(new[STATE]))
        apart = np.abs(np.asarray(old[CAMERA], np.int64) - np.asarray(new[CAMERA])).mean((1, 2, 3))
        assert apart.max() < 4, "the next picture differs by more"
        assert new.settings["imported"]["videos"] == [CAMERA]


def test_the_suites_frequency_is_taken_where_nothing_else_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    about: dict[str, Any] = {"features": {STATE: Feature((4,)), ACTION: Feature((4,))}, "lengths": (3,), "seed": 0}
    for suite, fps in (("metaworld", 80), ("libero-goal", 20)):
        store = random_store(tmp_path / suite, OPEN, **about, source="scripted", suite=suite)
        out = tmp_path / f"{suite}-set"
        assert main(["demos", "export", str(store.path), str(out), "--layout", "lerobot"]) == 0
        assert json.loads((out / INFO).read_text())["fps"] == fps
    store = random_store(tmp_path / "own", OPEN, **about, source="scripted", suite="own")
    assert main(["demos", "export", str(store.path), str(tmp_path / "out"), "--layout", "lerobot"]) == 2
    assert "--fps 30" in capsys.readouterr().err


def test_fps_and_videos_are_refused_where_they_mean_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = make_store(tmp_path / "store")
    assert main(["demos", "export", str(store.path), "--videos"]) == 2
    assert "add --layout lerobot" in capsys.readouterr().err


def test_an_export_replaces_an_export_and_nothing_else(tmp_path: Path):
    store = door_store(tmp_path / "store")
    export_lerobot([store], tmp_path / "set", fps=10)
    export_lerobot([store], tmp_path / "set", fps=20)
    assert json.loads((tmp_path / "set" / INFO).read_text())["fps"] == 20
    (tmp_path / "set" / OWN).unlink()
    with pytest.raises(DemonstrationError, match="was not written by"):
        export_lerobot([store], tmp_path / "set", fps=10)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(DemonstrationError, match="was not written by"):
        export_lerobot([store], tmp_path / "mine", fps=10)


def test_what_lerobot_cannot_hold_is_refused(tmp_path: Path):
    store = door_store(tmp_path / "store")
    twin = door_store(tmp_path / "twin", Task("other", OPEN.instruction))
    same = door_store(tmp_path / "same", Task(OPEN.name, "another sentence"))
    plain = door_store(tmp_path / "plain", CLOSE, pictures=False)
    odd = door_store(tmp_path / "odd", side=15)
    deep = random_store(
        tmp_path / "deep",
        OPEN,
        {STATE: Feature((1, 1, 1, 1, 1, 2)), ACTION: Feature((1,))},
        (2,),
        0,
        source="a",
        suite="b",
    )
    known = import_lerobot(TINY, tmp_path / "tiny")
    cases: list[tuple[list[DemonstrationStore], dict[str, Any], str]] = [
        ([store, twin], {"fps": 10}, "two of the stores have the instruction 'open the door'"),
        ([store, same], {"fps": 10}, "two of the stores have the task 'open-door'"),
        ([store, plain], {"fps": 10}, "differ in feature"),
        ([store], {}, r"--fps 30"),
        ([store], {"fps": -1}, "-1 steps a second are impossible"),
        ([plain], {"fps": 10, "videos": True}, "no pictures that could become videos"),
        ([odd], {"fps": 10, "videos": True}, "needs even numbers"),
        ([deep], {"fps": 10}, "more axes than LeRobot's 5"),
        ([known[0], *slower(tmp_path)[1:]], {}, "differ in their fps"),
    ]
    for stores, options, words in cases:
        with pytest.raises(DemonstrationError, match=words):
            export_lerobot(stores, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()


def slower(tmp_path: Path) -> list[DemonstrationStore]:
    export_lerobot(import_lerobot(TINY, tmp_path / "again"), tmp_path / "slower", fps=40)
    return import_lerobot(tmp_path / "slower", tmp_path / "slow", changed=True)


def test_progress_counts_the_episodes_of_all_tasks(tmp_path: Path):
    stores = [door_store(tmp_path / task.name, task, pictures=False) for task in (OPEN, CLOSE)]
    news: list[Progress] = []
    export_lerobot(stores, tmp_path / "set", fps=10, report=news.append)
    assert [(one.stage, one.done, one.total) for one in news] == [("export", number, 4) for number in range(4)]


def test_an_altered_store_is_not_exported(tmp_path: Path):
    store = door_store(tmp_path / "store")
    path = store.path / f"{ACTION}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DemonstrationError, match="altered"):
        export_lerobot([DemonstrationStore.open(store.path)], tmp_path / "set", fps=10)


def test_a_stop_leaves_what_was_there(tmp_path: Path):
    stores = [door_store(tmp_path / task.name, task) for task in (OPEN, CLOSE)]
    export_lerobot(stores, tmp_path / "set", fps=10)
    first, _ = import_lerobot(tmp_path / "set", tmp_path / "demos")
    content = (tmp_path / "set" / OWN).read_bytes()

    def stop(news: Progress) -> None:
        if news.done == 1 and news.stage != "check":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_lerobot(stores, tmp_path / "set", fps=20, report=stop)
    with pytest.raises(KeyboardInterrupt):
        import_lerobot(tmp_path / "set", tmp_path / "demos", report=stop)
    assert (tmp_path / "set" / OWN).read_bytes() == content
    store = DemonstrationStore.open(first.path)
    store.verify()
    assert store.digest == first.digest
    assert not list(tmp_path.glob("**/.*"))
