"""HDF5 in robomimic's layout: exports come back as they were, and files of other programs are read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.demos.making import FRONT, PUSH, make_store, store_of
from tests.exchange.making import OPEN, ROBOMIMIC, foreign, opened

from skilltokens.cli.exchange.importing import import_
from skilltokens.demos import DemonstrationStore, check, write_store
from skilltokens.demos.rules import DTYPES
from skilltokens.exchange.hdf5 import export_hdf5, import_hdf5, task_in
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    DemonstrationError,
    Episode,
    Feature,
    Progress,
    Task,
)


def _set(group: Any, name: str, value: str) -> None:
    group.attrs[name] = value


def _swap(file: Any) -> None:
    file.move("data/demo_0", "data/away")
    file.move("data/demo_1", "data/demo_0")
    file.move("data/away", "data/demo_1")


@pytest.mark.parametrize("images", [False, True])
def test_an_export_comes_back_down_to_its_digest(tmp_path: Path, images: bool) -> None:
    store = make_store(tmp_path / "push", (5, 1, 8) * 5, images=images)
    export_hdf5([store], tmp_path / "out" / "push.hdf5")
    again = import_hdf5(tmp_path / "out" / "push.hdf5", tmp_path / "again")
    assert again.digest == store.digest
    assert again.task == PUSH


def test_an_altered_store_is_not_exported(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push")
    content = bytearray((store.path / f"{STATE}.npy").read_bytes())
    content[-1] ^= 1
    (store.path / f"{STATE}.npy").write_bytes(content)
    with pytest.raises(DemonstrationError, match="was altered since it was written"):
        export_hdf5([store], tmp_path / "push.hdf5")
    assert not (tmp_path / "push.hdf5").exists()


ALTERED: dict[str, tuple[Callable[[Any], object], str]] = {
    "a number": (lambda file: file["data/demo_1/obs/state"].write_direct(np.zeros((1, 4), np.float32)), "was altered"),
    "an action": (lambda file: file["data/demo_0/actions"].__setitem__((2, 0), 0.25), "'action' of /data/demo_0"),
    "what is shown": (lambda file: _set(file["data/demo_1"], "ep_meta", '{"lang": "x", "task": "push-v3"}'), "altered"),
    "its digests": (lambda file: _set(file["data/demo_1"], "skilltokens", "{}"), "was altered"),
    "no digests": (lambda file: file["data/demo_1"].attrs.__delitem__("skilltokens"), "was altered"),
    "all that is ours": (
        lambda file: file["data"].attrs.__delitem__("skilltokens"),
        "'skilltokens' of /data is altered",
    ),
    "who showed it": (
        lambda file: _set(file["data"], "skilltokens", file["data"].attrs["skilltokens"].replace("scripted", "human")),
        "'skilltokens' of /data is altered",
    ),
    "one demo less": (lambda file: file.__delitem__("data/demo_2"), "does not hold the demos that were exported"),
    "another order": (_swap, "does not hold the demos that were exported"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_export_is_not_imported(name: str, tmp_path: Path) -> None:
    change, said = ALTERED[name]
    export_hdf5([make_store(tmp_path / "push")], tmp_path / "push.hdf5")
    with opened(tmp_path / "push.hdf5", "a") as file:
        change(file)
    with pytest.raises(DemonstrationError, match=said):
        import_hdf5(tmp_path / "push.hdf5", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_altered_export_is_found_whatever_keys_are_taken(tmp_path: Path) -> None:
    export_hdf5([make_store(tmp_path / "push")], tmp_path / "push.hdf5")
    keys = {STATE: ["state", "environment_state"]}
    assert import_hdf5(tmp_path / "push.hdf5", tmp_path / "joined", keys=keys).features[STATE].shape == (10,)
    with opened(tmp_path / "push.hdf5", "a") as file:
        file["data/demo_0/obs/state"][3, 1] += 1
    with pytest.raises(DemonstrationError, match=r"'observation\.state' of /data/demo_0 was altered"):
        import_hdf5(tmp_path / "push.hdf5", tmp_path / "again", keys=keys)


def test_an_export_of_before_there_were_digests_is_read(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push")
    export_hdf5([store], tmp_path / "push.hdf5")
    with opened(tmp_path / "push.hdf5", "a") as file:
        own = json.loads(file["data"].attrs["skilltokens"])
        del own["digest"], own["stores"]["push-v3"]["demos"]
        _set(file["data"], "skilltokens", json.dumps(own))
        for demo in file["data"].values():
            del demo.attrs["skilltokens"]
    assert import_hdf5(tmp_path / "push.hdf5", tmp_path / "again").digest == store.digest


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


@pytest.mark.parametrize("stored", ["open the drawer", ["open the ", "drawer"], '"open the drawer"'])
def test_libero_files_bring_their_instruction(tmp_path: Path, stored: str | list[str]) -> None:
    keys = {"joint_states": (7,), "ee_states": (6,), "ee_pos": (3,), "gripper_states": (2,), "agentview_rgb": (4, 4, 3)}
    path = foreign(tmp_path / "open_the_drawer_demo.hdf5", keys)
    with opened(path, "a") as file:
        file["data"].attrs["problem_info"] = json.dumps({"language_instruction": stored})
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


def test_actions_outside_are_kept_in_their_unit_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign(tmp_path / "own.hdf5", {"a": (2,)})
    with opened(path, "a") as file:
        file["data/demo_1/actions"][3, 2] = 92.5
        file["data/demo_0/actions"][1, 0] = -3
    assert import_([str(path), str(tmp_path / "own"), "--instruction", "lift it"]) == 0
    store = DemonstrationStore.open(tmp_path / "own")
    assert store.episode(1).features[ACTION][3, 2] == np.float32(92.5)
    assert "actions from -3 to 92.5, kept in their own unit (--clip clips" in capsys.readouterr().out


def test_clip_is_asked_for_and_remembered(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"a": (2,)})
    with opened(path, "a") as file:
        file["data/demo_1/actions"][3, 2] = 1.7
    store = import_hdf5(path, tmp_path / "own", task=OPEN, clip=True)
    assert store.episode(1).features[ACTION][3, 2] == 1
    assert store.settings["imported"]["clip"] is True


def test_a_suites_actions_must_lie_inside(tmp_path: Path) -> None:
    path = foreign(tmp_path / "own.hdf5", {"a": (2,)})
    with opened(path, "a") as file:
        file["data/demo_1/actions"][3, 2] = 1.7
    with pytest.raises(DemonstrationError, match=r"/data/demo_1, step 3, .*'action' holds 1.7, outside \[-1, 1\]"):
        import_hdf5(path, tmp_path / "own", task=OPEN, bounded=True)


def test_an_export_of_actions_in_degrees_can_be_clipped(tmp_path: Path) -> None:
    degrees = ({**one.features, ACTION: 90 * one.features[ACTION]} for one in make_store(tmp_path / "push"))
    store = store_of(tmp_path / "degrees", map(Episode, degrees))
    export_hdf5([store], tmp_path / "push.hdf5")
    assert import_hdf5(tmp_path / "push.hdf5", tmp_path / "again").digest == store.digest
    clipped = import_hdf5(tmp_path / "push.hdf5", tmp_path / "clipped", clip=True)
    np.testing.assert_array_equal(clipped[ACTION], np.clip(store[ACTION], -1, 1))


SHAPES = st.sampled_from([(), (1,), (3,), (2, 3), (1, 3), (4, 5, 3), (3, 4, 5), (32, 32, 3)])
NAMES = st.from_regex(r"\Aobservation\.[A-Za-z0-9_.-]{0,12}\Z") | st.sampled_from(["observation.", "observation.."])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_store_comes_back_down_to_its_digest(data: st.DataObject) -> None:
    kinds = st.builds(Feature, SHAPES, st.sampled_from(DTYPES))
    observations = data.draw(st.dictionaries(NAMES, kinds, min_size=1, max_size=4))
    action = Feature((data.draw(st.integers(1, 5)),), data.draw(st.sampled_from(["float16", "float32", "float64"])))
    features = {**observations, ACTION: action}
    random = np.random.default_rng(data.draw(st.integers(0, 100)))
    unit = data.draw(st.sampled_from([1e-3, 1, 180, 1e4]))
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))

    def drawn(steps: int) -> Episode:
        arrays = {name: random.normal(size=(steps, *entry.shape)) * unit for name, entry in features.items()}
        bytes_only = {n: np.abs(a) % 256 if features[n].dtype == "uint8" else a for n, a in arrays.items()}
        return Episode({name: array.astype(features[name].dtype) for name, array in bytes_only.items()})

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store = write_store(
            place / "store",
            (drawn(steps) for steps in lengths),
            task=PUSH,
            features=features,
            source="human",
            suite="own",
        )
        export_hdf5([store], place / "own.hdf5", next_observations=data.draw(st.booleans()))
        assert import_hdf5(place / "own.hdf5", place / "again").digest == store.digest


def test_progress_is_reported(tmp_path: Path) -> None:
    reports: list[Progress] = []
    export_hdf5([make_store(tmp_path / "push")], tmp_path / "push.hdf5", report=reports.append)
    import_hdf5(tmp_path / "push.hdf5", tmp_path / "again", report=reports.append)
    assert [(news.stage, news.done, news.total) for news in reports] == [
        *(("export", number, 3) for number in range(3)),
        *(("import", number, 3) for number in range(3)),
    ]


def test_stores_that_cannot_share_a_file_are_refused(tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "one"), make_store(tmp_path / "two", images=True, task=OPEN)
    for message, stores in {"two of the stores hold the task": [one, one], "differ in feature": [one, two]}.items():
        with pytest.raises(DemonstrationError, match=message):
            export_hdf5(stores, tmp_path / "out.hdf5")
    with pytest.raises(DemonstrationError, match=r"is a folder: name a file"):
        export_hdf5([one], tmp_path)
    assert not (tmp_path / "out.hdf5").exists()
