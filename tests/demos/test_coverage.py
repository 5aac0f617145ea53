"""What a library's constants do not cover is said, with its share; actions that a suite does not take are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.demos.making import PUSH

from skilltokens.demos import (
    DemonstrationStore,
    check_actions,
    outside,
    still_entries,
    workspace_statistics,
    write_store,
)
from skilltokens.types import ACTION, STATE, DemonstrationError, Episode, Feature, Scale


def store_of(path: Path, states: np.ndarray, actions: np.ndarray) -> DemonstrationStore:
    features = {STATE: Feature(states.shape[1:]), ACTION: Feature(actions.shape[1:])}
    half = len(states) // 2
    episodes = [Episode({STATE: states[part], ACTION: actions[part]}) for part in (slice(0, half), slice(half, None))]
    return write_store(path, episodes, task=PUSH, features=features, source="human", suite="own")


def test_readings_beyond_the_constants_are_named_with_their_share(tmp_path: Path) -> None:
    states, actions = np.zeros((100, 3)), np.zeros((100, 1))
    states[:30, 1] = 9.0
    states[:1, 2] = -8.5
    store = store_of(tmp_path / "store", states, actions)
    scale = Scale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    (sentence,) = outside(store, {STATE: scale})
    assert "10 % of the numbers in 'observation.state'" in sentence
    assert "entries 1 (30 %), 2 (1 %)" in sentence
    assert outside(store, {STATE: Scale((0.0, 0.0, 0.0), (2.0, 2.0, 2.0))}) == []


def test_things_beyond_the_constants_are_named_and_empty_slots_do_not_count(tmp_path: Path) -> None:
    things = np.zeros((10, 3, 2))
    things[:, :2, 0] = 1
    things[:5, 0, 1] = 9.0
    features = {"observation.things": Feature((3, 2)), ACTION: Feature((1,))}
    episode = Episode({"observation.things": things, ACTION: np.zeros((10, 1))})
    store = write_store(tmp_path / "s", [episode], task=PUSH, features=features, source="human", suite="own")
    (sentence,) = outside(store, {"observation.things": Scale((0.0, 0.0), (1.0, 1.0))})
    assert "12 % of the numbers in 'observation.things'" in sentence
    assert "entries 1 (25 %)" in sentence


def test_actions_beyond_those_of_the_library_are_named_whatever_its_units(tmp_path: Path) -> None:
    actions = np.linspace(-1, 1.5, 100)[:, None]
    store = store_of(tmp_path / "store", np.zeros((100, 1)), actions)
    (sentence,) = outside(store, {})
    assert "20 % of the numbers in 'action'" in sentence
    assert outside(store, {ACTION: Scale((0.0,), (0.2,))}) == []
    assert "'action'" in outside(store, {ACTION: Scale((0.0,), (0.1,))})[0]


def test_entries_that_hardly_vary_in_a_first_store_are_named(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    hand = np.linspace(0.04, 0, 60)[:, None]
    arm = np.array([[0.4, 0.0, 0.2]]) + random.normal(0, 1e-5, (60, 3))
    store = store_of(tmp_path / "grip", np.concatenate([arm, hand], 1), random.uniform(-1, 1, (60, 1)))
    (sentence,) = still_entries(store, workspace_statistics([store]))
    assert "entries 0, 1, 2 of 'observation.state' hardly vary" in sentence
    moving = store_of(tmp_path / "reach", random.normal(size=(60, 4)), random.uniform(-1, 1, (60, 1)))
    assert still_entries(moving, workspace_statistics([moving])) == []
    assert still_entries(store, workspace_statistics([store, moving])) == []


def test_a_gripper_from_0_to_1_beside_joints_in_degrees_is_no_still_entry(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    states = np.concatenate([random.uniform(-60, 60, (200, 5)), random.uniform(0, 1, (200, 1))], 1)
    store = store_of(tmp_path / "arm", states, states)
    assert still_entries(store, workspace_statistics([store])) == []


def test_actions_that_a_suite_does_not_take_are_refused_with_their_place(tmp_path: Path) -> None:
    actions = np.zeros((10, 2))
    actions[7, 1] = -1.5
    store = store_of(tmp_path / "store", np.zeros((10, 1)), actions)
    with pytest.raises(DemonstrationError, match=r"episode 1, step 2, feature 'action' holds -1.5, outside \[-1, 1\]"):
        check_actions(store, {}, "own")
    check_actions(store, {ACTION: Scale((0.0, 0.0), (1.0, 1.0))}, "own")
