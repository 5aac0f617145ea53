"""One LIBERO task is exported as LIBERO publishes it, and comes back as it was."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.demos.making import make_store
from tests.exchange.robomimic import make_environment, sequences
from tests.suites.libero.published import Recording, opened, publish, record

from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.exchange.hdf5 import import_hdf5
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.human import import_human
from skilltokens.types import ACTION, STATE, DemonstrationError, Task

Capture = pytest.CaptureFixture[str]
BOWL = "put_the_bowl_on_the_plate"
GOAL = Libero("libero-goal")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    environment = opened(GOAL.name, BOWL)
    return [record(environment, index, steps) for index, steps in ((0, 9), (3, 6))]


@pytest.fixture(scope="module")
def published(recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    environment = LiberoEnvironment(GOAL.name, BOWL)
    return publish(folder / f"{BOWL}_demo.hdf5", environment, recordings, "put the bowl on the plate")


@pytest.fixture(scope="module")
def store(published: Path, tmp_path_factory: pytest.TempPathFactory) -> DemonstrationStore:
    return import_human(published, tmp_path_factory.mktemp("stores") / BOWL, GOAL, images=True)


@pytest.fixture(scope="module")
def file(store: DemonstrationStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command's export of `store`."""
    folder = tmp_path_factory.mktemp("exported")
    assert main(["demos", "export", str(store.path), "--folder", str(folder)]) == 0
    return folder / f"{BOWL}_demo.hdf5"


@pytest.fixture
def both(file: Path, published: Path) -> Iterator[tuple[Any, Any]]:
    """The export and the published file, open."""
    with h5py.File(file, "r") as ours, h5py.File(published, "r") as theirs:
        yield ours, theirs


def test_everything_published_is_there_with_the_same_types(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    assert set(theirs["data"].attrs) <= set(ours["data"].attrs)
    assert {"num_samples", "model_file", "init_state"} <= set(ours["data/demo_1"].attrs)
    for name in ("env_name", "problem_info", "macros_image_convention", "num_demos", "tag"):
        assert ours["data"].attrs[name] == theirs["data"].attrs[name], name
    assert ours["data"].attrs["total"] == 13, "the pictures' first steps are not known"
    arguments, published = (json.loads(side["data"].attrs["env_args"]) for side in both)
    scene = f"libero/libero/bddl_files/libero_goal/{BOWL}.bddl"
    assert (
        arguments["bddl_file"]
        == arguments["env_kwargs"]["bddl_file_name"]
        == ours["data"].attrs["bddl_file_name"]
        == scene
    )
    for side in (arguments, published):
        del side["bddl_file"], side["env_kwargs"]["bddl_file_name"]
    assert arguments == published
    names: list[str] = []
    theirs["data/demo_1"].visit(names.append)
    for name in names:
        mine, its = ours["data/demo_1"][name], theirs["data/demo_1"][name]
        if isinstance(its, h5py.Dataset):
            assert mine.shape[1:] == its.shape[1:], name
            assert mine.dtype == its.dtype or name == "actions", name


def test_an_observation_is_what_the_sensors_said_before_the_action(both: tuple[Any, Any]) -> None:
    """The published files have it one row earlier, beside the action before; ours begin with the second action."""
    for demo in ("demo_0", "demo_1"):
        ours, theirs = (side["data"][demo] for side in both)
        for name in theirs["obs"]:
            np.testing.assert_array_equal(ours["obs"][name][()], theirs["obs"][name][:-1], err_msg=name)
        np.testing.assert_array_equal(ours["robot_states"][()], theirs["robot_states"][:-1])
        np.testing.assert_array_equal(ours["states"][()], theirs["states"][1:])
        np.testing.assert_array_equal(ours["actions"][()], theirs["actions"][1:].astype(np.float32))
        np.testing.assert_array_equal(ours.attrs["init_state"], theirs["states"][1])
        assert ours["rewards"][()].tolist() == ours["dones"][()].tolist() == theirs["rewards"][1:].tolist()


def test_the_export_comes_back_down_to_its_digest(file: Path, store: DemonstrationStore, tmp_path: Path) -> None:
    assert import_hdf5(file, tmp_path / "again").digest == store.digest
    assert main(["demos", "import", str(file), str(tmp_path / "command")]) == 0
    assert DemonstrationStore.open(tmp_path / "command").digest == store.digest


def test_others_read_the_export_as_they_read_liberos_files(
    file: Path, store: DemonstrationStore, tmp_path: Path
) -> None:
    """Without what we alone wrote into it: the scene, the states and the pictures are enough."""
    path = tmp_path / file.name
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "a") as opened:
        for name in ("data", *(f"data/demo_{number}" for number in range(store.episodes))):
            del opened[name].attrs["skilltokens"]
    again = import_human(path, tmp_path / "again", GOAL, images=True)
    assert "late" not in again.settings["imported"]
    for name in store.features:
        np.testing.assert_allclose(again[name], store[name], rtol=0, atol=2e-6, err_msg=name)


def test_an_export_tells_nothing_of_this_machine(both: tuple[Any, Any]) -> None:
    scene = both[0]["data/demo_0"].attrs["model_file"]
    assert sysconfig.get_path("purelib") in both[1]["data/demo_0"].attrs["model_file"], "MuJoCo writes it"
    assert 'file="/' not in scene
    assert 'file="robosuite/models/assets/' in scene
    assert 'file="libero/libero/assets/' in scene


def test_next_observations_hold_liberos_names_too(both: tuple[Any, Any]) -> None:
    demo = both[0]["data/demo_0"]
    assert set(demo["next_obs"]) == set(demo["obs"]) >= {"ee_pos", "joint_states", "agentview_rgb", "state"}
    np.testing.assert_array_equal(demo["next_obs/ee_pos"][:-1], demo["obs/ee_pos"][1:])


@pytest.mark.slow
def test_robomimic_reads_the_export(file: Path, store: DemonstrationStore, tmp_path: Path) -> None:
    low, rgb = ["ee_pos", "ee_ori", "gripper_states", "joint_states", "state"], ["agentview_rgb", "eye_in_hand_rgb"]
    batch = sequences(make_environment(tmp_path / "environment"), file, 3, BOWL, low, rgb)
    first = store.episode(0)
    np.testing.assert_array_equal(batch["actions"][0], first.features[ACTION][:3])
    np.testing.assert_array_equal(batch["obs.state"][0], first.features[STATE][:3])
    np.testing.assert_array_equal(
        batch["obs.agentview_rgb"][0], first.features["observation.images.agentview"][:3, ::-1]
    )
    assert batch["obs.joint_states"].shape == (13, 3, 7)


# ---------------------------------------------------------------- layouts of the command


def layout(path: Path) -> str:
    with h5py.File(path, "r") as file:
        return "libero" if "problem_info" in file["data"].attrs else "robomimic"


def test_the_layout_is_liberos_for_one_task_and_robomimics_otherwise(store: DemonstrationStore, tmp_path: Path) -> None:
    other = write_store(
        tmp_path / "other",
        list(store),
        task=Task("other", "do something else"),
        features=store.features,
        source="human",
        suite="libero-goal",
    )
    path = str(tmp_path / "out.hdf5")
    for words, expected in (
        ([str(store.path)], "libero"),
        ([str(store.path), "--layout", "robomimic"], "robomimic"),
        ([str(other.path)], "robomimic"),
        ([str(store.path), str(other.path)], "robomimic"),
    ):
        assert main(["demos", "export", *words, "--file", path]) == 0
        assert layout(Path(path)) == expected, words


def test_layouts_that_cannot_be_are_one_sentence(store: DemonstrationStore, tmp_path: Path, capsys: Capture) -> None:
    toy = make_store(tmp_path / "toy")
    narrow = write_store(
        tmp_path / "narrow",
        [_with_states(one, 12) for one in store],
        task=store.task,
        features={**store.features, "simulator.state": type(store.features[STATE])((12,), "float64")},
        source="human",
        suite="libero-goal",
    )
    capsys.readouterr()
    for words, message in (
        ([str(toy.path)], "is of the suite 'toy' and keeps no states of LIBERO's simulator"),
        ([str(narrow.path)], "does not keep the simulator's states of libero-goal task 'put_the_bowl_on_the_plate'"),
        ([str(store.path), str(narrow.path)], "two of the stores hold the task"),
    ):
        out = tmp_path / "out.hdf5"
        assert main(["demos", "export", *words, "--layout", "libero", "--file", str(out)]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skilltokens: ")]
        assert message in line
        assert not out.exists()


def _with_states(episode: Any, width: int) -> Any:
    return type(episode)({**episode.features, "simulator.state": np.zeros((len(episode), width))})


def test_a_folder_gets_one_file_a_store(store: DemonstrationStore, tmp_path: Path) -> None:
    toy = make_store(tmp_path / "toy")
    folder = tmp_path / "out"
    assert main(["demos", "export", str(store.path), str(toy.path), "--folder", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{BOWL}_demo.hdf5", "push-v3_demo.hdf5"])


def test_another_scene_compiled_meanwhile_is_noticed(store: DemonstrationStore, tmp_path: Path) -> None:
    import mujoco

    from skilltokens.exchange.hdf5 import export_hdf5
    from skilltokens.suites.libero.export import LiberoFile

    convention = LiberoFile(GOAL, store.task)
    mujoco.MjModel.from_xml_string("<mujoco/>")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DemonstrationError, match="the simulator's scene has no fixture"):
        export_hdf5([store], tmp_path / "out.hdf5", convention=convention)
