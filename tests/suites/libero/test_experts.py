"""The scripted experts: they succeed, repeat themselves exactly, and try again what went wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skilltokens.suites.libero import Libero, demonstrate
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.experts import expert, script
from skilltokens.suites.libero.grasps import Grasp, across_flats, across_narrowest, crowding, hand_axes, on_rim
from skilltokens.suites.libero.motions import DOWN, Hand
from skilltokens.suites.libero.rotations import angle_between, rotation_matrix, rotation_vector
from skilltokens.suites.libero.scene import UP, Scene
from skilltokens.types import ACTION, SIMULATOR_STATE, STATE, Split, SuiteError

BOWL = "akita_black_bowl_1"


def run(environment: LiberoEnvironment, split: Split = "validation", index: int = 0, steps: int = 400) -> int:
    """The steps that the expert took to succeed, without noise; 0 where it did not."""
    environment.reset(split, index)
    actor = expert(environment)
    for step in range(steps):
        action = actor.act()
        assert action.shape == (7,)
        assert np.abs(action).max() <= 1
        if environment.step(action)[1]:
            return step + 1
    return 0


@pytest.fixture(scope="module")
def bowl_to_plate() -> LiberoEnvironment:
    return LiberoEnvironment("libero-goal", "put_the_bowl_on_the_plate")


def goals(suite: str) -> list[list[list[str]]]:
    """The goals of a suite's tasks, as LIBERO reads them out of its task files."""
    from libero.libero import get_default_path_dict  # type: ignore[import-untyped]
    from libero.libero.envs.bddl_utils import robosuite_parse_problem  # type: ignore[import-untyped]

    folder = Path(get_default_path_dict()["bddl_files"], suite.replace("-", "_"))
    return [robosuite_parse_problem(folder / f"{task.name}.bddl")["goal_state"] for task in Libero(suite).tasks]


@pytest.mark.parametrize("suite", ["libero-spatial", "libero-object", "libero-goal", "libero-10"])
def test_every_task_has_a_script(bowl_to_plate: LiberoEnvironment, suite: str):
    scene = Scene(bowl_to_plate)
    published = goals(suite)
    assert len(published) == 10
    for goal in published:
        for predicate in goal:
            assert callable(script(scene, Hand(scene), predicate))


def test_a_goal_that_no_script_serves_is_refused(bowl_to_plate: LiberoEnvironment):
    scene = Scene(bowl_to_plate)
    with pytest.raises(SuiteError, match=r"\['fold', 'towel_1'\].* come from elsewhere"):
        script(scene, Hand(scene), ["fold", "towel_1"])


def test_a_bowl_goes_on_a_plate_and_a_box_into_a_bowl(bowl_to_plate: LiberoEnvironment):
    assert 0 < run(bowl_to_plate) < 100
    assert 0 < run(LiberoEnvironment("libero-goal", "put_the_cream_cheese_in_the_bowl")) < 100


def test_a_knob_is_turned_and_a_plate_is_dragged():
    assert 0 < run(LiberoEnvironment("libero-goal", "turn_on_the_stove")) < 120
    assert 0 < run(LiberoEnvironment("libero-goal", "push_the_plate_to_the_front_of_the_stove")) < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task"),
    [
        ("libero-goal", "open_the_middle_drawer_of_the_cabinet"),
        ("libero-goal", "put_the_wine_bottle_on_the_rack"),
        ("libero-object", "pick_up_the_milk_and_place_it_in_the_basket"),
        ("libero-10", "KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet_and_close_it"),
        ("libero-10", "KITCHEN_SCENE6_put_the_yellow_and_white_mug_in_the_microwave_and_close_it"),
        ("libero-10", "KITCHEN_SCENE8_put_both_moka_pots_on_the_stove"),
        ("libero-10", "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_back_compartment_of_the_caddy"),
    ],
)
def test_one_task_of_each_kind_succeeds(suite: str, task: str):
    assert run(LiberoEnvironment(suite, task), steps=600)


def test_the_expert_is_a_function_of_the_episode(bowl_to_plate: LiberoEnvironment):
    lengths = [run(bowl_to_plate, "train", index) for index in (3, 4, 3)]
    assert lengths[0] == lengths[2] != 0
    grips = []
    for index in range(4):
        bowl_to_plate.reset("train", index)
        scene = Scene(bowl_to_plate)
        grips.append(on_rim(scene, BOWL).at(scene)[0] - scene.position(BOWL))
    np.testing.assert_allclose(grips, np.broadcast_to(grips[0], (4, 3)), atol=2e-3)  # the same side of the bowl


def test_a_bowl_that_is_taken_away_is_fetched_again(bowl_to_plate: LiberoEnvironment):
    environment = bowl_to_plate
    environment.reset("validation", 0)
    actor = expert(environment)
    start = environment.data.joint(f"{BOWL}_joint0").qpos.copy()
    height = Scene(environment).position(BOWL)[2]
    taken, success = False, False
    for _ in range(300):
        success = environment.step(actor.act())[1]
        if not taken and Scene(environment).position(BOWL)[2] > height + 0.03:
            environment.data.joint(f"{BOWL}_joint0").qpos[:] = start
            taken = True
        if success:
            break
    assert taken
    assert success


def test_a_demonstration_keeps_clean_actions_and_states_to_draw(bowl_to_plate: LiberoEnvironment):
    episode = demonstrate.attempt(bowl_to_plate, 0, 0.1)
    again = demonstrate.attempt(bowl_to_plate, 0, 0.1)
    assert episode is not None
    assert again is not None
    features = episode.features
    for name, values in features.items():
        np.testing.assert_array_equal(values, again.features[name])
    assert features[ACTION].shape == (len(episode), 7)
    assert features[ACTION].dtype == np.float32
    assert features[SIMULATOR_STATE].dtype == np.float64
    assert set(np.unique(features[ACTION][:, 6])) == {-1, 1}
    bowl_to_plate.restore(features[SIMULATOR_STATE][7])
    bowl_to_plate.reset("train", 0)
    seen = bowl_to_plate.restore(features[SIMULATOR_STATE][7])
    np.testing.assert_allclose(seen[STATE], features[STATE][7], atol=1e-6)


def test_a_demonstration_goes_on_after_success_and_a_failure_is_none(
    bowl_to_plate: LiberoEnvironment, monkeypatch: pytest.MonkeyPatch
):
    episode = demonstrate.attempt(bowl_to_plate, 0, 0.0)
    assert episode is not None
    assert len(episode) == run(bowl_to_plate, "train", 0) + demonstrate.AFTER_SUCCESS
    monkeypatch.setattr(demonstrate, "LIMIT", 20)
    assert demonstrate.attempt(bowl_to_plate, 0, 0.0) is None


def test_noise_changes_what_is_done_and_not_what_is_aimed_at(bowl_to_plate: LiberoEnvironment):
    clean, noisy = (demonstrate.attempt(bowl_to_plate, 1, noise) for noise in (0.0, 0.1))
    assert clean is not None
    assert noisy is not None
    np.testing.assert_array_equal(clean.features[ACTION][0], noisy.features[ACTION][0])
    assert not np.array_equal(clean.features[STATE][1], noisy.features[STATE][1])


def test_a_grasp_follows_a_thing_that_is_moved_and_turned(bowl_to_plate: LiberoEnvironment):
    environment = bowl_to_plate
    environment.reset("validation", 0)
    scene = Scene(environment)
    grasp = across_narrowest(scene, "cream_cheese_1")
    point, axes = grasp.at(scene)
    offset = point - scene.position("cream_cheese_1")
    joint = environment.data.joint("cream_cheese_1_joint0")
    angle = 0.3
    joint.qpos[:3] += [0.05, -0.02, 0.0]
    joint.qpos[3:] = quaternion_product([np.cos(angle / 2), 0, 0, np.sin(angle / 2)], joint.qpos[3:])
    forward(environment)
    moved, turned = grasp.at(scene)
    spin = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(moved - scene.position("cream_cheese_1"), spin @ offset, atol=1e-9)
    assert angle_between(axes, turned) == pytest.approx(angle, abs=1e-6)


def test_a_bowl_that_spins_does_not_move_the_grip(bowl_to_plate: LiberoEnvironment):
    environment = bowl_to_plate
    environment.reset("validation", 0)
    scene = Scene(environment)
    grasp = on_rim(scene, BOWL)
    before = grasp.at(scene)[0]
    joint = environment.data.joint(f"{BOWL}_joint0")
    joint.qpos[3:] = quaternion_product([np.cos(0.5), 0, 0, np.sin(0.5)], joint.qpos[3:])
    forward(environment)
    np.testing.assert_allclose(grasp.at(scene)[0], before, atol=1e-9)


def test_the_grip_avoids_what_stands_beside_the_thing(bowl_to_plate: LiberoEnvironment):
    environment = bowl_to_plate
    environment.reset("validation", 0)
    scene = Scene(environment)
    free = on_rim(scene, BOWL).at(scene)[0]
    joint = environment.data.joint("wine_bottle_1_joint0")
    joint.qpos[:2] = free[:2] + np.array([0.0, 0.045])  # where the outer finger would go
    forward(environment)
    assert np.linalg.norm(on_rim(scene, BOWL).at(scene)[0] - free) > 0.01


def test_a_pot_that_has_fallen_over_can_still_be_taken():
    environment = LiberoEnvironment("libero-10", "KITCHEN_SCENE8_put_both_moka_pots_on_the_stove")
    environment.reset("validation", 0)
    scene, joint = Scene(environment), environment.data.joint("moka_pot_1_joint0")
    joint.qpos[3:] = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
    forward(environment)
    grip = across_flats(scene, "moka_pot_1").at(scene)[0]
    assert np.linalg.norm(grip[:2] - scene.position("moka_pot_1")[:2]) < 0.05
    environment.close()


def test_crowding_is_zero_in_the_open_and_grows_with_intrusion():
    point, fingers = np.zeros(3), np.array([0.0, 1.0, 0.0])
    assert crowding(point, fingers, np.zeros((0, 3))) == 0
    assert crowding(point, fingers, np.array([[0.3, 0.0, 0.0]])) == 0
    near, inside = (crowding(point, fingers, np.array([[0.0, y, 0.01]])) for y in (0.066, 0.051))
    assert 0 < near < inside


def test_axes_of_the_hand_are_a_rotation_with_the_nearer_sign(bowl_to_plate: LiberoEnvironment):
    bowl_to_plate.reset("validation", 0)
    scene = Scene(bowl_to_plate)
    for fingers in (np.array([0.3, 1.0, 0.2]), np.array([-0.3, -1.0, 0.2])):
        axes = hand_axes(scene, fingers, DOWN)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)
        assert axes[:, 0] @ scene.turn[:, 0] > 0
        np.testing.assert_allclose(axes[:, 2], DOWN, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.7, 3.0, np.pi])
def test_rotation_vectors_are_axis_times_angle_and_back(angle: float):
    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    np.testing.assert_allclose(rotation_matrix(angle * axis), matrix, atol=1e-12)
    vector = rotation_vector(matrix)
    assert np.linalg.norm(vector) == pytest.approx(angle, abs=1e-6)
    if angle:
        assert abs(vector @ axis) == pytest.approx(angle, abs=1e-6)
    assert angle_between(np.eye(3), matrix) == pytest.approx(angle, abs=1e-6)


def test_the_way_over_an_obstacle_counts_what_is_on_it_and_not_what_it_leaves(bowl_to_plate: LiberoEnvironment):
    bowl_to_plate.reset("validation", 0)
    scene = Scene(bowl_to_plate)
    hand = Hand(scene)
    top = scene.bounds("wine_bottle_1")[1][2]
    bottle = scene.centre("wine_bottle_1")
    aside = np.array([0.1, 0.0, 0.0])
    start, end = bottle - aside, bottle + aside
    others = tuple(name for name in scene.bodies if name != "wine_bottle_1")
    assert hand.clear_height(start, end, others) == pytest.approx(top, abs=1e-3)
    beside = bottle + 0.3 * aside
    assert hand.clear_height(beside, beside + aside, others) < 0
    assert hand.clear_height(start, end, tuple(scene.bodies)) < 0


def test_a_grasp_given_in_the_world_comes_back_the_same(bowl_to_plate: LiberoEnvironment):
    bowl_to_plate.reset("validation", 0)
    scene = Scene(bowl_to_plate)
    point, fingers = np.array([0.1, 0.2, 1.0]), np.array([0.6, 0.8, 0.0])
    grip, axes = Grasp.on(scene, scene.bodies[BOWL], point, fingers, -UP).at(scene)
    np.testing.assert_allclose(grip, point, atol=1e-12)
    assert abs(axes[:, 0] @ fingers) == pytest.approx(1)


def forward(environment: LiberoEnvironment) -> None:
    """Poses of the bodies from the joints as they are now."""
    environment.activate()
    environment.domain.sim.forward()


def quaternion_product(one: list[float], other: np.ndarray) -> np.ndarray:
    w, x, y, z = one
    v = other
    return np.array(
        [
            w * v[0] - x * v[1] - y * v[2] - z * v[3],
            w * v[1] + x * v[0] + y * v[3] - z * v[2],
            w * v[2] - x * v[3] + y * v[0] + z * v[1],
            w * v[3] + x * v[2] - y * v[1] + z * v[0],
        ]
    )
