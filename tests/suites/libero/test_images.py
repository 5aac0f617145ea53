"""Pictures of LIBERO: those that its own environments show, of the same episodes, drawn when there is time."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.suites.libero.making import moves_store, settings_for

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.locking import LOCKS
from skilltokens.simulation.demonstrate import demonstrations, store_path
from skilltokens.suites import load_suite, suite_names, task_of
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.environment import LiberoEnvironment, mujoco
from skilltokens.suites.libero.images import CAMERAS, shrink_textures
from skilltokens.suites.rendering import Pictures
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    SIMULATOR_STATE,
    STATE,
    DemonstrationError,
    Feature,
    Observation,
)

TASK = "turn_on_the_stove"
STATES, SEEN = Libero("libero-goal"), Libero("libero-goal-images")
FRONT, WRIST = CAMERAS


@pytest.fixture(scope="module")
def camera() -> Iterator[LiberoEnvironment]:
    environment = SEEN.make(task_of(SEEN, TASK))
    yield environment
    environment.close()


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(one.astype(float) - other).mean())


def moved(environment: LiberoEnvironment, steps: int, *action: float) -> Observation:
    """What is seen after so many steps of one action."""
    observation, _ = environment.step(np.array(action))
    for _ in range(steps - 1):
        observation, _ = environment.step(np.array(action))
    return observation


# ------------------------------------------------ what the suite says


def test_every_suite_is_there_with_pictures_too():
    names = suite_names()
    for name in ("libero-spatial", "libero-object", "libero-goal", "libero-10", "libero-90", "libero-goal-lan"):
        assert f"{name}-images" in names
        suite = load_suite(f"{name}-images")
        assert suite.tasks == load_suite(name).tasks
        picture = Feature((128, 128, 3), "uint8")
        assert suite.features == {STATE: Feature((11,)), FRONT: picture, WRIST: picture, ACTION: Feature((7,))}


# ------------------------------------------------ what a policy sees


def test_episodes_are_those_of_the_suite_of_states(camera: LiberoEnvironment):
    blind = STATES.make(task_of(STATES, TASK))
    seen, known = camera.reset("validation", 2), blind.reset("validation", 2)
    assert seen.keys() == {STATE, FRONT, WRIST}
    for step in range(6):
        np.testing.assert_array_equal(seen[STATE], known[STATE])
        np.testing.assert_array_equal(camera.state(), blind.state())
        action = np.full(7, 0.3 - 0.1 * step)
        (seen, _), (known, _) = camera.step(action), blind.step(action)


def test_pictures_stand_upright_and_follow_the_arm(camera: LiberoEnvironment):
    first = camera.reset("test", 0)
    front = first[FRONT].astype(int)
    assert front.shape == first[WRIST].shape == (128, 128, 3)
    assert front.dtype == int
    bright = front.min(-1) > 60
    assert bright[64:].mean() > 0.5  # the table is below
    assert front[:30].mean() < front[90:].mean()  # the dark wall is above
    assert first[WRIST][118:].std() < 15  # the hand itself hides the lower edge of what it sees
    later = moved(camera, 8, 0, 0, -1, 0, 0, 0, -1)
    assert distance(first[FRONT], later[FRONT]) > 1
    assert distance(first[WRIST], later[WRIST]) > 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task", "limit"),
    [
        ("libero-goal", TASK, 5.0),
        ("libero-object", "pick_up_the_milk_and_place_it_in_the_basket", 4.0),
        ("libero-10", "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_back_compartment_of_the_caddy", 5.0),
    ],
)
def test_pictures_are_those_of_liberos_own_environment(suite: str, task: str, limit: float):
    # in a process of its own: a second simulator takes another gigabyte
    done = subprocess.run(
        [sys.executable, "-m", "tests.suites.libero.beside_libero", suite, task],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("observation.images.")]
    assert {row[0] for row in rows} == {FRONT, WRIST}
    for name, *numbers in rows:
        same, flipped, mirrored = map(float, numbers)
        assert same < limit, name
        assert min(flipped, mirrored) > 2.5 * same, name


def test_a_picture_is_a_function_of_the_state(camera: LiberoEnvironment):
    camera.reset("train", 1)
    seen = moved(camera, 5, 0.5, -0.5, -1, 0, 0, 0.3, 1)
    state = camera.state()
    other = SEEN.make(task_of(SEEN, TASK))
    other.reset("test", 4)
    camera.reset("test", 3)
    for environment in (other, camera):
        again = environment.restore(state)
        assert again.keys() == seen.keys()
        for name in seen:
            np.testing.assert_array_equal(again[name], seen[name])


def test_observing_and_rendering_change_no_episode(camera: LiberoEnvironment):
    states = []
    for rendering in (False, True):
        camera.reset("test", 1)
        for _ in range(6):
            camera.step(np.array([0.2, 0.1, -1, 0, 0, 0, 1]))
            if rendering:
                assert camera.render().shape == (192, 192, 3)
        states.append(camera.state())
    np.testing.assert_array_equal(states[0], states[1])


def test_a_stove_that_is_on_glows(camera: LiberoEnvironment):
    camera.reset("test", 0)
    off, state = camera.render(), camera.state()
    knob = camera.model.joint("flat_stove_1_button").qposadr[0]
    state[1 + knob] = camera.model.joint("flat_stove_1_button").range[1]
    camera.restore(state)
    red = camera.render().astype(int) - off
    assert (red[..., 0] > 60).sum() > 20
    state[1 + knob] = 0
    camera.restore(state)
    assert distance(camera.render(), off) < 0.5


def test_what_is_out_of_view_is_left_out_without_a_trace(camera: LiberoEnvironment, monkeypatch: pytest.MonkeyPatch):
    def rendered() -> list[Any]:
        pictures = []
        for index in range(2):
            camera.reset("test", index)
            pictures.append(moved(camera, 4, 0.5, 0.5 - index, -1, 0.3, 0, 0.5, 1))
        return pictures

    left_out: list[int] = []
    choose = Pictures._in_view

    def watched(self: Pictures, *words: Any) -> Any:
        left_out.append(int((~choose(self, *words)).sum()))
        return choose(self, *words)

    monkeypatch.setattr(Pictures, "_in_view", watched)
    fast = rendered()
    assert min(left_out) > 5
    monkeypatch.setattr(Pictures, "_in_view", lambda self, *_: np.ones(self.model.ngeom, bool))
    for one, other in zip(fast, rendered(), strict=True):
        for name in (FRONT, WRIST):
            np.testing.assert_array_equal(one[name], other[name])


def test_large_textures_become_smaller_and_small_ones_stay():
    scene = """<mujoco><asset>
        <texture name="large" type="2d" builtin="gradient" rgb1="1 0 0" rgb2="0 0 1" width="300" height="600"/>
        <texture name="cube" type="cube" builtin="gradient" rgb1="1 1 1" rgb2="0 0 0" width="200" height="200"/>
        <texture name="small" type="2d" builtin="checker" rgb1="1 0 0" rgb2="0 1 0" width="64" height="64"/>
    </asset></mujoco>"""
    model: Any = mujoco.MjModel.from_xml_string(scene)

    def pixels(name: str) -> NDArray[np.uint8]:
        one = model.texture(name).id
        height, width, start = model.tex_height[one], model.tex_width[one], model.tex_adr[one]
        return model.tex_data[start : start + height * width * 3].reshape(height, width, 3).copy()

    before = {name: pixels(name) for name in ("large", "cube", "small")}
    shrink_textures(model, 100)
    after = {name: pixels(name) for name in before}
    assert [picture.shape[:2] for picture in after.values()] == [(100, 50), (600, 100), (64, 64)]
    np.testing.assert_array_equal(after["small"], before["small"])
    for name in ("large", "cube"):
        factor = before[name].shape[0] // after[name].shape[0]
        assert distance(after[name], before[name][::factor, ::factor]) < 6


# ------------------------------------------------ states first, pictures later


def test_demonstrations_are_drawn_from_the_stored_states(tmp_path: Path):
    task, settings = task_of(SEEN, TASK), settings_for(tmp_path, 2)
    store = moves_store(tmp_path, STATES, task, episodes=2, steps=4)
    (drawn,) = demonstrations(SEEN, [task], settings, workers=0)
    assert drawn.path == tmp_path / "libero-goal-images" / TASK
    assert drawn.features == SEEN.features
    assert (drawn.source, drawn.settings["drawn_from"]) == ("scripted", store.digest)
    for name in (STATE, ACTION, SIMULATOR_STATE):
        np.testing.assert_array_equal(drawn[name], store[name])
    np.testing.assert_array_equal(drawn.offsets, store.offsets)
    live = moves_store(tmp_path / "live", SEEN, task, episodes=2, steps=4)
    for name in (FRONT, WRIST):
        np.testing.assert_array_equal(drawn[name], live[name])
    assert {path.name for path in drawn.path.parent.iterdir()} - set(LOCKS) == {TASK}
    assert demonstrations(SEEN, [task], settings, workers=0)[0].digest == drawn.digest


def test_a_store_that_keeps_no_states_cannot_be_drawn(tmp_path: Path):
    task, settings = task_of(SEEN, TASK), settings_for(tmp_path, 1)
    store = moves_store(tmp_path, STATES, task, episodes=1, steps=2)
    names = ("source", "suite", "versions", "settings")
    again: dict[str, Any] = {"task": task, **{name: getattr(store, name) for name in names}}
    write_store(store_path(STATES, task, settings), list(store), features=STATES.features, **again)
    with pytest.raises(DemonstrationError, match=r"turn_on_the_stove does not keep the simulator's states"):
        demonstrations(SEEN, [task], settings, workers=0)
    other = task_of(load_suite("libero-object"), "pick_up_the_milk_and_place_it_in_the_basket")
    foreign = moves_store(tmp_path / "other", load_suite("libero-object"), other, episodes=1, steps=2)
    with pytest.raises(DemonstrationError, match=r"does not keep the simulator's states of libero-goal-images"):
        SEEN.draw(task, foreign, 0)


def test_privileged_poses_are_in_no_store_of_pictures(tmp_path: Path):
    store = moves_store(tmp_path, SEEN, task_of(SEEN, TASK), episodes=1, steps=2)
    assert ENVIRONMENT_STATE not in DemonstrationStore.open(store.path).features
    assert dataclasses.asdict(store.private[SIMULATOR_STATE])["dtype"] == "float64"


BESIDE = """
from skilltokens.suites.rendering import choose_backend
choose_backend()
import numpy as np
from pathlib import Path
from skilltokens.suites import load_suite, task_of
from libero.libero import get_default_path_dict
from libero.libero.envs.env_wrapper import OffScreenRenderEnv
suite = load_suite("libero-goal-images")
env = suite.make(task_of(suite, "turn_on_the_stove"))
first = env.reset("test", 0)
file = Path(get_default_path_dict()["bddl_files"], "libero_goal", "turn_on_the_stove.bddl")
own = OffScreenRenderEnv(bddl_file_name=str(file), camera_heights=128, camera_widths=128)
for _ in range(2):
    own.reset()
    own.step(np.zeros(7))
    again = env.reset("test", 0)
print(all(np.array_equal(first[name], again[name]) for name in first))
own.close()
"""


@pytest.mark.slow
def test_pictures_are_right_beside_liberos_own_environment_which_frees_what_it_drew_with():
    done = subprocess.run([sys.executable, "-c", BESIDE], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("True"), done.stderr[-2000:]
