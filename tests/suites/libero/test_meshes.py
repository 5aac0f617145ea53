"""A robot of fewer triangles: nothing but its looks may change, and those little."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from skilltokens.suites import load_suite, task_of
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.environment import Scene
from skilltokens.suites.libero.images import CAMERAS
from skilltokens.suites.libero.meshes import joined, simplify
from skilltokens.types import STATE

TASK = "turn_on_the_stove"
FULL, LEAN = Libero("libero-goal-images"), Libero("libero-goal-lean-images")
STEPS = 12


def test_it_is_a_suite_of_its_own_with_the_same_features():
    suite = load_suite("libero-goal-lean-images")
    assert dict(suite.features) == dict(FULL.features)
    assert {"libero-lean", "fast-simplification"} <= suite.versions().keys()
    assert "libero-lean" not in FULL.versions()


def test_states_are_the_same_bits_and_pictures_nearly_the_same():
    rows = {}
    for suite in (FULL, LEAN):
        environment = suite.make(task_of(suite, TASK))
        steps = [environment.reset("test", 0)]
        steps += [environment.step(np.full(7, 0.4 - 0.05 * step))[0] for step in range(STEPS)]
        rows[suite.name] = steps, environment.state()
    (full, end), (lean, same) = rows.values()
    np.testing.assert_array_equal(end, same)
    for before, after in zip(full, lean, strict=True):
        np.testing.assert_array_equal(before[STATE], after[STATE])
    for name in CAMERAS:
        differences = [np.abs(a[name].astype(int) - b[name]) for a, b in zip(full, lean, strict=True)]
        assert 0 < np.mean(differences) < 2.5
        assert np.mean(np.max(differences, -1) > 10) < 0.06


def test_the_robot_alone_loses_triangles():
    Scene.forget()
    model = Scene("libero-goal", TASK).model
    full = model.mesh_facenum.copy()
    before, after = simplify(model)
    assert after < 0.5 * before
    changed = {int(mesh) for mesh in np.flatnonzero(full != model.mesh_facenum)}
    names = {model.body(int(model.geom_bodyid[g])).name for g in range(model.ngeom) if model.geom_dataid[g] in changed}
    assert names
    assert all(name.startswith(("robot0", "gripper0", "mount0", "fixed_mount0")) for name in names)
    corners = model.mesh_vertnum[list(changed)]
    for mesh, corner in zip(changed, corners, strict=True):
        start, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        faces = model.mesh_face[start : start + count]
        assert faces.min() >= 0
        assert faces.max() < corner


@given(st.integers(8, 40))
@settings(max_examples=10, deadline=None)
def test_each_corner_is_stood_for_by_one_that_stands_for_itself(side: int):
    """On a wavy sheet whose corners come twice, as where a texture has a seam."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    sheet = np.stack([x, y, 0.05 * np.sin(9 * x)], -1).reshape(-1, 3).astype(np.float32)
    corner = np.arange(side * side).reshape(side, side)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    twice = np.where(np.arange(len(faces))[:, None] % 2, faces, faces + side * side).astype(np.int32)
    stands = joined(np.concatenate([sheet, sheet]), twice)
    np.testing.assert_array_equal(stands[stands], stands)
    np.testing.assert_array_equal(stands[: side * side], stands[side * side :])
    assert len(np.unique(stands)) < 0.5 * side * side
