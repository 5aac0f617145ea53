"""Meta-World from pictures: the same episodes, what the cameras show, and demonstrations seen through them."""

from __future__ import annotations

import numpy as np
import pytest

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.recipes import recipe
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.suites import load_suite, suite_names, task_of
from skilltokens.suites.conformance import check_suite
from skilltokens.suites.metaworld import MetaWorld, MetaWorldImages
from skilltokens.suites.metaworld.cameras import CAMERAS
from skilltokens.types import ACTION, STATE, Feature

BLIND, SEEN = MetaWorld(), MetaWorldImages()
CORNER, WRIST = CAMERAS
TASKS = ("push", "window-close")


def test_it_stands_in_the_list_with_the_same_tasks_and_two_pictures():
    assert "metaworld-images" in suite_names()
    suite = load_suite("metaworld-images")
    picture = Feature((128, 128, 3), "uint8")
    assert suite.tasks == BLIND.tasks
    assert suite.features == {STATE: Feature((4,)), CORNER: picture, WRIST: picture, ACTION: Feature((4,))}
    assert "metaworld-pictures" in suite.versions()
    assert not hasattr(suite, "from_hand")  # it would read poses, which are not observed


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_is_that_of_the_suite_of_states_and_pictures_change_nothing(task: str):
    camera, blind = SEEN.make(task_of(SEEN, task)), BLIND.make(task_of(BLIND, task))
    seen, known = camera.reset("validation", 3), blind.reset("validation", 3)
    assert seen.keys() == {STATE, CORNER, WRIST}
    act = SEEN.expert_in(camera)
    for _ in range(60):
        np.testing.assert_array_equal(seen[STATE], known[STATE])
        np.testing.assert_array_equal(camera.raw, blind.raw)
        action = act()
        (seen, done), (known, over) = camera.step(action), blind.step(action)
        assert done == over
    camera.close()


def test_pictures_follow_the_hand_and_show_where_things_are():
    camera = SEEN.make(task_of(SEEN, "push"))
    first, other = camera.reset("test", 0), camera.reset("test", 1)
    changed = np.abs(first[CORNER].astype(int) - other[CORNER]).max(-1) > 30
    assert 10 < changed.sum() < 2000  # the puck and the goal lie elsewhere, the rest of the picture is the same
    later = [camera.step(np.array([0.0, 0.0, -1.0, -1.0]))[0] for _ in range(10)][-1]
    for name, least in ((CORNER, 0.5), (WRIST, 5.0)):
        assert np.abs(later[name].astype(float) - other[name]).mean() > least
    high, low = first[CORNER][:10].astype(float), first[CORNER][-10:].astype(float)
    assert high.std(axis=(0, 1)).max() < low.std(axis=(0, 1)).max()  # bare wall above, the table below
    camera.close()


def test_the_first_picture_shows_the_hand_where_it_is():
    camera = SEEN.make(task_of(SEEN, "push"))
    first = camera.reset("test", 0)
    camera.step(np.zeros(4))
    again = camera.reset("test", 0)
    np.testing.assert_array_equal(first[WRIST], again[WRIST])
    still, _ = camera.step(np.zeros(4))
    assert np.abs(still[WRIST].astype(float) - again[WRIST]).mean() < 10
    camera.close()


def test_the_protocol_of_suites_is_kept():
    check_suite(SEEN, [task_of(SEEN, "push")])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DemonstrationStore:
    folder = tmp_path_factory.mktemp("pictured")
    settings = DemonstrationSettings(episodes=2, folder=str(folder))
    return demonstrations(SEEN, [task_of(SEEN, "window-close")], settings, workers=0)[0]


def test_demonstrations_are_those_of_the_suite_of_states(store: DemonstrationStore):
    task = task_of(BLIND, "window-close")
    for index, episode in enumerate(BLIND.demonstrate(task, 2, 0, DemonstrationSettings().noise)):
        rows = slice(int(store.offsets[index]), int(store.offsets[index + 1]))
        np.testing.assert_array_equal(store[ACTION][rows], episode.features[ACTION])
        np.testing.assert_array_equal(store[STATE][rows], episode.features[STATE])
        assert len(np.unique(store[CORNER][rows].reshape(len(episode.features[ACTION]), -1), axis=0)) > 10


def test_its_recipe_names_tasks_of_the_suite():
    settings = recipe("metaworld-images", "t2s")
    assert settings.suite == "metaworld-images"
    assert set(settings.tasks) <= {task.name for task in SEEN.tasks}
