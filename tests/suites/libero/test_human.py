"""LIBERO's published files become demonstrations of our suites: the simulator says what was seen in each state."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.suites.libero.published import Recording, opened, publish, record

from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore, check, write_store
from skilltokens.exchange.hdf5 import export_hdf5
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.human import fixture_poses, import_human, task_shown
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, SettingError

Capture = pytest.CaptureFixture[str]
BOWL = "put_the_bowl_on_the_plate"
SOUP = "pick_up_the_alphabet_soup_and_place_it_in_the_basket"
AGENT, WRIST = "observation.images.agentview", "observation.images.wrist"
GOAL = Libero("libero-goal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published") / "libero_goal"


@pytest.fixture(scope="module")
def recordings(folder: Path) -> list[Recording]:
    """Two demonstrations with fixtures in different places; the file is FOLDER/put_the_bowl_on_the_plate_demo.hdf5."""
    environment = opened("libero-goal", BOWL)
    episodes = [record(environment, index, steps) for index, steps in ((0, 9), (3, 6))]
    publish(folder / f"{BOWL}_demo.hdf5", environment, episodes, "put the bowl on the plate")
    return episodes


@pytest.fixture
def file(folder: Path, recordings: list[Recording], tmp_path: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copy(folder / f"{BOWL}_demo.hdf5", tmp_path))


def assert_seen(store: DemonstrationStore, recordings: list[Recording], first: int = 0) -> None:
    """The store shows what our environment observed when the demonstrations were recorded, from step `first` on."""
    for episode, recording in zip(store, recordings, strict=True):
        np.testing.assert_array_equal(episode.features[STATE], recording.seen[STATE][first:])
        # The scene's XML has six digits of the fixtures' poses.
        seen = recording.seen[ENVIRONMENT_STATE][first:]
        np.testing.assert_allclose(episode.features[ENVIRONMENT_STATE], seen, rtol=0, atol=2e-6)
        actions = recording.arrays["actions"][first:].astype(np.float32)
        np.testing.assert_array_equal(episode.features[ACTION], actions)


def test_a_published_file_shows_what_the_suite_observes(
    file: Path, recordings: list[Recording], tmp_path: Path
) -> None:
    store = import_human(file, tmp_path / "store", GOAL)
    assert_seen(store, recordings)
    assert store.features == {**GOAL.features}
    assert (store.suite, store.source, store.task) == ("libero-goal", "human", GOAL.tasks[8])
    assert store.versions == GOAL.versions()
    assert check(store.path) == []
    states = np.concatenate([recording.arrays["states"] for recording in recordings])
    np.testing.assert_array_equal(store["simulator.state"][:, : states.shape[1]], states)


def test_fixtures_stand_where_each_demonstration_had_them(recordings: list[Recording]) -> None:
    """Otherwise the test above would prove nothing about them."""
    names = ["wooden_cabinet_1_main", "flat_stove_1_main", "wine_rack_1_main"]
    first, second = (fixture_poses("x", recording.model_file, names) for recording in recordings)
    assert np.abs(first - second).max(axis=1).min() > 1e-3


def test_pictures_go_with_the_action_that_followed_them(
    file: Path, recordings: list[Recording], tmp_path: Path
) -> None:
    store = import_human(file, tmp_path / "store", GOAL, images=True)
    assert_seen(store, recordings, first=1)
    for number, (episode, index) in enumerate(zip(store, (0, 3), strict=True)):
        steps = len(recordings[number].arrays["actions"]) - 1
        pictures = episode.features[AGENT]
        assert pictures.shape == (steps, 128, 128, 3)
        assert (pictures[:, 0] == index).all(), "upright"
        assert pictures[:, 1, 0, 0].tolist() == list(range(steps)), "of the state before the action"
        np.testing.assert_array_equal(episode.features[WRIST], 255 - pictures)


def test_a_run_takes_them_in_place_of_scripted_ones(file: Path, tmp_path: Path) -> None:
    task = GOAL.tasks[8]
    imported = import_human(file, tmp_path / "demos" / GOAL.name / task.name, GOAL)
    (store,) = demonstrations(GOAL, [task], DemonstrationSettings(folder=str(tmp_path / "demos")))
    assert store.digest == imported.digest


def test_our_own_exports_are_taken_as_they_are(file: Path, tmp_path: Path) -> None:
    store = import_human(file, tmp_path / "store", GOAL)
    export_hdf5([store], tmp_path / "out" / "anything.hdf5")
    assert import_human(tmp_path / "out" / "anything.hdf5", tmp_path / "again", GOAL).digest == store.digest


# ---------------------------------------------------------------- which task


def rename(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def attribute(path: Path, name: str, value: str) -> Path:
    with h5py.File(path, "a") as file:
        file["data"].attrs[name] = value
    return path


def test_the_task_is_found_by_file_scene_or_instruction(file: Path) -> None:
    assert task_shown(file, GOAL).name == BOWL
    path = rename(file, "mine.hdf5")
    assert task_shown(path, GOAL).name == BOWL, "by its instruction"
    attribute(path, "problem_info", '{"language_instruction": "Put   the BOWL on the plate."}')
    assert task_shown(path, GOAL).name == BOWL
    attribute(path, "problem_info", '{"language_instruction": "do something"}')
    attribute(path, "bddl_file_name", f"chiliocosm/bddl_files/libero_goal/{BOWL}.bddl")
    assert task_shown(path, GOAL).name == BOWL, "by its scene"


def test_a_file_that_shows_no_task_or_two_is_refused(file: Path) -> None:
    attribute(file, "problem_info", '{"language_instruction": "turn on the stove"}')
    with pytest.raises(DemonstrationError, match=f"named after '{BOWL}', but .* is that of 'turn_on_the_stove'"):
        task_shown(file, GOAL)
    path = rename(attribute(file, "problem_info", "{}"), "mine.hdf5")
    with pytest.raises(DemonstrationError, match="does not say which task of libero-goal it shows"):
        task_shown(path, GOAL)


# ---------------------------------------------------------------- bad files


def demo(change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda file: change(file["data/demo_1"])


def replaced(name: str, value: Callable[[np.ndarray], object]) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        old = group[name][()]
        del group[name]
        group[name] = value(old)

    return demo(change)


def model(change: Callable[[str], str]) -> Callable[[Any], None]:
    return demo(lambda group: group.attrs.modify("model_file", change(group.attrs["model_file"])))


def poisoned(states: np.ndarray) -> np.ndarray:
    states[2, 5] = np.nan
    return states


def too_large_of_a_file_that_says_nothing(file: Any) -> None:
    del file["data"].attrs["problem_info"]
    replaced("actions", lambda old: np.full_like(old, 1.5))(file)


BOMB = '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
BAD_FILES: dict[str, tuple[Callable[[Any], None], str]] = {
    "no states": (demo(lambda group: group.pop("states")), "has no array 'states'"),
    "states of another scene": (
        replaced("states", lambda old: old[:, :-4]),
        r"/data/demo_1/states has shape \(6, 75\) where put_the_bowl_on_the_plate has \(6, 79\)",
    ),
    "too few states": (replaced("states", lambda old: old[1:]), r"states has shape \(5, 79\) where"),
    "states not finite": (replaced("states", poisoned), "demo_1/states, step 2, holds a number that is not finite"),
    "states of text": (replaced("states", lambda old: [b"x"] * len(old)), "states is no array of numbers"),
    "no actions": (demo(lambda group: group.pop("actions")), "has no array 'actions'"),
    "actions too wide": (
        replaced("actions", lambda old: np.zeros((len(old), 8))),
        r"demo_1, feature 'action' has shape \(6, 8\)",
    ),
    "actions too large": (too_large_of_a_file_that_says_nothing, r"demo_1, step 0, .* holds 1.5, outside \[-1, 1\]"),
    "no model": (demo(lambda group: group.attrs.pop("model_file")), "demo_1 has no attribute 'model_file', which says"),
    "model cut short": (model(lambda text: text[:5000]), "'model_file' of /data/demo_1 is no XML"),
    "model with a bomb": (model(lambda text: BOMB + text), "'model_file' of /data/demo_1 declares a document type"),
    "model of another scene": (
        model(lambda text: text.replace("flat_stove_1_main", "flat_stove_2_main")),
        "'model_file' of /data/demo_1 has no fixture 'flat_stove_1_main'",
    ),
    "fixture not a number": (
        model(lambda text: text.replace('name="wine_rack_1_main" pos="', 'name="wine_rack_1_main" pos="x ')),
        "does not give the pose of 'wine_rack_1_main'",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_sentence_and_the_old_store_stays(file: Path, tmp_path: Path, case: str) -> None:
    change, message = BAD_FILES[case]
    with h5py.File(file, "a") as opened:
        change(opened)
    old = _any_store(tmp_path / "store")
    with pytest.raises(DemonstrationError, match=message) as raised:
        import_human(file, tmp_path / "store", GOAL)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert DemonstrationStore.open(tmp_path / "store").digest == old.digest


def _any_store(path: Path) -> DemonstrationStore:
    from tests.demos.making import FEATURES, PUSH, episode

    return write_store(path, [episode(3, 0)], task=PUSH, features=FEATURES, source="scripted", suite="toy")


def test_poses_are_read_from_bodies_on_the_world_alone() -> None:
    text = """<mujoco><asset><body name="a" pos="9 9 9"/></asset><worldbody>
      <body name="a" pos="1 2 3"><body name="b" pos="9 9 9"/></body>
      <body name="b" quat="0 0 0 1"/><body name="c" euler="0 0 1"/></worldbody></mujoco>"""
    np.testing.assert_array_equal(fixture_poses("it", text, ["b", "a"]), [[0, 0, 0, 0, 0, 0, 1], [1, 2, 3, 1, 0, 0, 0]])
    for names, message in ((["c"], "does not give the pose of 'c'"), (["d"], "it has no fixture 'd'")):
        with pytest.raises(DemonstrationError, match=message):
            fixture_poses("it", text, names)


# ---------------------------------------------------------------- the command


def test_the_command_makes_a_store_where_runs_look(
    folder: Path, recordings: list[Recording], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["demos", "import", str(folder), "--suite", "libero-goal"]
    assert main(words) == 0
    store = Path("demos") / "libero-goal" / BOWL
    assert capsys.readouterr().out.startswith(f"{store}: 2 episodes, 15 steps, instruction 'put the bowl on the plate'")
    before = (store / "header.json").stat().st_mtime_ns
    assert main(words) == 0
    assert "there already" in capsys.readouterr().out
    assert (store / "header.json").stat().st_mtime_ns == before
    assert main([*words, "--images"]) == 2
    assert "holds other demonstrations (human, 2 episodes)" in capsys.readouterr().err
    single = ["demos", "import", str(next(folder.iterdir())), "--suite", "libero-goal"]
    assert main(single) == 0
    assert "there already" in capsys.readouterr().out
    for more, what in (
        (["--instruction", "put it there"], "instruction is 'put the bowl on the plate' and not 'put it there'"),
        (["--wordings", "bowl on plate"], "wordings is () and not ('bowl on plate',)"),
        (["--source", "me"], "source is None and not 'me'"),
    ):
        assert main([*single, *more]) == 2
        assert what in capsys.readouterr().err
    assert main(["demos", "import", str(folder), "elsewhere", "--suite", "libero-goal", "--images"]) == 0
    assert AGENT in DemonstrationStore.open(Path("elsewhere") / BOWL).features


def test_the_command_takes_task_and_wordings(file: Path, tmp_path: Path, capsys: Capture) -> None:
    path = rename(attribute(file, "problem_info", "{}"), "mine.hdf5")
    words = ["demos", "import", str(path), str(tmp_path / "store"), "--suite", "libero-goal"]
    assert main(words) == 2
    assert "does not say which task of libero-goal it shows" in capsys.readouterr().err
    assert main([*words, "--task", BOWL, "--wordings", "bowl on plate"]) == 0
    store = DemonstrationStore.open(tmp_path / "store")
    assert (store.task.name, store.task.wordings) == (BOWL, ("bowl on plate",))


def test_mistakes_of_the_command_are_one_sentence(file: Path, tmp_path: Path, capsys: Capture) -> None:
    store = str(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([str(file), store, "--suite", "libero-gaol"], "did you mean 'libero-goal'"),
        ([str(file), store, "--suite", "libero-goal", "--task", "stove"], "has no task 'stove'"),
        ([str(file)], "no store was named"),
        ([str(tmp_path / "empty"), "--suite", "libero-goal"], "holds no file *.hdf5"),
        ([str(tmp_path), "--suite", "libero-goal", "--task", BOWL], "is a folder of tasks"),
    ):
        assert main(["demos", "import", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "store").exists()


def test_an_unknown_suite_is_a_setting() -> None:
    with pytest.raises(SettingError, match="did you mean 'libero-goal'"):
        Libero("libero-gaol")


# ---------------------------------------------------------------- other scenes, last: compiling takes seconds


def test_equal_things_are_ordered_by_where_each_demonstration_begins(tmp_path: Path) -> None:
    """There are two black bowls, and LIBERO's first one, which is to be picked up, stands behind the other."""
    suite = Libero("libero-spatial")
    task = suite.tasks[0]
    environment = opened(suite.name, task.name)
    recordings = [record(environment, 0, 4)]
    path = publish(tmp_path / f"{task.name}_demo.hdf5", environment, recordings, task.instruction)
    LiberoEnvironment(suite.name, task.name).reset("test", 0)
    assert_seen(import_human(path, tmp_path / "store", suite), recordings)


def test_scenes_without_fixtures_need_no_model(tmp_path: Path) -> None:
    suite = Libero("libero-object")
    environment = LiberoEnvironment(suite.name, SOUP)
    recordings = [record(environment, 1, 5)]
    path = publish(tmp_path / f"{SOUP}_demo.hdf5", environment, recordings, "pick the alphabet soup, then the basket")
    with h5py.File(path, "a") as file:
        del file["data/demo_0"].attrs["model_file"]
    store = import_human(path, tmp_path / "store", suite)
    assert_seen(store, recordings)
    assert store.task.instruction == "pick up the alphabet soup and place it in the basket", "the suite's"
    assert store.settings["imported"]["says"] == "pick the alphabet soup, then the basket"
