"""Scales from a user's demonstrations, and the facts that `info` tells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.demos.making import PUSH, make_store

from skilltokens.demos import info, statistics, workspace_statistics, write_store
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, Episode, Feature, Scale


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


NUMBERS = {
    "observation.button": Feature((1,), "bool"),
    "observation.count": Feature((2,), "int32"),
    "observation.level": Feature((1,), "uint8"),
    "observation.things": Feature((3, 2), "float64"),
}


def test_numbers_of_every_dtype_and_things_that_are_there_get_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, steps = np.random.default_rng(0), 40
    values = {n: random.integers(0, 2, (steps, *f.shape)).astype(f.dtype) for n, f in NUMBERS.items()}
    slots = random.integers(0, 4, steps)
    values["observation.things"] = np.zeros((steps, 3, 2))
    values["observation.things"][..., 0] = np.arange(3) < slots[:, None]
    values["observation.things"][..., 1] = random.normal(5, 2, (steps, 3)) * values["observation.things"][..., 0]
    others = {"observation.images.top": Feature((32, 32, 3)), "observation.voxels": Feature((4, 4, 4, 1))}
    more = {name: np.zeros((steps, *feature.shape)) for name, feature in others.items()}
    store = write_store(
        tmp_path / "push",
        [Episode({**values, **more, ACTION: np.zeros((steps, 1))})],
        task=PUSH,
        features={**NUMBERS, **others, ACTION: Feature((1,))},
        source="human",
        suite="own",
    )
    scales = workspace_statistics([store])
    assert scales.keys() == NUMBERS.keys()
    assert scales["observation.button"] == Scale((0.5,), (0.5,))
    for name in ("observation.count", "observation.level"):
        np.testing.assert_allclose(scales[name].center, values[name].astype(float).mean(0))
        np.testing.assert_allclose(scales[name].unit, values[name].astype(float).std(0))
    there = values["observation.things"][values["observation.things"][..., 0] == 1]
    scale = scales["observation.things"]
    np.testing.assert_allclose((scale.center, scale.unit), ((0, there[:, 1].mean()), (1, there[:, 1].std())))
    monkeypatch.setattr(statistics, "_PIECE", 100)
    in_pieces = workspace_statistics([store])["observation.things"]
    np.testing.assert_allclose(in_pieces.unit, scale.unit)


def test_a_set_without_anything_in_it_has_constants(tmp_path: Path) -> None:
    features = {"observation.things": Feature((3, 2)), ACTION: Feature((1,))}
    episode = Episode({"observation.things": np.zeros((5, 3, 2)), ACTION: np.zeros((5, 1))})
    store = write_store(tmp_path / "p", [episode], task=PUSH, features=features, source="human", suite="own")
    scale = workspace_statistics([store])["observation.things"]
    assert (scale.center, scale.unit) == ((0.0, 0.0), (1.0, 1.0))


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
