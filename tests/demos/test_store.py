"""The store gives back what was written, opens without reading the data, and refuses what breaks a rule."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from tests.demos.making import ENVIRONMENT_STATE, FEATURES, FRONT, PUSH, episode, make_store, store_of

from skilltokens.demos import DemonstrationStore, check, same_features, stores_in, write_store
from skilltokens.types import ACTION, STATE, DemonstrationError, Episode, Feature, Task

DTYPES = st.sampled_from(["float16", "float32", "float64", "uint8", "int64", "bool"])
NAMES = st.from_regex(r"observation\.[A-Za-z0-9_.-]{1,20}", fullmatch=True)


@st.composite
def demonstrations(draw: st.DrawFn) -> tuple[dict[str, Feature], list[Episode]]:
    """Any features and any episodes that the rules allow."""
    features = {ACTION: Feature((draw(st.integers(1, 4)),))}
    for name in draw(st.lists(NAMES, min_size=1, max_size=3)):
        features[name] = Feature(draw(stnp.array_shapes(min_dims=0, max_dims=3, max_side=3)), draw(DTYPES))
    episodes = []
    for steps in draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)):
        arrays = {}
        for name, feature in features.items():
            values = st.floats(-1, 1, width=32) if name == ACTION else stnp.from_dtype(np.dtype(feature.dtype))
            arrays[name] = draw(
                stnp.arrays(feature.dtype, (steps, *feature.shape), elements=values.filter(np.isfinite))
            )
        episodes.append(Episode(arrays))
    return features, episodes


@given(demonstrations())
@settings(max_examples=40)
def test_any_demonstrations_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, demonstration) -> None:
    features, episodes = demonstration
    path = tmp_path_factory.mktemp("store") / "task"
    store = write_store(path, episodes, task=PUSH, features=features, source="human", suite="toy")
    store.verify()
    again = DemonstrationStore.open(path)
    assert again.task == PUSH
    assert again.features == features
    assert again.episodes == len(episodes)
    for one, other in zip(episodes, again, strict=True):
        for name in features:
            np.testing.assert_array_equal(one.features[name], other.features[name])
            assert other.features[name].dtype == features[name].dtype


def test_header_says_what_is_in_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push", (5, 1, 8))
    assert (store.episodes, store.steps, len(store)) == (3, 14, 3)
    assert store.offsets.tolist() == [0, 5, 6, 14]
    assert (store.suite, store.source, store.versions) == ("toy", "scripted", {"toy": "1.0"})
    assert store.settings == {"noise": 0.1, "seed": 0}
    assert store[STATE].shape == (14, 4)
    header = json.loads((store.path / "header.json").read_text())
    assert header["schema"] == "skilltokens.demonstrations/1"
    assert header["task"]["instruction"] == PUSH.instruction


def test_equal_demonstrations_give_equal_bytes(tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "one"), make_store(tmp_path / "two")
    assert one.digest == two.digest
    assert all((two.path / file.name).read_bytes() == file.read_bytes() for file in one.path.iterdir())
    assert make_store(tmp_path / "three", seed=1).digest != one.digest


def test_arrays_are_ordinary_npy_files_and_read_only(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push", images=True)
    np.testing.assert_array_equal(np.load(store.path / f"{FRONT}.npy"), store[FRONT])
    with pytest.raises(ValueError, match="read-only"):
        store[STATE][0] = 0


def test_episode_out_of_range_is_an_index_error(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push")
    for index in (-1, 3):
        with pytest.raises(IndexError, match="episodes 0 to 2"):
            store.episode(index)


def bytes_read(path: Path) -> int:
    """How many bytes opening the store asks the system for."""

    def count() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    DemonstrationStore.open(path)
    before = count()
    once = count() - before
    before = count()
    DemonstrationStore.open(path)
    return count() - before - once


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's count of bytes read")
def test_opening_reads_the_same_whatever_the_size(tmp_path: Path) -> None:
    # Each file is larger than Python's read buffer, which is filled whatever is asked for.
    small, large = make_store(tmp_path / "small", [2] * 1200), make_store(tmp_path / "large", [40] * 1800)
    assert large.steps == 30 * small.steps
    # The headers differ by the digits of the counts; nothing else may.
    assert abs(bytes_read(large.path) - bytes_read(small.path)) < 100
    assert bytes_read(large.path) < 50_000


def test_opening_does_not_look_at_values_but_verify_does(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push")
    file = store.path / f"{STATE}.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    opened = DemonstrationStore.open(store.path)
    with pytest.raises(DemonstrationError, match=r"observation\.state\.npy was altered"):
        opened.verify()


def test_pickling_passes_on_the_path_not_the_data(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push", [1000])
    parcel = pickle.dumps(store)
    assert len(parcel) < 1000
    assert pickle.loads(parcel).digest == store.digest  # noqa: S301 - made in the line above


def total(store: DemonstrationStore) -> tuple[str, float]:
    store.verify()
    return store.digest, float(sum(one.features[ACTION].sum(dtype=np.float64) for one in store))


def test_many_processes_read_a_store_at_once(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push", [40] * 20)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert set(pool.map(total, [store] * 12)) == {total(store)}


def test_a_reader_keeps_the_old_contents_when_a_store_is_replaced(tmp_path: Path) -> None:
    old = make_store(tmp_path / "push", (5, 1, 8))
    seen = np.array(old[STATE])
    new = make_store(tmp_path / "push", (3,), seed=7)
    np.testing.assert_array_equal(old[STATE], seen)
    assert DemonstrationStore.open(tmp_path / "push").digest == new.digest != old.digest


def changed(**arrays: np.ndarray) -> Episode:
    return Episode({**episode(4).features, **{name.replace("__", "."): array for name, array in arrays.items()}})


def with_value(name: str, step: int, value: float) -> Episode:
    array = np.array(episode(4).features[name])
    array[step, 1] = value
    return changed(**{name.replace(".", "__"): array})


BAD_EPISODES = {
    "nan": (with_value(STATE, 2, np.nan), r"episode 1, step 2, feature 'observation.state' holds nan"),
    "infinite": (with_value(ENVIRONMENT_STATE, 0, np.inf), r"episode 1, step 0, .*environment_state' holds inf"),
    "action nan": (with_value(ACTION, 3, np.nan), r"episode 1, step 3, feature 'action' holds nan"),
    "too large": (changed(observation__state=np.full((4, 4), 1e300)), r"feature 'observation.state' holds inf"),
    "width": (changed(observation__state=np.zeros((4, 5))), r"episode 1, .*shape \(4, 5\) where \(steps, 4\)"),
    "no steps": (episode(0), r"episode 1 is empty"),
    "lengths": (changed(action=np.zeros((3, 3))), r"episode 1 has features of different lengths"),
    "missing": (Episode({STATE: np.zeros((4, 4)), ACTION: np.zeros((4, 3))}), r"lacks the feature 'observation.env"),
    "unknown": (changed(observation__more=np.zeros((4, 1))), r"has the unknown feature 'observation.more'"),
    "text": (changed(observation__state=np.full((4, 4), "a")), r"dtype <U1 where float32"),
    "objects": (changed(observation__state=np.full((4, 4), None)), r"dtype object where float32"),
}


@pytest.mark.parametrize("case", BAD_EPISODES)
def test_bad_episode_is_named_and_the_old_store_stays(tmp_path: Path, case: str) -> None:
    bad, message = BAD_EPISODES[case]
    old = make_store(tmp_path / "push")
    with pytest.raises(DemonstrationError, match=message) as raised:
        store_of(tmp_path / "push", [episode(4), bad])
    assert str(tmp_path / "push") in str(raised.value)
    assert "\n" not in str(raised.value)
    DemonstrationStore.open(tmp_path / "push").verify()
    assert DemonstrationStore.open(tmp_path / "push").digest == old.digest
    assert [entry.name for entry in tmp_path.iterdir()] == ["push"]


BAD_HEADERS = {
    "no episodes": ({}, [], "no episode to store"),
    "empty instruction": ({"task": Task("push", " \n")}, None, "empty instruction"),
    "long instruction": ({"task": Task("push", "x" * 10_000)}, None, "has 10000 characters"),
    "long wording": ({"task": Task("push", "push", ("x" * 1001,))}, None, "the wording of task 'push' has 1001"),
    "half a character": ({"task": Task("push", "push \ud800")}, None, "not Unicode"),
    "name of a path": ({"task": Task("../push", "push")}, None, "cannot name a file"),
    "no action": ({"features": {STATE: Feature((4,))}}, None, "no feature 'action'"),
    "action matrix": ({"features": {**FEATURES, ACTION: Feature((2, 2))}}, None, "must be a vector of floats"),
    "no observation": ({"features": {ACTION: Feature((3,))}}, None, "there is no observation"),
    "width zero": ({"features": {**FEATURES, STATE: Feature((0,))}}, None, "empty shape"),
    "dtype": ({"features": {**FEATURES, STATE: Feature((4,), "object")}}, None, "dtype 'object'"),
    "feature name": ({"features": {**FEATURES, "observation./etc": Feature((4,))}}, None, "cannot name a feature"),
    "foreign feature": ({"features": {**FEATURES, "reward": Feature(())}}, None, "'reward' cannot name a feature"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_task_or_feature_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, episodes, message = BAD_HEADERS[case]
    given_ = {"task": PUSH, "features": FEATURES, "source": "human", "suite": "toy", **change}
    with pytest.raises(DemonstrationError, match=message) as raised:
        write_store(tmp_path / "push", [episode(3)] if episodes is None else episodes, **given_)
    assert len(str(raised.value)) < 400
    assert not (tmp_path / "push").exists()


def test_what_is_no_store_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("folder", "file"):
        with pytest.raises(DemonstrationError, match="is no demonstration store"):
            make_store(tmp_path / name)
    assert (tmp_path / "folder" / "mine.txt").read_text() == (tmp_path / "file").read_text() == "keep"


def test_stores_with_different_features_are_both_named(tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "one"), make_store(tmp_path / "two", images=True)
    with pytest.raises(
        DemonstrationError, match=r"one and .*two differ in feature 'observation.images.front' \(absent"
    ):
        same_features([one, two])
    wide = {**FEATURES, STATE: Feature((5,))}
    wider = dataclasses.replace(episode(3), features={**episode(3).features, STATE: np.zeros((3, 5))})
    three = write_store(tmp_path / "three", [wider], task=PUSH, features=wide, source="human", suite="toy")
    with pytest.raises(DemonstrationError, match=r"'observation.state' \(float32 \(4,\) and float32 \(5,\)\)"):
        same_features([one, one, three])
    with pytest.raises(DemonstrationError, match="no demonstration store was given"):
        same_features([])
    assert same_features([one, one]) == FEATURES


def test_stores_below_a_folder_are_found_without_unfinished_ones(tmp_path: Path) -> None:
    for name in ("b", "a"):
        make_store(tmp_path / "toy" / name)
    make_store(tmp_path / "toy" / ".c.tmp-1234" / "c")
    assert [store.path.name for store in stores_in(tmp_path)] == ["a", "b"]
    assert [store.path.name for store in stores_in(tmp_path / "toy" / "a")] == ["a"]
    for empty in (tmp_path / "nowhere", tmp_path / "toy" / ".c.tmp-1234" / "d"):
        with pytest.raises(DemonstrationError, match="holds no demonstration store"):
            stores_in(empty)


def _links(store: Path, cache: Path) -> Path:
    """The store as a cache of downloads or DVC lays it out: every file a link to one that others share."""
    cache.mkdir()
    for path in store.iterdir():
        path.rename(cache / f"{path.name}.blob")
        path.symlink_to(os.path.relpath(cache / f"{path.name}.blob", store))
    return store


def test_a_store_made_of_links_is_read_and_replaced_and_what_it_links_to_stays(tmp_path: Path) -> None:
    digest = make_store(tmp_path / "push").digest
    linked = _links(tmp_path / "push", tmp_path / "cache")
    store = DemonstrationStore.open(linked)
    store.verify()
    assert (store.digest, check(linked), [one.path for one in stores_in(tmp_path)]) == (digest, [], [linked])
    before = {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    again = make_store(linked, seed=7)
    assert again.digest != digest
    assert not any(path.is_symlink() for path in linked.iterdir())
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == before


def test_a_link_to_a_file_that_was_not_fetched_says_so(tmp_path: Path) -> None:
    make_store(tmp_path / "push")
    linked = _links(tmp_path / "push", tmp_path / "cache")
    for name in (f"{STATE}.npy", "header.json"):
        (tmp_path / "cache" / f"{name}.blob").unlink()
        with pytest.raises(DemonstrationError, match=rf"{name} is a link to \S*cache/{name}.blob, which is not there"):
            DemonstrationStore.open(linked)
