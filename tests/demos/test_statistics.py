"""Scales from a user's demonstrations, and the facts that `info` tells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.demos.making import PUSH, make_store

from skilltokens.demos import info, statistics, workspace_statistics, write_store
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, Episode, Feature


def store_with(path: Path, states: np.ndarray):
    features = {STATE: Feature((states.shape[1],)), ACTION: Feature((1,))}
    episodes = [Episode({STATE: states, ACTION: np.zeros((len(states), 1))})]
    return write_store(path, episodes, task=PUSH, features=features, source="human", suite="own")


def test_scales_are_mean_and_deviation_of_observation_vectors(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push", (50, 70), images=True)
    scales = workspace_statistics([store])
    assert scales.keys() == {STATE, ENVIRONMENT_STATE}
    for name, scale in scales.items():
        np.testing.assert_allclose(scale.center, np.mean(store[name], axis=0, dtype=np.float64))
        np.testing.assert_allclose(scale.unit, np.std(store[name], axis=0, dtype=np.float64))


def test_every_store_weighs_the_same_whatever_its_length(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one = random.normal(0, 1, size=(10, 2)).astype(np.float32)
    two = random.normal(5, 2, size=(500, 2)).astype(np.float32)
    scale = workspace_statistics([store_with(tmp_path / "1", one), store_with(tmp_path / "2", two)])[STATE]
    weighed = np.concatenate([np.repeat(one, 50, axis=0), two]).astype(np.float64)
    np.testing.assert_allclose(scale.center, weighed.mean(axis=0))
    np.testing.assert_allclose(scale.unit, weighed.std(axis=0))


def test_an_entry_that_hardly_moves_has_a_share_of_its_own_largest_reading_as_its_unit(tmp_path: Path) -> None:
    states = np.zeros((100, 4), dtype=np.float32)
    states[:, 0] = np.linspace(-90, 90, 100)
    states[:, 1] = np.linspace(0, 1, 100)
    states[:, 2] = 0.12
    scale = workspace_statistics([store_with(tmp_path / "push", states)])[STATE]
    assert scale.unit[1] == pytest.approx(np.std(states[:, 1]))  # degrees beside it do not decide
    assert scale.unit[2] == pytest.approx(statistics.FLOOR * 0.12)
    assert scale.unit[3] == 1.0


def test_actions_have_constants_only_where_they_are_in_the_robots_own_units(tmp_path: Path) -> None:
    def store(name: str, actions: np.ndarray):
        episodes = [Episode({STATE: np.zeros((len(actions), 1)), ACTION: actions})]
        features = {STATE: Feature((1,)), ACTION: Feature((2,))}
        return write_store(tmp_path / name, episodes, task=PUSH, features=features, source="human", suite="own")

    shares = store("shares", np.random.default_rng(0).uniform(-1, 1, (50, 2)))
    degrees = store("degrees", np.random.default_rng(0).uniform(-1, 1, (50, 2)) * [90.0, 0.5] + [45.0, 0.5])
    assert ACTION not in workspace_statistics([shares])
    scale = workspace_statistics([degrees])[ACTION]
    np.testing.assert_allclose(scale.center, np.mean(degrees[ACTION], axis=0, dtype=np.float64))
    np.testing.assert_allclose(scale.unit, np.std(degrees[ACTION], axis=0, dtype=np.float64))
    assert ACTION in workspace_statistics([shares, degrees])


def test_pieces_give_the_same_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "push", (50, 70))
    whole = workspace_statistics([store])
    monkeypatch.setattr(statistics, "_PIECE", 100)
    for name, scale in workspace_statistics([store]).items():
        np.testing.assert_allclose(scale.center, whole[name].center)
        np.testing.assert_allclose(scale.unit, whole[name].unit)


def test_info_is_complete_and_is_json(tmp_path: Path) -> None:
    store = make_store(tmp_path / "push", (5, 1, 9), images=True)
    facts = json.loads(json.dumps(info(store.path)))
    assert (facts["task"], facts["instruction"], facts["suite"]) == ("push-v3", PUSH.instruction, "toy")
    assert (facts["episodes"], facts["steps"]) == (3, 15)
    assert facts["lengths"] == {"least": 1, "mean": 5.0, "most": 9}
    assert facts["features"][STATE]["most"] == pytest.approx(float(store[STATE].max()))
    assert facts["features"]["observation.images.front"] == {"shape": [5, 4, 3], "dtype": "uint8"}
    assert facts["bytes"] == sum(file.stat().st_size for file in store.path.glob("*.npy"))
    assert facts["digest"] == store.digest


def test_info_of_nothing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DemonstrationError, match="does not exist: check the path"):
        info(tmp_path / "nowhere")
