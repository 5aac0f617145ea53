"""Pictures under other lights, through cameras that moved, in other rooms: nothing but what is seen may change."""

from __future__ import annotations

import numpy as np
import pytest

from skilltokens.suites import load_suite, suite_names, task_of
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.disturbed import surroundings
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.images import CAMERAS
from skilltokens.suites.names import DISTURBANCES, LOOKED_AT
from skilltokens.types import STATE, Observation, SettingError

TASK = "turn_on_the_stove"
FRONT, WRIST = CAMERAS
PLAIN = Libero("libero-goal-images")


def suite_of(kind: str) -> Libero:
    return Libero(f"libero-goal-{kind}-images")


def away(one: Observation, other: Observation, name: str) -> float:
    """Mean absolute difference of two pictures, of 255."""
    return float(np.abs(one[name].astype(float) - other[name]).mean())


@pytest.fixture(scope="module")
def plain() -> LiberoEnvironment:
    return PLAIN.make(task_of(PLAIN, TASK))


def test_each_suite_is_there_in_each_kind_with_the_same_tasks_and_features():
    for name in LOOKED_AT:
        for kind in DISTURBANCES:
            suite = load_suite(f"{name}-{kind}-images")
            assert suite.name in suite_names()
            assert suite.tasks == load_suite(name).tasks
            assert dict(suite.features) == dict(load_suite(f"{name}-images").features)
            assert "libero-disturbances" in suite.versions()


@pytest.mark.parametrize("name", ["libero-goal-light", "libero-90-light-images", "libero-goal-lan-light-images"])
def test_others_are_not(name: str):
    with pytest.raises(SettingError, match="there is no"):
        load_suite(name)


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_an_episode_is_the_same_but_for_its_pictures(kind: str, plain: LiberoEnvironment):
    disturbed = suite_of(kind).make(task_of(PLAIN, TASK))
    before = plain.reset("validation", 2)
    seen = disturbed.reset("validation", 2)
    for step in range(3):
        np.testing.assert_array_equal(before[STATE], seen[STATE])
        assert min(away(before, seen, FRONT), away(before, seen, WRIST)) > 1
        action = np.full(7, 0.3 - 0.1 * step)
        (before, done), (seen, over) = plain.step(action), disturbed.step(action)
        assert done == over
    np.testing.assert_array_equal(plain.state(), disturbed.state())


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_it_is_a_function_of_the_episode_and_leaves_nothing_behind(kind: str, plain: LiberoEnvironment):
    usual = plain.reset("test", 0)
    disturbed = suite_of(kind).make(task_of(PLAIN, TASK))
    first = disturbed.reset("test", 0)
    other = disturbed.reset("test", 1)
    again = disturbed.reset("test", 0)
    for name in CAMERAS:
        np.testing.assert_array_equal(first[name], again[name])
        np.testing.assert_array_equal(usual[name], plain.reset("test", 0)[name])  # both share a scene
    assert away(first, other, FRONT) > away(usual, plain.reset("test", 1), FRONT)
    assert not np.array_equal(disturbed.render(), plain.render())


def test_surfaces_are_those_of_the_room_alone(plain: LiberoEnvironment):
    things = list(plain.domain.obj_body_id.values())
    names = {plain.model.mat(int(material)).name for material in surroundings(plain.model, things)}
    assert {"floorplane", "walls_mat", "table_texture"} <= names
    assert not any(name.startswith(("robot0", "akita", "flat_stove", "wooden_cabinet")) for name in names)
