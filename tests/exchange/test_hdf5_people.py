"""HDF5 files as people have them: two arms, columns, whole numbers, several instructions, odd attributes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.exchange.making import OPEN, foreign, opened

from skilltokens.cli.exchange.importing import import_
from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.conversion import conversion_of
from skilltokens.exchange.demo import read_demo
from skilltokens.exchange.hdf5 import import_hdf5
from skilltokens.exchange.known import LIBERO
from skilltokens.exchange.told import notes
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, Feature, Task

HAND = {"eef_pos": (3,), "eef_quat": (4,), "gripper_qpos": (2,)}


def hands(*arms: str) -> dict[str, tuple[int, ...]]:
    return {f"{arm}_{part}": shape for arm in arms for part, shape in HAND.items()}


def keys_of(store: DemonstrationStore) -> dict[str, list[str]]:
    return store.settings["imported"]["keys"]


def lines(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_both_arms_are_the_state(tmp_path: Path) -> None:
    path = foreign(tmp_path / "two.hdf5", {**hands("robot1", "robot0"), "object": (41,)}, actions=14)
    store = import_hdf5(path, tmp_path / "two", task=OPEN)
    assert keys_of(store) == {STATE: list(hands("robot0", "robot1")), ENVIRONMENT_STATE: ["object"]}
    assert store.features[STATE].shape == (18,)
    assert list(notes(store)) == []


def test_both_arms_of_one_robot_come_in_the_order_of_its_actions(tmp_path: Path) -> None:
    path = foreign(tmp_path / "two.hdf5", hands("robot0_left", "robot0_right"), actions=14)
    assert keys_of(import_hdf5(path, tmp_path / "two", task=OPEN)) == {
        STATE: list(hands("robot0_right", "robot0_left"))
    }


def test_a_base_that_drives_is_in_the_state(tmp_path: Path) -> None:
    shapes = {**hands("robot0"), "robot0_base_pos": (3,), "robot0_base_quat": (4,), "robot0_base_to_eef_pos": (3,)}
    store = import_hdf5(foreign(tmp_path / "drives.hdf5", shapes, actions=12), tmp_path / "store", task=OPEN)
    assert keys_of(store)[STATE] == [*hands("robot0"), "robot0_base_pos", "robot0_base_quat"]
    assert store.settings["imported"]["left"] == ["robot0_base_to_eef_pos"]


def test_a_robot_without_a_known_hand_gives_all_its_vectors(tmp_path: Path) -> None:
    shapes = {**hands("robot0"), "robot1_joint_pos": (7,), "robot1_joint_vel": (7,), "robot0_joint_vel": (7,)}
    store = import_hdf5(foreign(tmp_path / "two.hdf5", shapes, actions=14), tmp_path / "store", task=OPEN)
    assert keys_of(store)[STATE] == [*hands("robot0"), "robot1_joint_pos", "robot1_joint_vel"]


def test_an_arm_of_an_unknown_name_is_pointed_at(tmp_path: Path) -> None:
    path = foreign(tmp_path / "two.hdf5", {**hands("robot0"), "left_qpos": (7,)}, actions=14)
    said = " ".join(notes(import_hdf5(path, tmp_path / "store", task=OPEN)))
    assert "actions have 14 numbers and the state the hand of 1 arm: see whether something that is not taken" in said
    assert "not taken: left_qpos" in said


def test_liberos_mark_on_a_file_with_other_names_is_no_filter(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", hands("robot0"))
    with opened(path, "a") as file:
        file["data"].attrs["problem_info"] = json.dumps({"language_instruction": "lift it"})
    assert keys_of(import_hdf5(path, tmp_path / "store")) == {STATE: list(hands("robot0"))}


def test_columns_and_single_numbers_are_vectors(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"eef": (3,), "gripper": (), "tip": (2,)})
    with opened(path, "a") as file:
        for demo in file["data"].values():
            for key, shape in {"eef": (-1, 1, 3), "tip": (-1, 2, 1)}.items():
                values = demo["obs"][key][()]
                del demo["obs"][key]
                demo["obs"][key] = values.reshape(shape)
            values = demo["actions"][()]
            del demo["actions"]
            demo["actions"] = values[:, None]
        eef, gripper, tip = (file[f"data/demo_1/obs/{key}"][()] for key in ("eef", "gripper", "tip"))
        actions = file["data/demo_1/actions"][()]
    store = import_hdf5(path, tmp_path / "store", task=OPEN)
    expected = np.concatenate([eef[:, 0], gripper[:, None], tip[:, :, 0]], axis=1)
    np.testing.assert_array_equal(store.episode(1).features[STATE], expected.astype(np.float32))
    np.testing.assert_array_equal(store.episode(1).features[ACTION], actions[:, 0].astype(np.float32))
    alone = import_hdf5(path, tmp_path / "alone", task=OPEN, keys={STATE: ["eef"]})
    np.testing.assert_array_equal(alone.episode(1).features[STATE], eef[:, 0].astype(np.float32))


def test_a_set_is_a_feature_where_it_is_named(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"eef": (3,), "points": (5, 3)})
    assert import_hdf5(path, tmp_path / "store", task=OPEN).settings["imported"]["left"] == ["points"]
    keys = {STATE: ["eef"], "observation.points": ["points"]}
    store = import_hdf5(path, tmp_path / "store", task=OPEN, keys=keys)
    assert store.features["observation.points"] == Feature((5, 3))


def whole(path: Path, values: Sequence[float], kind: type) -> Path:
    foreign(path, {"eef": (3,)})
    with opened(path, "a") as file:
        for demo in file["data"].values():
            steps = len(demo["actions"])
            del demo["actions"]
            demo["actions"] = np.resize(np.array(values), (steps, 1)).astype(kind)
    return path


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_])
def test_whole_actions_are_numbers(tmp_path: Path, kind: type) -> None:
    store = import_hdf5(whole(tmp_path / "own.hdf5", [0, 1], kind), tmp_path / "store", task=OPEN)
    assert store.features[ACTION] == Feature((1,))
    assert np.unique(store[ACTION]).tolist() == [0, 1]
    assert "whole numbers" in " ".join(notes(store))


def test_whole_actions_are_clipped(tmp_path: Path) -> None:
    path = whole(tmp_path / "own.hdf5", [-3, 0, 4], np.int32)
    store = import_hdf5(path, tmp_path / "store", task=OPEN, clip=True)
    assert np.unique(store[ACTION]).tolist() == [-1, 0, 1]


def test_the_action_can_be_another_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign(tmp_path / "own.hdf5", {"eef": (3,)})
    with opened(path, "a") as file:
        for demo in file["data"].values():
            demo["actions_abs"] = demo["actions"][:, :3] / 2
        expected = file["data/demo_0/actions_abs"][()].astype(np.float32)
    import_([str(path), str(tmp_path / "store"), "--instruction", "lift it", "--keys", "action=actions_abs"])
    store = DemonstrationStore.open(tmp_path / "store")
    np.testing.assert_array_equal(store.episode(0).features[ACTION], expected)
    assert keys_of(store) == {STATE: ["eef"]}
    assert "action <- actions_abs" in lines(capsys)


@pytest.mark.parametrize(
    "meta", [np.bytes_('{"lang": "lift it"}'), np.array(['{"lang": "lift it"}'], dtype=object)], ids=["bytes", "array"]
)
def test_odd_attributes_say_what_is_shown(tmp_path: Path, meta: object) -> None:
    path = foreign(tmp_path / "own.hdf5", {"eef": (3,)})
    with opened(path, "a") as file:
        for demo in file["data"].values():
            demo.attrs["ep_meta"] = meta
    assert import_hdf5(path, tmp_path / "store").task == Task("own", "lift it")


@pytest.mark.parametrize("meta", ["", " ", np.bytes_(""), '{"lang": null}'])
def test_an_attribute_that_says_nothing_is_none(tmp_path: Path, meta: object) -> None:
    path = foreign(tmp_path / "own.hdf5", {"eef": (3,)})
    with opened(path, "a") as file:
        for demo in file["data"].values():
            demo.attrs["ep_meta"] = meta
    with pytest.raises(DemonstrationError, match="does not say what it shows: give an instruction"):
        import_hdf5(path, tmp_path / "store")
    assert import_hdf5(path, tmp_path / "store", task=OPEN).task == OPEN


def test_an_instruction_chooses_its_demos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign(tmp_path / "langs.hdf5", {"eef": (3,)}, lengths=(4, 5, 6))
    with opened(path, "a") as file:
        for demo, fruit in zip(file["data"].values(), ("apple", "pear", "apple"), strict=True):
            demo.attrs["ep_meta"] = json.dumps({"lang": f"pick the {fruit}"})
    said = r"shows 2 tasks \('pick the apple', 'pick the pear'\): choose .* by its instruction \(--instruction\)"
    with pytest.raises(DemonstrationError, match=said):
        import_hdf5(path, tmp_path / "store")
    import_([str(path), str(tmp_path / "apple"), "--instruction", "Pick the apple"])
    assert np.diff(DemonstrationStore.open(tmp_path / "apple").offsets).tolist() == [4, 6]
    assert "2 of 3 demonstrations, those that show it" in lines(capsys)
    import_([str(path), str(tmp_path / "fruit"), "--instruction", "pick some fruit"])
    assert DemonstrationStore.open(tmp_path / "fruit").episodes == 3
    assert "all 3 demonstrations were taken as one task, though the file says 'pick the apple'" in lines(capsys)


def test_a_folder_of_tasks_may_have_any_of_the_usual_endings(tmp_path: Path) -> None:
    for name in ("one.h5", "two.HDF5", "three.hdf5"):
        path = foreign(tmp_path / "files" / name, {"eef": (3,)})
        with opened(path, "a") as file:
            file["data/demo_0"].attrs["ep_meta"] = json.dumps({"lang": f"do {path.stem}"})
    (tmp_path / "files" / "notes.txt").write_text("no demonstrations")
    import_([str(tmp_path / "files"), str(tmp_path / "stores")])
    assert sorted(path.name for path in (tmp_path / "stores").iterdir()) == ["one", "three", "two"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemonstrationError, match=r"holds no file \*\.hdf5 or \*\.h5"):
        import_([str(tmp_path / "empty"), str(tmp_path / "stores")])


KEYS = st.sampled_from(
    [
        *hands("robot0", "robot1", "robot0_left"),
        *LIBERO[STATE],
        "object",
        "images/front",
        "top_rgb",
        "top_image",
        "depth",
    ]
)
KINDS = st.sampled_from(["f2", "f4", "f8", "u1", "u2", "i8", "?", "S4", "c8"])
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 7]), max_size=4).map(tuple)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KEYS, st.tuples(SHAPES, KINDS), max_size=6),
    st.just((7,)) | SHAPES,
    st.just("f4") | KINDS,
    st.data(),
)
def test_any_arrays_make_an_episode_or_one_sentence(
    arrays: dict[str, tuple[tuple[int, ...], str]], shape: tuple[int, ...], kind: str, data: st.DataObject
) -> None:
    steps, values = data.draw(st.integers(0, 3)), data.draw(st.sampled_from([0, 0.5, 1, 200, 3e10, np.inf]))
    here = Path(__file__)  # as large as any file whose arrays these could be
    with opened(Path("any"), "w", driver="core", backing_store=False) as file, np.errstate(all="ignore"):
        for key, (rest, dtype) in {"actions": (shape, kind), **arrays}.items():
            place = key if key == "actions" else f"obs/{key}"
            file[f"data/demo_0/{place}"] = np.full((steps, *rest), values).astype(dtype)
        images, clip = data.draw(st.booleans()), data.draw(st.booleans())
        try:
            conversion = conversion_of(here, file["data"], "demo_0", None, images)
            episode = read_demo(here, file["data/demo_0"], conversion, clip)
        except DemonstrationError:
            return
    assert len(episode) == steps
    taken = {key for group in conversion.keys.values() for key in group}
    assert taken | set(conversion.unused) == set(arrays)
    assert taken.isdisjoint(conversion.unused)
    assert all(episode.features[name].shape[1:] == conversion.features[name].shape for name in conversion.features)
