"""The rivals of the package: each runs by its name, is interrupted and resumes bit for bit, and is not fine-tuning."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import TRAIN, called, changed, lessons, make_policy, numbers, observations, teach

from skilltokens import methods
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lifelong import learn
from skilltokens.methods.agem import AGEMSettings
from skilltokens.methods.base import Method
from skilltokens.methods.er import ERSettings
from skilltokens.methods.er.method import Replay
from skilltokens.methods.ewc import EWCSettings
from skilltokens.methods.examples import Examples
from skilltokens.methods.l2 import L2Settings
from skilltokens.methods.rule import Now
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.tensors import check_like
from skilltokens.types import RuleError

RIVALS: dict[str, Any] = {
    "er": ERSettings(windows=20),
    "er phases": ERSettings(windows=20, keep="phases"),
    "agem": AGEMSettings(windows=20),
    "l2": L2Settings(),
    "ewc": EWCSettings(samples=10),
    "ewc per task": EWCSettings(samples=10, form="per-task"),
}
"""Each in a small form."""
DECAYING = dataclasses.replace(TRAIN, iterations=8, first_iterations=8, weight_decay=0.01, observation_noise=0.05)


def build(name: str, seed: int = 0) -> Method:
    """A rival before its first lesson; `seed` draws its policy."""
    return methods.load_method(methods.method_of(RIVALS[name]))(make_policy(seed=seed), RIVALS[name], DECAYING, 0)


@pytest.mark.parametrize("name", RIVALS)
def test_interrupted_in_its_second_lesson_it_ends_with_the_same_bits(name: str, toy_demos: str, tmp_path: Path):
    check_interrupted(run_of(RIVALS[name], toy_demos), tmp_path)


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_not_fine_tuning(name: str, toy_stores: list[DemonstrationStore]):
    plain, rival = Sequential(make_policy(), SequentialSettings(), DECAYING, 0), build(name)
    for lesson in lessons(toy_stores[:2]):
        teach(plain, lesson, DECAYING)
        teach(rival, lesson, DECAYING)
    assert changed(numbers(plain.base), rival.choose(lessons(toy_stores[:2])[1].embeddings[0][0]).policy)


@pytest.mark.parametrize("name", RIVALS)
def test_state_and_restore_keep_every_bit(name: str, toy_stores: list[DemonstrationStore]):
    plan, seen = lessons(toy_stores[:3]), observations(toy_stores[0], 4)
    method, again = build(name), build(name, seed=5)
    for lesson in plan[:2]:
        teach(method, lesson, DECAYING)
    state = {key: method.state()[key].clone() for key in sorted(method.state())}  # as a file gives them back
    again.restore(state, plan[:2])
    check_like(state, again.state(), "the state")
    assert all(torch.equal(state[key], value) for key, value in again.state().items())
    assert (again.stored(), again.remembered()) == (method.stored(), method.remembered())
    for one in (method, again):
        teach(one, plan[2], DECAYING)
    for lesson in plan:
        np.testing.assert_array_equal(called(again, lesson, seen), called(method, lesson, seen))


@pytest.mark.parametrize(("broken_from", "left"), [(0, False), (8, True)])
def test_a_rule_at_fault_leaves_no_run_of_which_nothing_is_learned(
    broken_from: int, left: bool, toy_demos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def halved(_: Any, new: Examples, now: Now) -> Examples:
        return new if now.step < broken_from else dataclasses.replace(new, words=new.words[:4])

    monkeypatch.setattr(Sequential, "rule", lambda *_: Replay.__new__(Replay))
    monkeypatch.setattr(Replay, "examples", halved)
    with pytest.raises(RuleError, match="the rule Replay returned examples"):
        learn(run_of(SequentialSettings(), toy_demos), tmp_path / "run")
    assert (tmp_path / "run").exists() == left
