"""LwF: what the policy of before did for old instructions is done on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import POLICY, TRAIN, act, called, changed, lessons, make_policy, numbers, observations, teach, train

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lifelong import learn
from skilltokens.methods.base import Training
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.lwf import LwFSettings
from skilltokens.methods.lwf.method import Distil, LwF
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.skill import Skill
from skilltokens.types import Scale

DECAYING = dataclasses.replace(TRAIN, iterations=8, first_iterations=8, weight_decay=0.01, observation_noise=0.05)
LONG = dataclasses.replace(DECAYING, iterations=30)
What = Literal["actions", "features"]
KINDS: tuple[What, ...] = ("actions", "features")


def build(policy: Policy | None = None, train: TrainSettings = DECAYING, **changes: Any) -> LwF:
    return LwF(policy or make_policy(), LwFSettings(**changes), train, 0)


def distance(rule: Rule, examples: Examples) -> float:
    """What a rule adds to a loss of 0."""
    now = Now(0, 8, np.random.default_rng(0), np.random.default_rng(0))
    return float(rule.loss(torch.zeros(()), examples, now).detach())


# ------------------------------------------------ known answers


@pytest.mark.parametrize("what", KINDS)
def test_a_weight_of_0_is_fine_tuning_bit_for_bit(what: What, toy_stores: list[DemonstrationStore]):
    plain, rival = Sequential(make_policy(), SequentialSettings(), DECAYING, 0), build(weight=0.0, what=what)
    heavy = build(weight=1.0, what=what)
    for lesson in lessons(toy_stores[:3]):
        for method in (plain, rival, heavy):
            teach(method, lesson, DECAYING)
    assert not changed(numbers(plain.base), rival.base)
    assert changed(numbers(plain.base), heavy.base)


def test_old_instructions_are_answered_as_before(toy_stores: list[DemonstrationStore]):
    plan, seen, ways = lessons(toy_stores[:2]), observations(toy_stores[1], 4), []
    for weight in (0.0, 30.0):
        method = build(train=LONG, weight=weight)
        teach(method, plan[0], DECAYING)
        before = called(method, plan[0], seen)
        teach(method, plan[1], LONG)
        ways.append(float(np.square(called(method, plan[0], seen) - before).mean()))
    assert ways[1] < 0.3 * ways[0]


def test_features_for_old_instructions_stay_where_they_were(toy_stores: list[DemonstrationStore]):
    plan, ways = lessons(toy_stores[:2]), []
    examples = Source(plan[1], DECAYING).draw(np.random.default_rng(0))
    for weight in (0.0, 30.0):
        method = build(train=LONG, weight=weight, what="features")
        teach(method, plan[0], DECAYING)
        measure = Distil(method.base, [*method.kept.values()], LwFSettings(what="features"), DECAYING)
        teach(method, plan[1], LONG)
        ways.append(distance(measure, examples))
    assert 0 < ways[1] < 0.3 * ways[0]


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_the_policy_of_before_is_at_no_distance_from_itself(
    what: What, chunk: int, toy_stores: list[DemonstrationStore]
):
    """In the robot's own units and with several actions ahead too, where an action is clipped and scaled on its way."""
    plain = make_policy(dataclasses.replace(POLICY, chunk=chunk))
    policy = Policy(dataclasses.replace(plain.shape, action=Scale((30.0, -5.0), (10.0, 2.0))), plain.settings)
    method = build(policy, what=what)
    first, second = (dataclasses.replace(lesson, chunk=chunk) for lesson in lessons(toy_stores[:2]))
    teach(method, first, DECAYING)
    rule = method.begin(second).rule
    examples = Source(second, DECAYING).draw(np.random.default_rng(0))
    assert distance(rule, examples) < 1e-10  # but for rounding: the teacher computes without gradients
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    assert distance(rule, examples) > 1e-4


def test_it_is_the_old_instruction_that_is_given(toy_stores: list[DemonstrationStore]):
    """By hand: the mean over steps of the squared difference of the two policies' actions for the old sentence."""
    method, plan = build(), lessons(toy_stores[2:4])
    teach(method, plan[0], DECAYING)
    old = torch.from_numpy(plan[0].embeddings[0][:1])
    method.kept = {"words.between": old}
    teacher, rule = make_policy(), method.begin(plan[1]).rule
    teacher.load_state_dict(method.base.state_dict())
    train(Training(method.base, [{"params": list(method.base.parameters()), "lr": 1e-2}], [plan[1]]), DECAYING)
    examples = Source(plan[1], DECAYING).draw(np.random.default_rng(0))
    given = examples.observation, old.expand(len(examples), -1), examples.mask
    way = (method.base.head(method.base(*given)) - teacher.head(teacher(*given))).square().mean(-1)
    expected = float(way.detach()[examples.mask].mean())
    assert distance(rule, examples) == pytest.approx(expected, rel=1e-4)
    assert expected > 0


# ------------------------------------------------ which instructions are old


def test_a_task_that_comes_back_is_not_an_old_one(toy_stores: list[DemonstrationStore]):
    method, plan = build(), lessons(toy_stores[:2])
    teach(method, plan[0], DECAYING)
    again = dataclasses.replace(plan[0], index=1, first=1)
    assert type(method.begin(again).rule) is Rule
    teach(method, plan[1], DECAYING)
    rule = method.begin(dataclasses.replace(plan[0], index=2, first=2)).rule
    assert isinstance(rule, Distil)
    assert [vectors.tolist() for vectors in rule.old] == [plan[1].embeddings[0].tolist()]


def test_every_old_task_and_wording_is_asked_for(toy_stores: list[DemonstrationStore]):
    method, plan = build(), lessons(toy_stores[:3])
    for lesson in plan[:2]:
        teach(method, lesson, DECAYING)
    rule = method.begin(plan[2]).rule
    assert isinstance(rule, Distil)
    asked = {tuple(row.tolist()) for row in rule._words(400, np.random.default_rng(0))}
    assert asked == {tuple(row) for lesson in plan[:2] for row in lesson.embeddings[0].tolist()}
    assert rule.passes == pytest.approx(7 / 3)


def test_from_a_library_its_bases_own_skills_are_held(toy_stores: list[DemonstrationStore]):
    (lesson, new), seen = lessons(toy_stores[:2]), observations(toy_stores[1], 4)
    own = Skill(lesson.names[0], lesson.wordings[0], lesson.embeddings[0])
    head = {"head.map.bias": torch.zeros(2)}
    other = Skill("other", ("do another thing",), lesson.embeddings[0][:1], head)
    ways: list[float] = []
    for weight in (0.0, 30.0):
        method, base = build(train=LONG, weight=weight), make_policy(seed=3)
        method.adopt(base, [own, other])
        assert list(method.kept) == ["words.reach-red"]
        teach(method, dataclasses.replace(new, index=0, first=0), LONG)
        before = act(base, lesson.embeddings[0][0], seen)
        ways.append(float(np.square(called(method, lesson, seen) - before).mean()))
    assert ways[1] < 0.3 * ways[0]


# ------------------------------------------------ runs


@pytest.mark.slow
@pytest.mark.parametrize("what", KINDS)
def test_interrupted_in_its_second_lesson_it_ends_with_the_same_bits(what: What, toy_demos: str, tmp_path: Path):
    check_interrupted(run_of(LwFSettings(what=what), toy_demos), tmp_path)


def test_what_a_step_costs_is_recorded(toy_demos: str, tmp_path: Path):
    record = learn(run_of(LwFSettings(), toy_demos, tasks=("reach-red", "reach-blue")), tmp_path / "run")
    assert record.passes == pytest.approx([1, 7 / 3])
    assert record.remembered == []
