"""Scenes moved aside while training: what moves, what stays, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.small import TRAIN, lessons, make_policy

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.examples import Source
from skilltokens.methods.gradients import Judged
from skilltokens.methods.shift import moved_in, places_of, shifted
from skilltokens.suites import load_suite
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Feature, SettingError

SHIFTED = dataclasses.replace(TRAIN, shift=0.05)
FEATURES = {STATE: Feature((4,)), "observation.things": Feature((2, 5)), "observation.word": Feature((1,))}
SEEN = {**FEATURES, ACTION: Feature((4,))}


def windows(batch: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(batch, steps, *f.shape)).astype(np.float32) for name, f in SEEN.items()}


@given(st.integers(1, 5), st.integers(1, 4), st.floats(0.001, 1), st.integers(0, 9))
def test_places_of_a_window_move_together_and_the_rest_stays(batch: int, steps: int, reach: float, seed: int):
    before = windows(batch, steps, seed)
    before["observation.things"][:, :, 1] = 0  # a slot with nothing in it
    kept = {name: value.copy() for name, value in before.items()}
    places = {STATE: (0,), "observation.things": (1,)}
    after = shifted(before, places, reach, np.random.default_rng(seed))
    moves = after[STATE] - before[STATE]
    assert np.abs(moves).max() <= reach + 1e-6
    np.testing.assert_allclose(moves, np.broadcast_to(moves[:, :1], moves.shape), atol=1e-5)
    assert (moves[..., 2:] == 0).all()
    thing = after["observation.things"] - before["observation.things"]
    np.testing.assert_allclose(thing[:, :, 0, 1:3], moves[..., :2], atol=1e-5)
    assert (thing[:, :, 0, [0, 3, 4]] == 0).all()
    assert (thing[:, :, 1] == 0).all()
    for name in (ACTION, "observation.word"):
        assert after[name] is before[name]
    assert all((before[name] == kept[name]).all() for name in before), "the caller's own windows moved"


def test_windows_move_apart_from_each_other_over_the_whole_reach():
    before = windows(4000, 1, 0)
    moves = (shifted(before, {STATE: (0,)}, 0.05, np.random.default_rng(1))[STATE] - before[STATE])[:, 0, :2]
    np.testing.assert_allclose(
        np.quantile(moves, [0, 0.25, 0.5, 0.75, 1], 0).T, [[-0.05, -0.025, 0, 0.025, 0.05]] * 2, atol=3e-3
    )
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.05


def test_training_sees_moved_scenes_and_judging_does_not(toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    lesson = dataclasses.replace(lesson, places={STATE: (0,)})
    plain, moved = (Source(lesson, train).draw(np.random.default_rng(0)) for train in (TRAIN, SHIFTED))
    assert torch.equal(plain.action, moved.action)
    aside = (moved.observation[STATE] - plain.observation[STATE])[..., :2].abs()
    assert 0.01 < aside.max() <= 0.05 + 1e-6
    policy = make_policy()
    groups = [list(Judged(policy, lesson, train, 0).batches()) for train in (TRAIN, SHIFTED)]
    for one, other in zip(*groups, strict=True):
        assert torch.equal(one.observation[STATE], other.observation[STATE])


@pytest.mark.parametrize("places", [{}, {STATE: (0,)}])
def test_without_a_shift_nothing_is_drawn(places: Any, toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    plain = Source(lesson, TRAIN).draw(one)
    same = Source(dataclasses.replace(lesson, places=places), TRAIN).draw(other)
    assert torch.equal(plain.observation[STATE], same.observation[STATE])
    assert one.random() == other.random()


def test_the_settings_name_places_before_the_suite_does():
    declared = {"observation.things": (1,)}
    assert places_of(SHIFTED, SEEN, declared, "it") == declared
    assert places_of(dataclasses.replace(SHIFTED, places=(f"{STATE}:0,2",)), SEEN, declared, "it") == {STATE: (0, 2)}
    several = dataclasses.replace(SHIFTED, places=(f"{STATE}:2", f"{STATE}:0,2"))
    assert places_of(several, SEEN, declared, "it") == {STATE: (0, 2)}
    assert places_of(TRAIN, SEEN, declared, "it") == {}


def test_half_of_what_a_suite_declares_does_not_move_alone():
    with pytest.raises(SettingError, match="it does not say which of its numbers are places"):
        places_of(SHIFTED, SEEN, {STATE: (0,), "observation.goal": (0,)}, "it")


@pytest.mark.parametrize(
    ("changes", "features", "said"),
    [
        ({}, SEEN, "it does not say which of its numbers are places. Name them by train.places"),
        ({"places": ("observation.hand:0",)}, SEEN, "'observation.hand:0' names no numbers that it sees"),
        ({"places": ("action:0",)}, SEEN, "'action:0' names no numbers"),
        ({"places": (STATE,)}, SEEN, "names no numbers"),
        ({"places": (f"{STATE}:3",)}, SEEN, "whole numbers from 0 to 2, such as observation.state:0"),
        ({"places": (f"{STATE}:-1",)}, SEEN, "whole numbers from 0 to 2"),
        ({"places": (f"{STATE}:",)}, SEEN, "whole numbers from 0 to 2"),
        (
            {"places": (f"{STATE}:0",)},
            {**SEEN, "observation.images.top": Feature((64, 64, 3), "uint8")},
            "has pictures",
        ),
    ],
)
def test_what_cannot_move_is_refused(changes: dict[str, Any], features: dict[str, Feature], said: str):
    with pytest.raises(SettingError, match=said) as refused:
        places_of(dataclasses.replace(SHIFTED, **changes), features, None, "it")
    assert "\n" not in str(refused.value)


def test_wrong_places_are_refused_even_where_nothing_moves():
    with pytest.raises(SettingError, match="names no numbers"):
        places_of(dataclasses.replace(TRAIN, places=("observation.hand:0",)), SEEN, None, "it")


@pytest.mark.parametrize("name", ["metaworld", "libero-goal"])
def test_a_suite_says_where_its_places_are(name: str):
    """What a hand's offset to a thing is does not change: it is what all suites' actions depend on."""
    suite = load_suite(name)
    places = moved_in(SHIFTED, suite)
    rng = np.random.default_rng(0)
    seen = {n: rng.normal(size=(3, 1, *f.shape)).astype(np.float32) for n, f in suite.features.items() if n != ACTION}
    moved = shifted(seen, places, 0.05, np.random.default_rng(1))
    for n, value in moved.items():
        assert (value != seen[n]).any()
    if name == "metaworld":
        one, other = ({n: value[:, 0] for n, value in view.items()} for view in (seen, moved))
        np.testing.assert_allclose(suite.from_hand(one), suite.from_hand(other), atol=1e-4)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        aside = (moved[ENVIRONMENT_STATE] - seen[ENVIRONMENT_STATE])[..., 1:3]
        np.testing.assert_allclose(
            aside, np.broadcast_to((moved[STATE] - seen[STATE])[:, :, None, :2], aside.shape), atol=1e-5
        )


def test_pictures_of_a_suite_are_refused():
    with pytest.raises(SettingError, match="suite 'libero-goal-images' has pictures"):
        moved_in(SHIFTED, load_suite("libero-goal-images"))
