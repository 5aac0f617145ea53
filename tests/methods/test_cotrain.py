"""Co-training: which old windows look like new ones, and what a training step makes of them, whatever the method."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.small import TRAIN, lessons, make_policy, make_stores, teach, train
from tests.toy import TASKS, Toy

from skilltokens.configuration import check_settings
from skilltokens.demos import DemonstrationStore
from skilltokens.methods import load_method, method_of
from skilltokens.methods.base import Lesson, Method, Training
from skilltokens.methods.cotrain import CotrainSettings
from skilltokens.methods.cotrain.likeness import best, described, log_odds, nearness, over_windows, scaled_numbers
from skilltokens.methods.cotrain.rule import Cotrain, Retrieved, cotraining
from skilltokens.methods.er import ERSettings
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.settings import TrainSettings
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Scale, SettingError

KINDS: list[Any] = [T2SSettings(), LoraSettings(), FullCopySettings(), SequentialSettings(), ERSettings(windows=20)]
IDS = ["t2s", "lora", "full_copy", "sequential", "er"]
SEEN = scaled_numbers(Toy().scales)
HALF = CotrainSettings(share=0.5, alone=0.25, ahead=3, retrieved=0.5)


def beside(
    training: Training,
    lesson: Lesson,
    old: list[DemonstrationStore],
    settings: CotrainSettings = HALF,
    loop: TrainSettings = TRAIN,
) -> Training:
    return cotraining(training, lesson, old, settings, loop, SEEN, None, 0)


def now_at(step: int, total: int = 8, seed: int = 0) -> Now:
    return Now(step, total, np.random.default_rng(seed), np.random.default_rng(seed))


# ------------------------------------------------ likeness


def test_a_step_is_what_is_seen_and_the_actions_that_follow(toy_stores: list[DemonstrationStore]):
    store, action = toy_stores[0], Scale((0.5, -0.5), (2.0, 4.0))
    rows = described(store, SEEN, 3, action).numpy()
    assert rows.shape == (store.steps, 6 + 3 * 2)
    for step in (0, int(store.offsets[1]) - 1, int(store.offsets[1]), store.steps - 2):
        end = int(store.offsets[np.searchsorted(store.offsets, step, side="right")])
        ahead = [np.asarray(store[ACTION])[min(step + i, end - 1)] for i in range(3)]
        expected = (np.concatenate(ahead) - np.tile(action.center, 3)) / np.tile(action.unit, 3)
        np.testing.assert_allclose(rows[step, 6:], expected / np.sqrt(6), rtol=1e-5, atol=1e-6)
        place = np.concatenate([store[name][step] for name in Toy().scales]) / 0.5
        np.testing.assert_allclose(rows[step, :6], place / np.sqrt(6), rtol=1e-5)


@pytest.mark.parametrize("numbers", [np.zeros((3, 2)), np.zeros(42), np.full((42, 1), np.nan)])
def test_what_a_suite_compares_must_be_numbers(numbers: Any, toy_stores: list[DemonstrationStore]):
    with pytest.raises(SettingError, match=r"no table of finite numbers for its 42 steps.*from_hand"):
        described(toy_stores[0], lambda observation: numbers, 3, None)


def test_nearness_is_that_of_the_nearest_step():
    random = np.random.default_rng(0)
    new, old = torch.tensor(random.standard_normal((7, 30))), torch.tensor(random.standard_normal((11, 30)))
    ways = ((old[:, None] - new[None]) ** 2).sum(-1).sqrt()
    torch.testing.assert_close(nearness(new, old), -ways.amin(1))


def test_odds_are_the_ratio_of_the_densities():
    """Of N(1, 1) over N(0, 1) the logarithm is x - 1/2; a second number says nothing."""
    random = np.random.default_rng(0)
    new = torch.tensor(random.standard_normal((4000, 2)), dtype=torch.float32) + torch.tensor([1.0, 0.0])
    old = torch.tensor(random.standard_normal((9000, 2)), dtype=torch.float32)
    odds = log_odds(new, old, torch.Generator().manual_seed(0)).numpy()
    middle = np.abs(old.numpy()).max(1) < 1.5
    assert np.abs(odds - (old.numpy()[:, 0] - 0.5))[middle].mean() < 0.3
    again = log_odds(new, old, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_array_equal(again, odds)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12), st.integers(0, 99))
def test_a_window_has_the_mean_of_its_steps(lengths: list[int], window: int, seed: int):
    scores = np.random.default_rng(seed).standard_normal(sum(lengths))
    offsets = np.cumsum([0, *lengths])
    windows = over_windows(scores, offsets, window)
    for end in range(len(scores)):
        first = offsets[np.searchsorted(offsets, end, side="right") - 1]
        np.testing.assert_allclose(windows[end], scores[max(first, end - window + 1) : end + 1].mean(), atol=1e-9)


def test_the_best_share_is_never_empty():
    scores = np.array([0.1, 0.9, 0.9, -3.0, 0.5])
    assert best(scores, 0.4).tolist() == [1, 2]
    assert best(scores, 0.01).tolist() == [1]
    assert best(scores, 1.0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("score", ["nearest", "density"])
def test_windows_of_the_same_movement_are_retrieved(score: Any, tmp_path: Path):
    """Old demonstrations of three tasks, one of which is the new one under another name: it is recognised."""
    new, *_ = lessons(make_stores(tmp_path / "new", TASKS[:1], 5))
    old = make_stores(tmp_path / "old", TASKS[:3], 30)
    settings = dataclasses.replace(HALF, score=score, retrieved=0.2)
    method = load_method("t2s")(make_policy(), T2SSettings(), TRAIN, 0)
    rule = beside(method.begin(new), new, old, settings).rule
    assert isinstance(rule, Cotrain)
    ends = np.cumsum([store.steps for store in old])
    shares = np.bincount(np.searchsorted(ends, rule.windows.numbers, side="right"), rule.windows.weights, 3)
    assert abs(len(rule.windows.numbers) / ends[-1] - 0.2) < 0.01
    assert shares[0] > 0.6 > 0.2 > max(shares[1:])
    assert rule.windows.weights.max() <= 10.001 * rule.windows.weights.min()


def test_windows_are_drawn_by_their_weights(toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    source = Source(lesson, TRAIN)
    drawn = Retrieved(source, np.array([3, 8]), np.array([1.0, 3.0])).sample(4000, np.random.default_rng(0))
    third = source.at(np.array([3]), np.random.default_rng(0)).action
    assert abs((drawn.action == third).all(-1).all(-1).float().mean() - 0.25) < 0.03


def test_meta_worlds_steps_are_compared_from_the_hand():
    state = np.array([[0.1, 0.6, 0.2, 0.7]], np.float32)
    things = np.zeros((1, 17), np.float32)
    things[0, :3] = [0.16, 0.54, 0.2]
    suite = MetaWorld()
    numbers = suite.from_hand({STATE: state, ENVIRONMENT_STATE: things})
    np.testing.assert_allclose(numbers, [[1.0, -1.0, 0.0, 0.7]], atol=1e-5)
    far = {STATE: state + np.eye(1, 4) * 0.3, ENVIRONMENT_STATE: things + np.eye(1, 17) * 0.3}
    np.testing.assert_allclose(suite.from_hand(far), numbers, atol=1e-5)


# ------------------------------------------------ the rule


@pytest.mark.parametrize("settings", KINDS, ids=IDS)
def test_the_new_batch_stays_and_old_windows_come_behind_it_under_the_new_instruction(
    settings: Any, toy_stores: list[DemonstrationStore]
):
    plan = lessons(toy_stores[:2])
    method: Method = load_method(method_of(settings))(make_policy(), settings, TRAIN, 0)
    teach(method, plan[0])
    training = method.begin(plan[1])
    inner = training.rule
    rule = beside(training, plan[1], toy_stores[2:]).rule
    new = Source(plan[1], TRAIN).draw(np.random.default_rng(0))
    plain, both = inner.examples(new, now_at(0)), rule.examples(new, now_at(0))
    batch = TRAIN.batch
    assert both.parts == tuple(2 * size for size in plain.parts)
    for name, value in new.tensors().items():
        assert torch.equal(both.tensors()[name][:batch], value)
    known = {tuple(row) for row in plan[1].embeddings[0].tolist()}
    assert {tuple(row) for row in both.words[batch : 2 * batch].tolist()} <= known
    old = np.concatenate([np.asarray(store[STATE]) for store in toy_stores[2:]])
    for place in both.observation[STATE][batch : 2 * batch, -1].numpy():
        assert (old == place).all(-1).any()
    assert len(rule.examples(new, now_at(5)).words) == len(both)
    assert len(rule.examples(new, now_at(6)).words) == len(plain)  # the last quarter of 8 steps
    assert rule.passes == pytest.approx(inner.passes * 1.75)


def test_old_and_new_windows_weigh_the_same(toy_stores: list[DemonstrationStore]):
    plan, settings = lessons(toy_stores[:2]), dataclasses.replace(HALF, share=0.2)
    method = load_method("t2s")(make_policy(), T2SSettings(), TRAIN, 0)
    teach(method, plan[0])
    rule = beside(method.begin(plan[1]), plan[1], toy_stores[2:], settings).rule
    new = Source(plan[1], TRAIN).draw(np.random.default_rng(0))
    assert rule.examples(new, now_at(0)).parts == (10,)  # 8 new ones and a fifth of all


class Seen(Rule):
    """Notes the new batch of each step."""

    def __init__(self) -> None:
        self.batches: list[Examples] = []

    def examples(self, new: Examples, now: Now) -> Examples:
        self.batches.append(new)
        return new


def test_the_new_tasks_batches_and_their_noise_are_those_of_a_training_alone(toy_stores: list[DemonstrationStore]):
    loop = dataclasses.replace(TRAIN, iterations=6, observation_noise=0.1)
    plan, batches = lessons(toy_stores[:2]), []
    for together in (False, True):
        method = load_method("lora")(make_policy(), LoraSettings(), loop, 0)
        teach(method, plan[0], loop)
        training = method.begin(plan[1])
        training.rule = Seen()
        if together:
            beside(training, plan[1], toy_stores[2:], loop=loop)
        watched = training.rule.inner if isinstance(training.rule, Cotrain) else training.rule
        assert isinstance(watched, Seen)
        train(training, loop)
        batches.append(watched.batches)
    alone, beside_old = batches
    assert [len(batch) for batch in beside_old] == [16] * 4 + [8] * 2  # the last quarter of 6 steps, rounded
    for one, other in zip(alone, beside_old, strict=True):
        for name, value in one.tensors().items():
            assert torch.equal(other.tensors()[name][:8], value)


def test_nothing_is_drawn_where_the_share_is_too_small(toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    method = load_method("sequential")(make_policy(), SequentialSettings(), TRAIN, 0)
    for share in (0.0, 0.01):
        settings = dataclasses.replace(HALF, share=share)
        assert not isinstance(beside(method.begin(lesson), lesson, toy_stores[1:], settings).rule, Cotrain)


def test_the_same_arguments_give_the_same_windows(toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    method = load_method("sequential")(make_policy(), SequentialSettings(), TRAIN, 0)
    for score in ("nearest", "density", "any"):
        settings = dataclasses.replace(HALF, score=score)
        one, other = (beside(method.begin(lesson), lesson, toy_stores[1:], settings).rule for _ in range(2))
        assert isinstance(one, Cotrain)
        assert isinstance(other, Cotrain)
        np.testing.assert_array_equal(one.windows.numbers, other.windows.numbers)
        np.testing.assert_array_equal(one.windows.weights, other.windows.weights)


def test_chunks_are_relabelled_as_well(toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    lesson = dataclasses.replace(lesson, chunk=3)
    policy = make_policy(dataclasses.replace(make_policy().settings, chunk=3))
    method = load_method("sequential")(policy, SequentialSettings(), TRAIN, 0)
    training = beside(method.begin(lesson), lesson, toy_stores[1:])
    assert np.isfinite(train(training).loss).all()


# ------------------------------------------------ settings


@pytest.mark.parametrize(
    ("oracle", "said"),
    [
        (("hammer",), r"cotrain\.oracle 'hammer' names no tasks: write NEW:OLD"),
        (("hammer:",), "names no tasks"),
        (("hammer:a,,b",), "names no tasks"),
        (("hammer:a", "hammer:b"), r"cotrain\.oracle names 'hammer' twice"),
    ],
)
def test_an_oracle_that_cannot_be_read_is_refused(oracle: tuple[str, ...], said: str):
    with pytest.raises(SettingError, match=said):
        check_settings(CotrainSettings(oracle=oracle), "cotrain")


def test_an_oracle_names_tasks():
    settings = CotrainSettings(oracle=("push:push-back,sweep", "hammer:assembly"))
    assert settings.sources() == {"push": ("push-back", "sweep"), "hammer": ("assembly",)}


def test_pictures_alone_cannot_be_compared():
    with pytest.raises(SettingError, match=r'no.* vector.*set cotrain\.score to "any"'):
        scaled_numbers({})
