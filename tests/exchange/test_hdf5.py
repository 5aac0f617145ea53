"""HDF5 in robomimic's layout: exports come back as they were, foreign files are read, bad ones get one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.demos.making import FRONT, PUSH, make_store

from skilltokens.demos import DemonstrationStore, check
from skilltokens.exchange.hdf5 import export_hdf5, import_hdf5, task_in
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, Progress, Task

OPEN = Task("open-door", "open the door", ("swing the door open",))


def opened(path: Path, mode: str, **settings: Any) -> Any:
    """An HDF5 file, typed as Any: h5py says of every member that it may be of three kinds."""
    return h5py.File(path, mode, **settings)


def foreign(path: Path, obs: dict[str, tuple[int, ...]], lengths: tuple[int, ...] = (4, 6), actions: int = 7) -> Path:
    """A file in robomimic's layout that another program wrote: float64, obs keys with the given shapes of a step."""
    random = np.random.default_rng(0)
    with opened(path, "w") as file:
        for number, steps in enumerate(lengths):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"] = steps
            demo["actions"] = random.uniform(-1, 1, size=(steps, actions))
            for key, shape in obs.items():
                image = len(shape) == 3
                values = random.integers(0, 256, (steps, *shape)) if image else random.normal(size=(steps, *shape))
                demo[f"obs/{key}"] = values.astype(np.uint8 if image else np.float64)
    return path


ROBOMIMIC = {
    "robot0_eef_pos": (3,),
    "robot0_eef_quat": (4,),
    "robot0_gripper_qpos": (2,),
    "robot0_joint_vel": (7,),
    "object": (10,),
    "agentview_image": (6, 6, 3),
}


@pytest.mark.parametrize("images", [False, True])
def test_an_export_comes_back_down_to_its_digest(tmp_path: Path, images: bool) -> None:
    store = make_store(tmp_path / "push", (5, 1, 8) * 5, images=images)
    export_hdf5([store], tmp_path / "out" / "push.hdf5")
    again = import_hdf5(tmp_path / "out" / "push.hdf5", tmp_path / "again")
    assert again.digest == store.digest
    assert again.task == PUSH


def test_several_stores_are_subsets_of_one_file(tmp_path: Path) -> None:
    stores = [make_store(tmp_path / "a"), make_store(tmp_path / "b", (3, 3), seed=5, task=OPEN)]
    export_hdf5(stores, tmp_path / "both.hdf5")
    for store in stores:
        again = import_hdf5(tmp_path / "both.hdf5", tmp_path / "again", subset=store.task.name)
        assert again.digest == store.digest
    with pytest.raises(DemonstrationError, match=r"shows 2 tasks \(open-door, push-v3\): choose one by its subset"):
        import_hdf5(tmp_path / "both.hdf5", tmp_path / "again")
    with pytest.raises(DemonstrationError, match=r"no subset mask/open-dor: did you mean 'open-door'"):
        import_hdf5(tmp_path / "both.hdf5", tmp_path / "again", subset="open-dor")
    assert task_in(tmp_path / "both.hdf5", "open-door") == OPEN


def test_exports_hold_what_robomimic_reads(tmp_path: Path) -> None:
    """The accesses of robomimic 0.3's SequenceDataset, get_env_metadata_from_dataset and get_shape_metadata."""
    store = make_store(tmp_path / "push", (5, 1, 8), images=True)
    export_hdf5([store], tmp_path / "push.hdf5")
    with opened(tmp_path / "push.hdf5", "r", swmr=True, libver="latest") as file:
        demos = sorted(file["data"].keys(), key=lambda name: int(name[5:]))
        assert [name.decode() for name in np.array(file["mask/push-v3"][:])] == demos
        assert {"env_name", "type", "env_kwargs"} <= json.loads(file["data"].attrs["env_args"]).keys()
        assert file["data"].attrs["total"] == store.steps
        for name, episode in zip(demos, store, strict=True):
            demo = file[f"data/{name}"]
            assert demo.attrs["num_samples"] == len(episode)
            assert json.loads(demo.attrs["ep_meta"])["lang"] == PUSH.instruction
            np.testing.assert_array_equal(demo["actions"][()].astype("float32"), episode.features[ACTION])
            assert demo["rewards"][()].tolist() == demo["dones"][()].tolist() == [0] * (len(episode) - 1) + [1]
            for key, feature in (("state", STATE), ("environment_state", ENVIRONMENT_STATE), ("images.front", FRONT)):
                observed = demo[f"obs/{key}"][()]
                np.testing.assert_array_equal(observed, episode.features[feature])
                np.testing.assert_array_equal(
                    demo[f"next_obs/{key}"][()], np.concatenate([observed[1:], observed[-1:]])
                )


def test_export_without_next_observations(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push")
    export_hdf5([store], tmp_path / "push.hdf5", next_observations=False)
    with opened(tmp_path / "push.hdf5", "r") as file:
        assert "next_obs" not in file["data/demo_0"]
    assert import_hdf5(tmp_path / "push.hdf5", tmp_path / "again").digest == store.digest


def test_robomimic_keys_are_known(tmp_path: Path) -> None:
    path = foreign(tmp_path / "lift.hdf5", ROBOMIMIC)
    store = import_hdf5(path, tmp_path / "lift", task=Task("lift", "lift the cube"))
    assert {name: (feature.shape, feature.dtype) for name, feature in store.features.items()} == {
        STATE: ((9,), "float32"),
        ENVIRONMENT_STATE: ((10,), "float32"),
        ACTION: ((7,), "float32"),
    }
    with opened(path, "r") as file:
        joined = [file[f"data/demo_1/obs/robot0_{key}"][()] for key in ("eef_pos", "eef_quat", "gripper_qpos")]
    np.testing.assert_array_equal(store.episode(1).features[STATE], np.concatenate(joined, axis=1).astype(np.float32))
    assert (store.source, store.suite) == ("human", "own")
    assert store.settings["imported"]["file"] == "lift.hdf5"
    assert check(store.path) == []


@pytest.mark.parametrize("said", ["open the drawer", ["open the ", "drawer"], '"open the drawer"'])
def test_libero_files_bring_their_instruction(tmp_path: Path, said: str | list[str]) -> None:
    keys = {"joint_states": (7,), "ee_states": (6,), "ee_pos": (3,), "gripper_states": (2,), "agentview_rgb": (4, 4, 3)}
    path = foreign(tmp_path / "open_the_drawer_demo.hdf5", keys)
    with opened(path, "a") as file:
        file["data"].attrs["problem_info"] = json.dumps({"language_instruction": said})
    store = import_hdf5(path, tmp_path / "store")
    assert store.task == Task("open_the_drawer", "open the drawer")
    assert store.features[STATE].shape == (15,)


def test_keys_choose_features_and_images(tmp_path: Path) -> None:
    path = foreign(tmp_path / "lift.hdf5", ROBOMIMIC)
    keys = {STATE: ["robot0_joint_vel"], "observation.images.agentview": ["agentview_image"]}
    store = import_hdf5(path, tmp_path / "lift", task=OPEN, keys=keys)
    assert store.features[STATE].shape == (7,)
    with opened(path, "r") as file:
        images = file["data/demo_0/obs/agentview_image"][()]
    np.testing.assert_array_equal(store.episode(0).features["observation.images.agentview"], images)


def test_unknown_keys_are_joined_in_alphabetical_order(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"b": (2,), "a": (), "picture": (4, 4, 3)})
    store = import_hdf5(path, tmp_path / "own", task=OPEN)
    assert store.settings["imported"]["keys"] == {STATE: ["a", "b"]}
    assert store.features[STATE].shape == (3,)


def test_demos_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"a": (2,)}, lengths=tuple(range(1, 13)))
    store = import_hdf5(path, tmp_path / "own", task=OPEN)
    assert np.diff(store.offsets).tolist() == list(range(1, 13))


def test_clip_is_asked_for_and_remembered(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"a": (2,)})
    with opened(path, "a") as file:
        file["data/demo_1/actions"][3, 2] = 1.7
    with pytest.raises(DemonstrationError, match=r"/data/demo_1, step 3, .*'action' holds 1.7, outside \[-1, 1\]"):
        import_hdf5(path, tmp_path / "own", task=OPEN)
    store = import_hdf5(path, tmp_path / "own", task=OPEN, clip=True)
    assert store.episode(1).features[ACTION][3, 2] == 1
    assert store.settings["imported"]["clip"] is True


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[Progress] = []
    export_hdf5([make_store(tmp_path / "push")], tmp_path / "push.hdf5", report=told.append)
    import_hdf5(tmp_path / "push.hdf5", tmp_path / "again", report=told.append)
    assert [(news.stage, news.done, news.total) for news in told] == [
        *(("export", number, 3) for number in range(3)),
        *(("import", number, 3) for number in range(3)),
    ]


Change = Callable[[Any], None]


def drop(key: str) -> Change:
    def change(file: Any) -> None:
        del file[key]

    return change


def put(key: str, values: object) -> Change:
    def change(file: Any) -> None:
        if key in file:
            del file[key]
        file[key] = values

    return change


def at(key: str, place: tuple[int, ...], value: float) -> Change:
    def change(file: Any) -> None:
        file[key][place] = value

    return change


def attribute(key: str, name: str, value: object) -> Change:
    def change(file: Any) -> None:
        file[key].attrs[name] = value

    return change


def every(*changes: Change) -> Change:
    def change(file: Any) -> None:
        for single in changes:
            single(file)

    return change


def outside(key: str, how: str) -> Change:
    """The same values of the array at `key`, but kept in a file beside this one."""

    def change(file: Any) -> None:
        folder, values = Path(file.filename).parent, file[key][()]
        beside = folder.with_name(f"{folder.name}-beside")
        del file[key]
        if how == "external":
            beside.write_bytes(values.tobytes())
            file.create_dataset(key, values.shape, values.dtype, external=[(str(beside), 0, values.nbytes)])
            return
        with opened(beside, "w") as other:
            other["values"] = values
        if how == "virtual":
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[...] = h5py.VirtualSource(str(beside), "values", values.shape)
            file.create_virtual_dataset(key, layout)
        else:
            file["way"] = h5py.ExternalLink(str(beside), "/")
            file[key] = h5py.SoftLink("/way/values")

    return change


BAD_FILES: dict[str, tuple[Change, str]] = {
    "no data": (drop("data"), r"no group 'data' \(it has nothing\)"),
    "no demos": (every(drop("data/demo_0"), drop("data/demo_1")), "there are no demonstrations in data"),
    "no actions": (drop("data/demo_1/actions"), r"/data/demo_1 has no array 'actions': known are obs"),
    "no obs": (drop("data/demo_0/obs"), r"/data/demo_0 has no group 'obs'"),
    "missing key": (drop("data/demo_1/obs/state"), r"/data/demo_1/obs has no array 'state': known are other"),
    "key misspelt": (
        lambda file: file.move("data/demo_1/obs/state", "data/demo_1/obs/stat"),
        "did you mean 'stat'",
    ),
    "nan": (at("data/demo_1/obs/state", (2, 0), np.nan), r"/data/demo_1, step 2, .*'observation.state' holds nan"),
    "nan action": (at("data/demo_0/actions", (1, 0), np.nan), r"/data/demo_0, step 1, feature 'action' holds nan"),
    "action width": (put("data/demo_1/actions", np.zeros((6, 8))), r"/data/demo_1, .*'action' has shape \(6, 8\)"),
    "action text": (put("data/demo_1/actions", [b"left"] * 6), r"demo_1/actions is no array of numbers"),
    "action scalar": (put("data/demo_1/actions", 1.0), r"demo_1/actions is no array of numbers"),
    "action vector": (put("data/demo_0/actions", np.zeros(4)), r"'action' has shape \(\)"),
    "width": (put("data/demo_1/obs/state", np.zeros((6, 4))), r"/data/demo_1, feature 'observation.state' has shape"),
    "rows": (put("data/demo_1/obs/state", np.zeros((5, 3))), r"demo_1/obs/state has 5 rows for 6 actions"),
    "empty": (
        every(
            put("data/demo_1/actions", np.zeros((0, 7))),
            put("data/demo_1/obs/state", np.zeros((0, 3))),
            put("data/demo_1/obs/other", np.zeros((0, 2))),
            attribute("data/demo_1", "num_samples", 0),
        ),
        "/data/demo_1 is empty",
    ),
    "count": (attribute("data/demo_1", "num_samples", 9), r"has 6 actions where num_samples says 9"),
    "not JSON": (attribute("data/demo_1", "ep_meta", "{lang"), r"'ep_meta' of /data/demo_1 is not JSON"),
    "own altered": (attribute("data", "skilltokens", '{"stores": 3}'), r"'skilltokens' of /data is altered"),
    "no instruction": (attribute("data/demo_0", "ep_meta", "{}"), "does not say what it shows: give an instruction"),
    "empty instruction": (attribute("data/demo_0", "ep_meta", '{"lang": " "}'), "empty instruction"),
    "long instruction": (
        attribute("data/demo_0", "ep_meta", json.dumps({"lang": "x" * 10_000})),
        "has 10000 characters: shorten it to at most 1000",
    ),
    "other file": (put("data/demo_1/obs/state", h5py.ExternalLink("/etc/passwd", "/x")), "points to another file"),
    "other file's bytes": (outside("data/demo_1/obs/state", "external"), "obs/state points to another file"),
    "other file's array": (outside("data/demo_1/obs/state", "virtual"), "obs/state points to another file"),
    "other file behind a link": (outside("data/demo_1/obs/state", "soft link"), "obs/state points to another file"),
    "other file's actions": (outside("data/demo_0/actions", "external"), "actions points to another file"),
    "other file's subset": (
        every(put("mask/chosen", [b"demo_0"]), outside("mask/chosen", "soft link")),
        "mask/chosen points to another file",
    ),
    "subset of nothing": (put("mask/chosen", [b"demo_7"]), "has no group 'demo_7'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_sentence_and_the_old_store_stays(tmp_path: Path, case: str) -> None:
    change, message = BAD_FILES[case]
    path = foreign(tmp_path / "own.hdf5", {"state": (3,), "other": (2,)})
    with opened(path, "a") as file:
        if "instruction" not in case:
            attribute("data/demo_0", "ep_meta", json.dumps({"lang": "open the door"}))(file)
        change(file)
    old = make_store(tmp_path / "target")
    with pytest.raises(DemonstrationError, match=message) as raised:
        import_hdf5(path, tmp_path / "target", subset="chosen" if "subset" in case else None)
    said = str(raised.value)
    assert str(path) in said or str(tmp_path / "target") in said
    assert "\n" not in said
    assert len(said) < 500
    assert DemonstrationStore.open(tmp_path / "target").digest == old.digest
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["own.hdf5", "target"]


def test_files_that_are_not_hdf5_or_are_cut_short(tmp_path: Path) -> None:
    whole = foreign(tmp_path / "whole.hdf5", {"state": (3,)}, lengths=(50,) * 20).read_bytes()
    for kept in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.hdf5").write_bytes(whole[:kept])
        with pytest.raises(DemonstrationError, match="is no readable HDF5 file, or is truncated"):
            import_hdf5(tmp_path / "cut.hdf5", tmp_path / "store", task=OPEN)
    with pytest.raises(DemonstrationError, match="does not exist: check the path"):
        import_hdf5(tmp_path / "nowhere.hdf5", tmp_path / "store", task=OPEN)
    with pytest.raises(DemonstrationError, match="no readable HDF5"):
        import_hdf5(tmp_path, tmp_path / "store", task=OPEN)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("signature", [b"HEAP", b"TREE", b"SNOD"])
@pytest.mark.parametrize("which", [0, 1, -1])
def test_damaged_tables_inside_a_file_are_one_sentence(tmp_path: Path, signature: bytes, which: int) -> None:
    pieces = foreign(tmp_path / "own.hdf5", {"state": (3,)}).read_bytes().split(signature)
    assert len(pieces) > 2
    cut = which % (len(pieces) - 1) + 1
    (tmp_path / "own.hdf5").write_bytes(signature.join(pieces[:cut]) + b"DEAD" + signature.join(pieces[cut:]))
    with pytest.raises(DemonstrationError, match=r"own.hdf5 is damaged \(.*\): get the file again"):
        import_hdf5(tmp_path / "own.hdf5", tmp_path / "store", task=OPEN)
    assert not (tmp_path / "store").exists()


def test_impossible_keys_are_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "lift.hdf5", ROBOMIMIC)
    bad = {
        "only vectors can be joined": {STATE: ["agentview_image", "object"]},
        "did you mean 'object'": {STATE: ["objects"]},
        "cannot name a feature": {"state": ["object"]},
        "no array": {STATE: ["robot0_eef"]},
        "names no key": {STATE: []},
    }
    for message, keys in bad.items():
        with pytest.raises(DemonstrationError, match=message):
            import_hdf5(path, tmp_path / "store", task=OPEN, keys=keys)


def test_stores_that_cannot_share_a_file_are_refused(tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "one"), make_store(tmp_path / "two", images=True, task=OPEN)
    for message, stores in {"two of the stores hold the task": [one, one], "differ in feature": [one, two]}.items():
        with pytest.raises(DemonstrationError, match=message):
            export_hdf5(stores, tmp_path / "out.hdf5")
    with pytest.raises(DemonstrationError, match=r"is a folder: name a file"):
        export_hdf5([one], tmp_path)
    assert not (tmp_path / "out.hdf5").exists()
