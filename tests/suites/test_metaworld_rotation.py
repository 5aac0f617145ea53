"""Our quaternions are scipy's, bit for bit, and Meta-World's own classes still call scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from skilltokens.suites.metaworld import rotation
from skilltokens.suites.metaworld.environment import MetaWorldEnvironment, _simulator_class
from skilltokens.suites.metaworld.rotation import PlainRotation, quaternion_of

NUMBERS = st.floats(-1, 1, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-9, -1e-9])


def scipys(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return Rotation.from_matrix(matrix).as_quat()


@settings(max_examples=500, deadline=None)
@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).filter(lambda numbers: math.hypot(*numbers) > 1e-6))
def test_the_quaternion_of_any_rotation_is_scipys(numbers: tuple[float, ...]) -> None:
    matrix = Rotation.from_quat(numbers).as_matrix()
    assert quaternion_of(matrix).tobytes() == scipys(matrix).tobytes()


def test_turns_by_right_angles_where_ties_are_broken_are_scipys() -> None:
    turns = [
        np.array(signs)[:, None] * np.eye(3)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    rotations = [turn for turn in turns if np.linalg.det(turn) > 0]
    assert len(rotations) == 24
    for turn in rotations:
        assert quaternion_of(turn).tobytes() == scipys(turn).tobytes()


def test_a_rotation_is_not_left_to_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = Rotation.from_quat(np.random.default_rng(0).standard_normal((50, 4))).as_matrix()
    monkeypatch.setattr(Rotation, "from_matrix", None)
    for matrix in matrices:
        assert math.isclose(np.linalg.norm(quaternion_of(matrix)), 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-2, 2, allow_subnormal=False), min_size=9, max_size=9))
def test_what_is_no_rotation_is_left_to_scipy(numbers: list[float]) -> None:
    matrix = np.array(numbers).reshape(3, 3)
    try:
        theirs = scipys(matrix).tobytes()
    except ValueError as problem:
        with pytest.raises(ValueError, match=str(problem)[:20]):
            quaternion_of(matrix)
    else:
        assert quaternion_of(matrix).tobytes() == theirs


@pytest.mark.parametrize("task", ["push", "door-open", "pick-place-wall", "stick-pull"])
def test_whole_episodes_are_the_same_with_scipys(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chaos of contacts makes one other bit grow until all can see it."""

    def raws() -> NDArray[np.float64]:
        environment = MetaWorldEnvironment(task)
        environment.reset("test", 0)
        rows = [environment.raw]
        for action in np.random.default_rng(0).uniform(-1, 1, (150, 4)):
            environment.step(action)
            rows.append(environment.raw)
        return np.stack(rows)

    ours = raws()
    calls = []

    def by_scipy(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        calls.append(matrix)
        return scipys(matrix)

    monkeypatch.setattr(rotation, "quaternion_of", by_scipy)
    assert raws().tobytes() == ours.tobytes()
    assert len(calls) > 150


def test_meta_worlds_own_classes_stay_as_they_are() -> None:
    import metaworld.envs.sawyer_push_v3 as module
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    ours = _simulator_class("push")
    assert vars(ours)["_get_quat_objects"].__globals__["Rotation"] is PlainRotation
    assert vars(module)["Rotation"] is Rotation
    assert ALL_V3_ENVIRONMENTS["push-v3"]._get_quat_objects.__globals__["Rotation"] is Rotation
