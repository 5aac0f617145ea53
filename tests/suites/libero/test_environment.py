"""A LIBERO episode is a pure function of (suite, task, split, index), stepped as LIBERO steps it.

`pytest --all-tasks` runs the repetition test over every task, those of libero-90 as well (a quarter of an hour).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skilltokens.demos import write_store
from skilltokens.suites import load_suite, task_of
from skilltokens.suites.conformance import check_suite
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.environment import LiberoEnvironment, Scene
from skilltokens.suites.libero.observation import PLACES, SLOTS
from skilltokens.suites.libero.states import read_states
from skilltokens.suites.units import doubt_units
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    SIMULATOR_STATE,
    STATE,
    Episode,
    Feature,
    Observation,
    Split,
    SuiteError,
)

EVERY = {"libero-spatial": 5, "libero-object": 5, "libero-goal": 5, "libero-10": 3, "libero-90": 45}
"""Suite -> every which task of it is tried, where not all are: those of the first three share a kind of scene each."""


def actions(steps: int, seed: int = 0) -> np.ndarray:
    """Random moves that begin by going down, so that the hand touches something."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, 7))
    actions[: steps // 2, 2] = -1
    return actions


def rollout(environment: LiberoEnvironment, split: Split, index: int, steps: int = 30) -> list[Observation]:
    return [environment.reset(split, index), *(environment.step(action)[0] for action in actions(steps))]


def fingerprint(environment: LiberoEnvironment, split: Split, index: int, steps: int = 30) -> str:
    """SHA-256 of an episode's observations and of the state it ends in."""
    digest = hashlib.sha256()
    for observation in rollout(environment, split, index, steps):
        for name in sorted(observation):
            digest.update(observation[name].tobytes())
    digest.update(environment.state().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def goal() -> Iterator[LiberoEnvironment]:
    environment = LiberoEnvironment("libero-goal", "put_the_bowl_on_the_plate")
    yield environment
    environment.close()


def test_the_suite_keeps_the_protocol():
    suite = load_suite("libero-goal")
    check_suite(suite, suite.tasks[:1])


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_an_episode_is_the_same_alone_after_others_and_beside_others(name: str, pytestconfig: pytest.Config):
    every = 1 if pytestconfig.getoption("--all-tasks") else EVERY[name]
    for task in load_suite(name).tasks[::every]:
        first = LiberoEnvironment(name, task.name)
        alone = fingerprint(first, "test", 0)  # nothing else ran since this scene was compiled
        fingerprint(first, "train", 3)
        assert fingerprint(first, "test", 0) == alone, task.name
        second = LiberoEnvironment(name, task.name)
        second.reset("validation", 1)
        digest = hashlib.sha256()
        seen = [first.reset("test", 0)]
        for action in actions(30):
            second.step(-action)  # another episode with other fixtures, in turns on the same scene
            seen.append(first.step(action)[0])
        for observation in seen:
            for key in sorted(observation):
                digest.update(observation[key].tobytes())
        digest.update(first.state().tobytes())
        assert digest.hexdigest() == alone, task.name


@pytest.mark.slow
def test_an_episode_is_the_same_in_fresh_processes():
    code = (
        "import sys; sys.path.insert(0, {here!r})\n"
        "from test_environment import LiberoEnvironment, fingerprint\n"
        "for task in {order}:\n"
        "    print(task, fingerprint(LiberoEnvironment('libero-goal', task), 'test', 5))\n"
    )
    tasks = ["turn_on_the_stove", "put_the_bowl_on_the_plate"]
    figures = []
    for order in (tasks, tasks[::-1]):
        text = code.format(here=str(Path(__file__).parent), order=order)
        done = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
        figures.append(dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2))
    assert figures[0] == figures[1]
    assert len(set(figures[0].values())) == 2


def test_indices_and_splits_start_in_different_states(goal: LiberoEnvironment):
    splits: list[Split] = ["train", "validation", "test"]
    starts = {goal.reset(split, index)[ENVIRONMENT_STATE].tobytes() for split in splits for index in range(4)}
    assert len(starts) == 12


def test_places_are_those_of_the_hand_and_of_every_thing(goal: LiberoEnvironment):
    """`train.shift` moves them together: a thing's place less the hand's is its offset, which stays."""
    seen = goal.reset("train", 0)
    (hand,), (thing,) = PLACES[STATE], PLACES[ENVIRONMENT_STATE]
    things = seen[ENVIRONMENT_STATE][seen[ENVIRONMENT_STATE][:, 0] == 1]
    apart = things[:, thing : thing + 3] - seen[STATE][hand : hand + 3]
    np.testing.assert_allclose(apart, things[:, 4:7], atol=1e-5)


def test_a_test_episode_starts_in_its_published_state_with_other_fixtures_each(goal: LiberoEnvironment):
    from libero.libero import get_default_path_dict

    path = Path(get_default_path_dict()["init_states"], "libero_goal", f"{goal.task}.pruned_init.npz")
    states = read_states(path, 1 + goal.model.nq + goal.model.nv)
    fixtures = set()
    for index in range(3):
        goal.reset("test", index)
        bowl = goal.model.joint("akita_black_bowl_1_joint0").qposadr[0]
        published = states[index, 1:][bowl : bowl + 3]
        assert np.abs(goal.data.qpos[bowl : bowl + 2] - published[:2]).max() < 2e-3  # it has only fallen on the table
        fixtures.add(goal.state()[1 + goal.model.nq + goal.model.nv :].tobytes())
    assert len(fixtures) == 3


def test_an_episode_that_is_not_published_is_refused(goal: LiberoEnvironment):
    with pytest.raises(SuiteError, match="episode 20 of the split 'test' does not exist"):
        goal.reset("test", 20)


def test_numpy_random_numbers_of_the_caller_are_left_alone(goal: LiberoEnvironment):
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    goal.reset("train", 0)
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002


def test_steps_are_those_of_libero(goal: LiberoEnvironment):
    """Against robosuite's own loop from the same state: equal but for the solver's warm start."""
    goal.reset("test", 0)
    moves = actions(12, seed=3)
    moves[:, 2] = np.abs(moves[:, 2])  # upwards: contacts would amplify the last digits
    start, fingers = goal.state(), goal._grip
    assert fingers is not None
    begun, held = fingers.fingers.copy(), (fingers.position.copy(), fingers.rotation.copy())
    for move in moves:
        goal.step(move)
    ours = goal.data.qpos.copy()
    goal.restore(start)
    wrapper, robot = Scene.of(goal.suite, goal.task).wrapper, goal.domain.robots[0]
    robot.gripper.current_action = begun
    robot.controller.update(force=True)
    robot.controller.goal_pos, robot.controller.goal_ori = held
    goal.domain.done = False
    for move in moves:
        wrapper.step(move)
    theirs = goal.data.qpos.copy()
    assert np.abs(ours - theirs).max() < 1e-6
    assert np.abs(ours - start[1 : 1 + goal.model.nq]).max() > 0.05


def test_the_gripper_opens_at_minus_one_and_closes_at_one(goal: LiberoEnvironment):
    goal.reset("test", 0)
    widths = {}
    for name, command in (("open", -1.0), ("closed", 1.0)):
        fingers = [goal.step(np.array([0, 0, 0, 0, 0, 0, command]))[0][STATE][9:] for _ in range(15)][-1]
        widths[name] = fingers[0] - fingers[1]
    assert widths["open"] > 0.07
    assert widths["closed"] < 0.01


def test_a_component_of_one_moves_the_hand_along_its_axis(goal: LiberoEnvironment):
    for axis in range(3):
        before = goal.reset("test", 0)[STATE][:3]
        move = np.zeros(7)
        move[axis] = -1.0
        after = [goal.step(move)[0][STATE][:3] for _ in range(4)][-1]
        assert np.argmax(np.abs(after - before)) == axis
        assert (after - before)[axis] < -0.03


def test_success_is_liberos_predicate(goal: LiberoEnvironment):
    goal.reset("test", 0)
    assert goal.step(np.zeros(7))[1] is False
    bowl, plate = (goal.model.joint(f"{name}_joint0").qposadr[0] for name in ("akita_black_bowl_1", "plate_1"))
    goal.data.qpos[bowl : bowl + 3] = goal.data.qpos[plate : plate + 3] + np.array([0, 0, 0.02])
    done = [goal.step(np.zeros(7))[1] for _ in range(10)]
    assert done[-1] is True


def test_demonstrations_in_metres_and_radians_are_told_by_a_replay_from_a_stored_state(
    goal: LiberoEnvironment, tmp_path: Path
):
    suite, units = load_suite("libero-goal"), np.array(Libero.action_units.unit)
    task = task_of(suite, "put_the_bowl_on_the_plate")
    seen, rows = goal.reset("test", 3), []  # no state of the split "train", so only the stored one leads there
    for action in actions(6, seed=1):
        rows.append({**seen, ACTION: action, SIMULATOR_STATE: goal.state()})
        seen, _ = goal.step(action)
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    features = {**suite.features, SIMULATOR_STATE: Feature(arrays[SIMULATOR_STATE].shape[1:], "float64")}
    for factor, proven in ((np.ones(7), False), (units, True)):
        episode = Episode({**arrays, ACTION: (arrays[ACTION] * factor).astype(np.float32)})
        path = tmp_path / str(proven)
        store = write_store(path, [episode], task=task, features=features, source="human", suite=suite.name)
        doubt = doubt_units(suite, store, replay=True)
        assert (doubt is not None and doubt.proven) is proven
        assert doubt is None or proven


def test_a_stored_state_shows_the_same_scene(goal: LiberoEnvironment):
    seen = rollout(goal, "test", 2, 20)[-1]
    kept = goal.state()
    goal.reset("train", 1)
    assert np.abs(goal.restore(kept)[ENVIRONMENT_STATE] - seen[ENVIRONMENT_STATE]).max() == 0
    with pytest.raises(SuiteError, match="reset it first"):
        goal.step(np.zeros(7))
    with pytest.raises(SuiteError, match="is not of libero-goal"):
        goal.restore(kept[:-1])


def test_bad_actions_are_refused(goal: LiberoEnvironment):
    goal.reset("test", 0)
    for action in (np.zeros(6), np.full(7, np.nan)):
        with pytest.raises(SuiteError, match="seven finite numbers"):
            goal.step(action)


def test_an_episode_ends_after_600_steps():
    environment = LiberoEnvironment("libero-goal", "put_the_bowl_on_the_plate")
    environment.reset("test", 0)
    environment._steps = environment.horizon
    with pytest.raises(SuiteError, match="limit of 600"):
        environment.step(np.zeros(7))


def test_environments_of_one_task_share_one_scene(goal: LiberoEnvironment):
    assert LiberoEnvironment(goal.suite, goal.task).model is goal.model


def test_things_are_told_apart_by_place_not_by_number():
    """libero-spatial has two equal bowls, and LIBERO's first is always the one to pick."""
    suite = load_suite("libero-spatial")
    firsts = []
    for task in suite.tasks[:4]:
        environment = LiberoEnvironment(suite.name, task.name)
        entries = environment.reset("test", 0)[ENVIRONMENT_STATE]
        names = [thing.name for thing in Scene.of(suite.name, task.name).eyes.things]
        assert names[:2] == ["akita black bowl"] * 2
        assert np.array_equal(entries[0, 14:], entries[1, 14:])
        target = environment.data.body("akita_black_bowl_1_main").xpos
        rows = entries[:2, 1:4] + Scene.of(suite.name, task.name).eyes.origin
        firsts.append(int(np.abs(rows - target).sum(1).argmin()))
    assert set(firsts) == {0, 1}


def test_entries_come_first_and_empty_slots_are_zero(goal: LiberoEnvironment):
    entries = goal.reset("test", 0)[ENVIRONMENT_STATE]
    filled = entries[:, 0] == 1
    count = int(filled.sum())
    assert 0 < count < SLOTS
    assert filled[:count].all()
    assert not entries[count:].any()


def test_an_opened_drawer_shows_in_its_entry():
    environment = LiberoEnvironment("libero-goal", "open_the_middle_drawer_of_the_cabinet")
    environment.reset("test", 0)
    eyes = Scene.of("libero-goal", environment.task).eyes
    row = [thing.name for thing in eyes.things].index("middle drawer of the wooden cabinet")
    at = environment.model.joint("wooden_cabinet_1_middle_level").qposadr[0]
    shown = []
    for drawn in (0.0, -0.16):
        environment.data.qpos[at] = drawn
        shown.append(environment.step(np.zeros(7))[0][ENVIRONMENT_STATE][row])
    assert shown[0][13] - shown[1][13] > 0.5
    assert np.abs(shown[0][1:4] - shown[1][1:4]).max() > 0.1


def test_a_missing_task_file_is_said():
    with pytest.raises(SuiteError, match=r"no_such_task.bddl is missing"):
        LiberoEnvironment("libero-goal", "no_such_task")


def test_tasks_of_a_suite_are_found_by_name():
    assert task_of(load_suite("libero-goal"), "turn_on_the_stove").instruction == "turn on the stove"
