"""LIBERO's published files, read without its simulator: their observations are late and their pictures upside down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.demos.making import PUSH, episode

from skilltokens.demos import check, write_store
from skilltokens.exchange.hdf5 import export_hdf5, import_hdf5
from skilltokens.types import ACTION, STATE, DemonstrationError, Episode, Feature

AGENT, WRIST = "observation.images.agentview", "observation.images.wrist"
NAME = "put_the_bowl_on_the_plate"


def published(path: Path, lengths: tuple[int, ...] = (6, 4), late: bool = True) -> Path:
    """A file with LIBERO's arrays and attributes: the arm moves by 0.1 rad a step, beside a wobble of the recording."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_name"] = "Libero_Tabletop_Manipulation"
        data.attrs["problem_info"] = json.dumps(
            {
                "problem_name": "libero_tabletop_manipulation",
                "domain_name": "robosuite",
                "language_instruction": "put the bowl on the plate",
            }
        )
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["bddl_file_name"] = f"libero/libero/bddl_files/libero_goal/{NAME}.bddl"
        data.attrs["tag"] = "libero-v1"
        data.attrs["num_demos"], data.attrs["total"] = len(lengths), sum(lengths)
        for number, steps in enumerate(lengths):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = steps
            demo.attrs["model_file"] = "<mujoco/>"
            states = random.normal(size=(steps, 79))
            moved = 0.1 * np.arange(steps + 1)[:, None] + np.linspace(0, 1, 7)
            states[:, 1:8] = moved[:-1] + 0.001 * random.normal(size=(steps, 7))
            demo.attrs["init_state"] = states[0]
            demo["states"], demo["actions"] = states, random.uniform(-1, 1, size=(steps, 7))
            demo["robot_states"] = random.normal(size=(steps, 9))
            demo["rewards"] = demo["dones"] = np.eye(steps, dtype=np.uint8)[-1]
            demo["obs/joint_states"] = moved[late:][:steps]
            for key, width in (("ee_states", 6), ("ee_pos", 3), ("ee_ori", 3), ("gripper_states", 2)):
                demo[f"obs/{key}"] = random.normal(size=(steps, width))
            for key in ("agentview_rgb", "eye_in_hand_rgb"):
                demo[f"obs/{key}"] = random.integers(0, 256, (steps, 8, 6, 3), np.uint8)
    return path


def arrays(path: Path, number: int, *names: str) -> list[np.ndarray]:
    with h5py.File(path, "r") as file:
        group: Any = file
        return [group[f"data/demo_{number}/{name}"][()] for name in names]


def test_an_observation_goes_with_the_action_that_followed_it(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5")
    store = import_hdf5(path, tmp_path / "store")
    assert (store.task.name, store.task.instruction) == (NAME, "put the bowl on the plate")
    assert store.settings["imported"]["late"] is True
    for number in (0, 1):
        joints, hand, fingers, actions = arrays(
            path, number, "obs/joint_states", "obs/ee_states", "obs/gripper_states", "actions"
        )
        shown = store.episode(number)
        expected = np.concatenate([joints, hand, fingers], axis=1)[:-1].astype(np.float32)
        np.testing.assert_array_equal(shown.features[STATE], expected)
        np.testing.assert_array_equal(shown.features[ACTION], actions[1:].astype(np.float32))
    assert check(store.path) == []


def test_observations_that_are_not_late_stay_where_they_are(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5", late=False)
    store = import_hdf5(path, tmp_path / "store")
    assert "late" not in store.settings["imported"]
    (actions,) = arrays(path, 0, "actions")
    np.testing.assert_array_equal(store.episode(0).features[ACTION], actions.astype(np.float32))


def test_pictures_come_upright_where_they_are_asked_for(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5")
    assert set(import_hdf5(path, tmp_path / "store").features) == {STATE, ACTION}
    store = import_hdf5(path, tmp_path / "store", images=True)
    assert store.features[AGENT] == store.features[WRIST] == Feature((8, 6, 3), "uint8")
    for name, key in ((AGENT, "agentview_rgb"), (WRIST, "eye_in_hand_rgb")):
        (pictures,) = arrays(path, 1, f"obs/{key}")
        np.testing.assert_array_equal(store.episode(1).features[name], pictures[:-1, ::-1])


def test_pictures_of_other_files_are_as_they_stand(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5", late=False)
    with h5py.File(path, "a") as file:
        file["data"].attrs["macros_image_convention"] = "opencv"
    store = import_hdf5(path, tmp_path / "store", images=True)
    (pictures,) = arrays(path, 0, "obs/agentview_rgb")
    np.testing.assert_array_equal(store.episode(0).features[AGENT], pictures)


def test_a_count_written_as_text_is_read(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5")
    with h5py.File(path, "a") as file:
        file["data/demo_0"].attrs["num_samples"] = "6"
        file["data/demo_1"].attrs["num_samples"] = np.float64(4)
    assert import_hdf5(path, tmp_path / "store").episodes == 2


def edit(**changes: object) -> Callable[[Any], None]:
    """Replaces or removes (None) arrays of the second demonstration."""

    def change(file: Any) -> None:
        for name, value in changes.items():
            del file["data/demo_1"][name.replace("__", "/")]
            if value is not None:
                file["data/demo_1"][name.replace("__", "/")] = value

    return change


def edit_all(name: str, value: object) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        for demo in file["data"].values():
            del demo[name]
            if value is not None:
                demo[name] = value

    return change


def silence(file: Any) -> None:
    file["data"].attrs["problem_info"] = json.dumps({"problem_name": "libero_tabletop_manipulation"})


BAD_FILES: dict[str, tuple[Callable[[Any], None], bool, str]] = {
    "no joints": (edit_all("obs/joint_states", None), False, r"/data/demo_0/obs has no array 'joint_states'"),
    "no joints later": (edit(obs__joint_states=None), False, r"/data/demo_1/obs has no array 'joint_states'"),
    "no pictures later": (edit(obs__agentview_rgb=None), True, r"/data/demo_1/obs has no array 'agentview_rgb'"),
    "no obs": (edit_all("obs", None), False, "/data/demo_0 has no group 'obs'"),
    "no actions": (edit_all("actions", None), False, "/data/demo_0 has no array 'actions'"),
    "all actions too wide": (
        edit_all("actions", np.zeros((4, 8))),
        False,
        r"/data/demo_0/actions has shape \(4, 8\) where LIBERO's is \(steps, 7\)",
    ),
    "actions too wide": (edit(actions=np.zeros((4, 8))), False, r"demo_1, feature 'action' has shape \(3, 8\)"),
    "actions too large": (edit(actions=np.full((4, 7), 1.5)), False, r"demo_1, step 0, .* holds 1.5, outside"),
    "rows": (edit(obs__ee_states=np.zeros((5, 6))), False, r"/data/demo_1/obs/ee_states has 5 rows for 4 actions"),
    "picture rows": (
        edit(obs__agentview_rgb=np.zeros((3, 8, 6, 3), np.uint8)),
        True,
        r"/data/demo_1/obs/agentview_rgb has 3 rows for 4 actions",
    ),
    "picture size": (
        edit(obs__agentview_rgb=np.zeros((4, 9, 6, 3), np.uint8)),
        True,
        r"demo_1, feature 'observation.images.agentview' has shape \(3, 9, 6, 3\) where",
    ),
    "no language": (silence, False, "does not say what it shows: give an instruction"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, images, message = BAD_FILES[case]
    path = published(tmp_path / f"{NAME}_demo.hdf5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(DemonstrationError, match=message) as raised:
        import_hdf5(path, tmp_path / "store", images=images)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_demonstration_of_one_late_step_has_nothing_to_show(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5", lengths=(6, 1))
    with pytest.raises(DemonstrationError, match="demo_1 is too short: leave it out"):
        import_hdf5(path, tmp_path / "store")


def test_a_file_without_pictures_says_so(tmp_path: Path) -> None:
    path = published(tmp_path / f"{NAME}_demo.hdf5")
    with h5py.File(path, "a") as file:
        for name in ("data/demo_0", "data/demo_1"):
            del file[f"{name}/obs/agentview_rgb"], file[f"{name}/obs/eye_in_hand_rgb"]  # pyright: ignore
    with pytest.raises(DemonstrationError, match=r"/data/demo_0/obs holds no pictures \(ee_ori, "):
        import_hdf5(path, tmp_path / "store", images=True)


def test_private_features_go_out_and_come_back(tmp_path: Path) -> None:
    """Simulator states are of any width, and no robomimic observation."""
    stores = []
    for name, width in (("push", 100), ("pull", 64)):
        episodes = [episode(steps, steps) for steps in (5, 3)]
        private = [np.random.default_rng(len(one)).normal(size=(len(one), width)) for one in episodes]
        stores.append(
            write_store(
                tmp_path / name,
                [
                    Episode({**one.features, "simulator.state": state})
                    for one, state in zip(episodes, private, strict=True)
                ],
                task=PUSH if name == "push" else type(PUSH)("pull", "pull it"),
                features={
                    **{key: Feature(array.shape[1:], str(array.dtype)) for key, array in episodes[0].features.items()},
                    "simulator.state": Feature((width,), "float64"),
                },
                source="scripted",
                suite="toy",
            )
        )
    export_hdf5(stores, tmp_path / "both.hdf5")
    with h5py.File(tmp_path / "both.hdf5", "r") as file:
        group: Any = file
        assert "simulator.state" not in group["data/demo_2/obs"]
        np.testing.assert_array_equal(group["data/demo_2/simulator.state"][()], stores[1]["simulator.state"][:5])
    for store in stores:
        again = import_hdf5(tmp_path / "both.hdf5", tmp_path / "again", subset=store.task.name)
        assert again.digest == store.digest
        assert again.private == store.private
