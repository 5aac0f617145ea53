"""Scenes: what a density is, what is looked at, and what a judge says; the documented figures are the measured ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from tests.pictured import TOP, pictured_policy, pictured_stores
from tests.small import LANGUAGE, make_policy, make_stores
from tests.toy import TASKS, Table, Toy

from skilltokens.demos import DemonstrationStore
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.scene import (
    DIRECTIONS,
    DOUBT,
    FEWEST,
    FLOOR,
    SHADES,
    WORTH,
    SceneDensity,
    SceneJudge,
    scene_features,
    scene_names,
    scene_width,
)
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    Array,
    DemonstrationError,
    Feature,
    LibraryError,
    Observation,
    ObservationError,
    Scale,
    SettingError,
    Task,
)

ROOT = Path(__file__).parents[2]
GOAL_PLACE = "observation.goal.place"


@dataclass
class Room(Toy):
    """The toy's table in a room: the markers stand around a place of the room's own."""

    name: str = "room"
    place: float = 0.0

    def make(self, task: Task) -> Table:
        return RoomTable(task, self.horizon, self.place)


class RoomTable(Table):
    def __init__(self, task: Task, horizon: int, place: float):
        super().__init__(task, horizon)
        self.around = place

    def _observation(self) -> Observation:
        observation = super()._observation()
        return {**observation, ENVIRONMENT_STATE: seen_in(self.around, observation[ENVIRONMENT_STATE])}


def seen_in(place: float, markers: Array) -> Array:
    """Markers that stand close to a place."""
    return (place + 0.1 * markers).astype(np.float32)


def row(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def normal(random: np.random.Generator, episodes: int, steps: int = 4, width: int = 6) -> list[Array]:
    """Episodes of a scene that does not move: numbers that go together, that differ alone, and that never differ."""
    mix = np.zeros((width, width))
    mix[:2, :2], mix[2, 0], mix[3, 3] = [[1.0, 0.4], [0.2, 0.7]], 1.0, 0.5
    starts = random.standard_normal((episodes, width)) @ mix.T + 0.3
    return [np.repeat(start[None], steps, 0).astype(np.float32) for start in starts]


def densities(random: np.random.Generator, number: int, width: int) -> list[SceneDensity]:
    return [
        SceneDensity.of([episode + offset for episode in normal(random, 5, width=width)])
        for offset in random.uniform(-2, 2, number).astype(np.float32)
    ]


# ---------------------------------------------------------------- the density


@given(st.integers(0, 2**32), st.integers(FEWEST, 12))
@settings(deadline=None, max_examples=30)
def test_the_density_is_the_gaussian_that_it_is_said_to_be(seed: int, episodes: int):
    seen = normal(np.random.default_rng(seed), episodes)
    starts = np.stack([episode[0] for episode in seen]).astype(np.float64)
    covariance = np.cov(starts.T)
    alone = np.diag(covariance.diagonal())
    covariance = covariance * episodes / (episodes + WORTH) + alone * WORTH / (episodes + WORTH) + FLOOR**2 * np.eye(6)
    density = SceneDensity.of(seen)
    apart = np.random.default_rng(seed + 1).standard_normal((9, 6)).astype(np.float32)
    expected = np.einsum("ni,ij,nj->n", apart - starts.mean(0), np.linalg.inv(covariance), apart - starts.mean(0))
    np.testing.assert_allclose(density.distances(apart), expected, rtol=1e-3, atol=1e-2)
    assert density.constants[0] == pytest.approx(np.linalg.slogdet(covariance)[1], abs=1e-3)


@pytest.mark.parametrize("episodes", [FEWEST, 5, 20])
def test_a_skill_accepts_its_own_scenes_and_refuses_others(episodes: int):
    random = np.random.default_rng(0)
    refused = others = tried = 0
    for _ in range(60):
        density = SceneDensity.of(normal(random, episodes))
        fresh = np.stack([episode[0] for episode in normal(random, 20)])
        refused += int((density.distances(fresh) > density.constants[1]).sum())
        elsewhere = fresh + row(0, 0, 0, 0, 0, 1)  # twenty floors away in what never differs
        others += int((density.distances(elsewhere) > density.constants[1]).sum())
        tried += 20
    assert refused / tried < 0.04
    assert others / tried > (0.5 if episodes == FEWEST else 0.99)


def test_what_moves_does_not_count_and_a_noisy_reading_does():
    random = np.random.default_rng(0)
    seen = normal(random, 8, steps=10)
    for episode in seen:
        episode[:, 4] += np.linspace(0, 1, 10)  # the hand goes somewhere
        episode[:, 5] += 0.2 * random.standard_normal(10)  # a sensor trembles
    density = SceneDensity.of(seen)
    assert (density.weights == 0).tolist() == [False, False, False, False, True, False]
    assert not density.directions[:, 4].any()
    start = seen[0][:1]
    assert density.distances(start + row(0, 0, 0, 0, 9, 0)) == pytest.approx(density.distances(start))
    assert density.distances(start + row(0, 0, 0, 0, 0, 0.2)) <= density.constants[1]
    assert density.distances(start + row(0, 0, 0, 0, 0, 9)) > density.constants[1]


def test_a_scene_that_never_differs_leaves_some_room():
    density = SceneDensity.of([np.ones((3, 4), np.float32)] * 5)
    assert density.distances(row(1 + FLOOR, 1, 1, 1 - FLOOR)[None]) <= density.constants[1]
    assert density.distances(row(1, 1, 2, 1)[None]) > density.constants[1]
    assert density.constants[1] == pytest.approx(6.635 * (1 + DOUBT / 5), rel=1e-3)  # chi-square's 99 %, one degree


def test_a_file_keeps_every_bit_in_a_few_kilobytes():
    density = SceneDensity.of(normal(np.random.default_rng(0), 20, width=64))
    content = save(density.tensors())
    assert len(content) < 4000
    again = SceneDensity.from_tensors(load(content))
    for name, tensor in density.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("mean"), "not mean, weights, directions, constants"),
        (lambda t: t.update(more=torch.zeros(1)), "more"),
        (lambda t: t.update(mean=t["mean"].double()), "float64"),
        (lambda t: t.update(weights=t["weights"][:-1]), r"\(5,\)"),
        (lambda t: t.update(directions=t["directions"].T), "'directions'"),
        (lambda t: t.update({name: x[..., :0] for name, x in t.items() if name != "constants"}), "not empty"),
        (lambda t: t["mean"].fill_(float("nan")), "not finite"),
        (lambda t: t["constants"].fill_(float("inf")), "not finite"),
        (lambda t: t["weights"].neg_(), "negative weight"),
        (lambda t: t["constants"][1:].fill_(0.0), "a limit that is not positive"),
    ],
)
def test_tensors_that_are_no_density_are_refused(change: Callable[[dict[str, torch.Tensor]], object], said: str):
    tensors = SceneDensity.of(normal(np.random.default_rng(0), 5)).tensors()
    change(tensors)
    with pytest.raises(LibraryError, match=said):
        SceneDensity.from_tensors(tensors)


# ---------------------------------------------------------------- what is looked at


def policy_of(features: dict[str, Feature], seed: int = 0) -> Policy:
    scales = {n: Scale((0.5,) * f.shape[-1], (2.0,) * f.shape[-1]) for n, f in features.items() if f.dtype != "uint8"}
    shape = Shape.of({**features, ACTION: Feature((2,))}, scales, LANGUAGE)
    return Policy(shape, PolicySettings(width=32, layers=1), torch.Generator().manual_seed(seed))


def test_neither_goals_nor_the_robots_own_state_are_a_part_of_the_scene():
    features = {STATE: Feature((3,)), ENVIRONMENT_STATE: Feature((4,)), GOAL_PLACE: Feature((3,))}
    base = policy_of(features)
    assert scene_names(base) == (ENVIRONMENT_STATE,)
    seen = {ENVIRONMENT_STATE: np.ones((2, 4), np.float32)}
    np.testing.assert_array_equal(scene_features(base, seen), np.full((2, 4), 0.25))
    assert scene_names(policy_of({STATE: Feature((3,)), GOAL_PLACE: Feature((3,))})) == (STATE,)


def test_a_scene_of_vectors_does_not_depend_on_what_the_base_has_learned():
    seen = {ENVIRONMENT_STATE: np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype(np.float32)}
    one, two = make_policy(seed=0), make_policy(seed=1)
    np.testing.assert_array_equal(scene_features(one, seen), scene_features(two, seen))


def test_the_order_of_a_sets_objects_does_not_matter_but_their_number_does():
    base = policy_of({STATE: Feature((2,)), ENVIRONMENT_STATE: Feature((6, 4))})
    random = np.random.default_rng(0)
    objects = np.zeros((1, 6, 4), np.float32)
    objects[:, :3] = [1, 0, 0, 0] + random.uniform(0, 1, (3, 4)) * [0, 1, 1, 1]
    shuffled, fewer = objects.copy(), objects.copy()
    shuffled[:, :3], fewer[:, 2] = objects[:, [2, 0, 1]], 0

    def look(values: Array) -> Array:
        return scene_features(base, {ENVIRONMENT_STATE: values})

    np.testing.assert_allclose(look(shuffled), look(objects), atol=1e-6)
    assert abs(look(fewer) - look(objects)).max() > 0.1
    mean = (objects[0, :3, 1:].mean(0) - 0.5) / 2
    np.testing.assert_allclose(look(objects), [[0.5, *mean]], atol=1e-6)  # three of six slots are filled
    assert look(objects).shape == (1, scene_width(base))
    assert np.isfinite(look(np.zeros_like(objects))).all()


def test_of_pictures_the_first_is_looked_at(tmp_path: Path):
    base = pictured_policy()
    store = pictured_stores(tmp_path, TASKS[:1], episodes=12)[0]
    density = SceneDensity.fit(base, store)
    assert density is not None
    assert density.width == scene_width(base) == 75
    judge = SceneJudge(base, [density])
    own, dark = np.asarray(store[TOP][:1]), np.asarray(store[TOP][:1]) // 4
    assert judge.judge({TOP: own}).accepted.all()
    assert not judge.judge({TOP: dark}).accepted.any()
    assert judge.judge({TOP: np.concatenate([own, dark, dark])}).accepted.all()
    assert not judge.judge({TOP: np.concatenate([dark, own, own])}).accepted.any()


def test_a_picture_is_seen_in_coarse_parts():
    base, picture = pictured_policy(), np.zeros((1, 40, 40, 3), np.uint8)
    assert (scene_features(base, {TOP: picture}) == -SHADES).all()
    picture[0, :8, 8:16, 1] = 255  # the first row, the second column, green
    seen = scene_features(base, {TOP: picture}).reshape(3, 5, 5)
    assert np.argwhere(seen != -SHADES).tolist() == [[1, 0, 1]]
    assert seen[1, 0, 1] == SHADES


def test_what_is_missing_is_said(tmp_path: Path):
    base = make_policy()
    with pytest.raises(ObservationError, match=r"lacks 'observation.environment_state'"):
        scene_features(base, {STATE: np.zeros((1, 2), np.float32)})
    with pytest.raises(DemonstrationError, match=r"lacks 'observation.environment_state'"):
        SceneDensity.fit(base, pictured_stores(tmp_path, TASKS[:1])[0])
    with pytest.raises(SettingError, match="0 observations"):
        SceneDensity.fit(base, make_stores(tmp_path / "toy", TASKS[:1])[0], first=0)


# ---------------------------------------------------------------- the judge


def rooms(folder: Path, episodes: int = 8) -> list[DemonstrationStore]:
    """Stores of one task in three places."""
    return [make_stores(folder / str(i), TASKS[:1], episodes, Room(place=0.4 * i))[0] for i in range(3)]


def room_scene(place: float, seed: int = 0, steps: int = 3) -> dict[str, Array]:
    markers = np.random.default_rng(seed).uniform(-0.9, 0.9, (1, 4)).repeat(steps, 0)
    return {ENVIRONMENT_STATE: seen_in(place, markers), STATE: np.zeros((steps, 2), np.float32)}


def test_a_density_is_fitted_to_the_first_observations_of_each_demonstration(tmp_path: Path):
    base, store = make_policy(), make_stores(tmp_path, TASKS[:1], episodes=5)[0]
    seen = [scene_features(base, {n: a[:4] for n, a in episode.features.items()}) for episode in store]
    fitted, expected = SceneDensity.fit(base, store, first=4), SceneDensity.of(seen)
    assert fitted is not None
    for name, tensor in expected.tensors().items():
        assert torch.equal(fitted.tensors()[name], tensor)
    assert SceneDensity.fit(base, make_stores(tmp_path / "few", TASKS[:1], FEWEST - 1)[0]) is None


def test_a_skill_that_was_taught_elsewhere_is_refused_and_the_right_one_is_chosen(tmp_path: Path):
    base = make_policy()
    known = [SceneDensity.fit(base, store, first=1) for store in rooms(tmp_path)]
    judge = SceneJudge(base, known)
    for i in range(3):
        judgement = judge.judge(room_scene(0.4 * i))
        assert judgement.best == i == judgement.scores.argmax()
        assert judgement.accepted.tolist() == [j == i for j in range(3)]
        assert (judgement.strangeness <= 1).tolist() == judgement.accepted.tolist()
    nowhere = judge.judge(room_scene(3.0))
    assert nowhere.best is None
    assert not nowhere.accepted.any()


def test_a_skill_without_a_density_is_never_refused_and_never_chosen(tmp_path: Path):
    base = make_policy()
    density = SceneDensity.fit(base, rooms(tmp_path)[0], first=1)
    judgement = SceneJudge(base, [None, density, None]).judge(room_scene(0.0))
    assert judgement.best == 1
    assert judgement.known.tolist() == [False, True, False]
    assert judgement.accepted.all()
    elsewhere = SceneJudge(base, [None, density]).judge(room_scene(3.0))
    assert (elsewhere.best, elsewhere.accepted.tolist()) == (None, [True, False])
    nothing = SceneJudge(base, [None]).judge(room_scene(0.0))
    assert (nothing.best, nothing.accepted.tolist()) == (None, [True])


def test_a_reading_that_is_no_number_is_no_scene():
    judge, scene = SceneJudge(make_policy(), [None]), room_scene(0.0)
    scene[ENVIRONMENT_STATE][1, 2] = np.nan
    with pytest.raises(ObservationError, match=r"'observation.environment_state' holds nan, in row 1 at \(2,\)"):
        judge.judge(scene)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 5), (1, 1, 4)])
def test_an_observation_of_another_shape_is_refused(shape: tuple[int, ...]):
    judge = SceneJudge(make_policy(), [None])
    with pytest.raises(ObservationError, match=r"'observation.environment_state' has shape \(.* is read"):
        judge.judge({ENVIRONMENT_STATE: np.zeros(shape, np.float32)})


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_all_skills_at_once_are_judged_as_each_alone(seed: int, skills: int, steps: int):
    random = np.random.default_rng(seed)
    base, known = make_policy(), densities(random, skills, width=4)
    scene = {ENVIRONMENT_STATE: random.uniform(-1, 1, (steps, 4)).astype(np.float32)}
    together = SceneJudge(base, known).judge(scene)
    for number, density in enumerate(known):
        alone = SceneJudge(base, [density]).judge(scene)
        assert together.scores[number] == pytest.approx(alone.scores[0], rel=1e-9)
        assert together.scores[number] == pytest.approx(density.score(base, scene).mean(), rel=1e-9)
        assert together.accepted[number] == alone.accepted[0]
    if together.best is not None:
        assert together.accepted[together.best]
        assert together.scores[together.best] == together.scores[together.accepted].max()


def test_a_density_of_another_library_is_refused():
    with pytest.raises(LibraryError, match="6 numbers where the library's policy sees 4"):
        SceneJudge(make_policy(), [None, SceneDensity.of(normal(np.random.default_rng(0), 5))])


def test_rows_of_no_use_are_zero_and_a_wrong_limit_is_seen():
    density = SceneDensity.of(normal(np.random.default_rng(0), FEWEST))
    assert density.directions.shape == (DIRECTIONS, 6)
    assert not density.directions[FEWEST - 1 :].any()
    strict = replace(density, constants=density.constants * row(1, 1e-6))
    assert SceneJudge(policy_of({ENVIRONMENT_STATE: Feature((6,))}), [strict]).judge(
        {ENVIRONMENT_STATE: np.ones((1, 6), np.float32)}
    ).accepted.tolist() == [False]


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize("name", ["results.json", "pictures.json"])
def test_the_documented_figures_are_the_measured_ones(name: str):
    from benchmarks.scene_tables import tables

    content = json.loads((ROOT / "results/scenes" / name).read_text(encoding="utf-8"))
    page = (ROOT / "docs/scenes.md").read_text(encoding="utf-8")
    for table in tables(content).split("\n\n"):
        assert f"\n{table}\n" in page, f"print it by `python -m benchmarks.scenes --show results/scenes/{name}`"
    assert content["split"] == "test"


def test_the_goals_are_met_where_the_page_says_so():
    content = json.loads((ROOT / "results/scenes/results.json").read_text(encoding="utf-8"))
    for figure in content["figures"]:
        chosen, (refused, tried) = np.array(figure["chosen"]), np.sum(list(figure["eleventh"].values()), axis=0)
        assert (chosen.trace() >= 0.95 * chosen.sum()) == (figure["demonstrations"] >= 20)
        assert refused >= 0.9 * tried


@pytest.mark.slow
def test_meta_worlds_scenes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from benchmarks import scenes

    monkeypatch.setattr(scenes, "DEMONSTRATIONS", (8,))
    monkeypatch.setattr(scenes, "ALL", 8)
    content = scenes.measured(tmp_path, "validation", 4, tasks=("coffee-button", "door-close"))
    assert len(content["figures"]) == 4
    for figure in content["figures"]:
        chosen, accepted = np.array(figure["chosen"]), np.array(figure["accepted"])
        assert chosen.diagonal().sum() >= 34  # of 40; push and push-wall look alike
        assert accepted.diagonal().sum() >= 37
        assert figure["eleventh"] == {"coffee-button": [2, 2], "door-close": [2, 2]}
    assert scenes.tables(content).count("\n") > 20
