"""Weight merging and the slow learner: what they are at their ends, and in between."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import TRAIN, called, changed, lessons, make_policy, numbers, observations, teach

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Method
from skilltokens.methods.merge import MergeSettings
from skilltokens.methods.merge.method import Merge
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.methods.slow_learner import SlowLearnerSettings
from skilltokens.methods.slow_learner.method import SlowLearner
from skilltokens.train import fit

DECAYING = dataclasses.replace(TRAIN, iterations=8, first_iterations=8, weight_decay=0.01, observation_noise=0.05)


def plain() -> Sequential:
    return Sequential(make_policy(), SequentialSettings(), DECAYING, 0)


def merging(share: float) -> Merge:
    return Merge(make_policy(), MergeSettings(share=share), DECAYING, 0)


def slow(**changes: Any) -> SlowLearner:
    return SlowLearner(make_policy(), SlowLearnerSettings(**changes), DECAYING, 0)


def both_taught(one: Method, other: Method, stores: list[DemonstrationStore]) -> list[str]:
    """What differs after three lessons."""
    for lesson in lessons(stores[:3]):
        for method in (one, other):
            teach(method, lesson, DECAYING)
    return changed(numbers(one.base), other.base)


# ------------------------------------------------ weight merging


def test_all_of_the_new_is_fine_tuning_bit_for_bit(toy_stores: list[DemonstrationStore]):
    assert not both_taught(plain(), merging(1.0), toy_stores)
    assert both_taught(plain(), merging(0.5), toy_stores)


def test_nothing_of_the_new_is_the_model_of_the_first_task(toy_stores: list[DemonstrationStore]):
    method, plan = merging(0.0), lessons(toy_stores[:3])
    teach(method, plan[0], DECAYING)
    first = numbers(method.base)
    for lesson in plan[1:]:
        teach(method, lesson, DECAYING)
    assert not changed(first, method.base)


def test_a_share_is_between_before_and_after(toy_stores: list[DemonstrationStore]):
    method, tuned, plan = merging(0.25), plain(), lessons(toy_stores[:2])
    for one in (method, tuned):
        teach(one, plan[0], DECAYING)
    before = numbers(method.base)
    for one in (method, tuned):
        teach(one, plan[1], DECAYING)
    after = numbers(tuned.base)
    for name, value in numbers(method.base).items():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * after[name])


def test_a_curve_shows_what_would_be_kept(toy_stores: list[DemonstrationStore]):
    method, plan, seen = merging(0.3), lessons(toy_stores[:2]), observations(toy_stores[1], 4)
    teach(method, plan[0], DECAYING)
    before, first = called(method, plan[1], seen), numbers(method.base)
    training, shown = method.begin(plan[1]), first
    for point in fit(training, DECAYING, 8, [0.0, 0.5, 1.0], 1):
        shown, tuned = numbers(method.choose(plan[1].embeddings[0][0]).policy), numbers(method.base)
        for name, value in shown.items():
            torch.testing.assert_close(value, 0.7 * first[name] + 0.3 * tuned[name])
        if point.step == 0:
            np.testing.assert_array_equal(called(method, plan[1], seen), before)
    method.finish(plan[1])
    assert not changed(shown, method.base)
    assert method.choose(plan[1].embeddings[0][0]).policy is method.base


def test_from_a_library_the_first_lesson_is_merged_with_its_base(toy_stores: list[DemonstrationStore]):
    method, base, (lesson,) = merging(0.0), make_policy(seed=3), lessons(toy_stores[:1])
    method.adopt(base, [])
    teach(method, lesson, DECAYING)
    assert not changed(numbers(base), method.base)


# ------------------------------------------------ slow learner


@pytest.mark.parametrize("fast_encoders", [True, False])
def test_with_equal_rates_the_slow_learner_fine_tunes_bit_for_bit(
    fast_encoders: bool, toy_stores: list[DemonstrationStore]
):
    assert not both_taught(plain(), slow(trunk=1.0, fast_encoders=fast_encoders), toy_stores)
    assert both_taught(plain(), slow(trunk=0.1, fast_encoders=fast_encoders), toy_stores)


@pytest.mark.parametrize("fast_encoders", [True, False])
def test_the_trunk_is_slow_from_the_second_lesson_on(fast_encoders: bool, toy_stores: list[DemonstrationStore]):
    method, plan = slow(rate=1e-2, trunk=0.05, fast_encoders=fast_encoders), lessons(toy_stores[:2])
    names = {id(parameter): name for name, parameter in method.base.named_parameters()}
    (first,) = method.begin(plan[0]).groups
    assert first["lr"] == DECAYING.rate
    teach(method, plan[0], DECAYING)
    fast = ("head.", "encoders.") if fast_encoders else ("head.",)
    trained: list[str] = []
    for group in method.begin(plan[1]).groups:
        group_names = [names[id(parameter)] for parameter in group["params"]]
        assert {name.startswith(fast) for name in group_names} == {group["lr"] > 1e-3}
        assert group["lr"] == pytest.approx(1e-2 if group_names[0].startswith(fast) else 5e-4)
        trained += group_names
    assert trained == list(dict(method.base.named_parameters()))  # all, and in their own order
    before = numbers(method.base)
    teach(method, plan[1], DECAYING)
    ways = {name: float((value - before[name]).abs().mean()) for name, value in numbers(method.base).items()}
    assert ways["head.map.bias"] > 4 * ways["layers.0.ffn.key"] > 0


# ------------------------------------------------ runs


@pytest.mark.slow
@pytest.mark.parametrize("method", [MergeSettings(share=0.4), SlowLearnerSettings()], ids=["merge", "slow_learner"])
def test_interrupted_in_its_second_lesson_it_ends_with_the_same_bits(method: Any, toy_demos: str, tmp_path: Path):
    check_interrupted(run_of(method, toy_demos), tmp_path)
