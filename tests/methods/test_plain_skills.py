"""The plainest ways to a skill: a full copy, an own head alone, the nearest skill, the untrained policy, the expert."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import (
    TRAIN,
    act,
    called,
    changed,
    lessons,
    make_policy,
    numbers,
    observations,
    teach,
)  # fmt: skip
from tests.toy import TASKS, Toy, ToyExpert

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import load_method, method_of
from skilltokens.methods.base import count
from skilltokens.methods.expert import ExpertSettings
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.head_only import HeadOnlySettings
from skilltokens.methods.nearest import NearestSettings
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.untrained import UntrainedSettings
from skilltokens.methods.untrained.method import Untrained
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings
from skilltokens.simulation.driven import Driven, Passenger
from skilltokens.simulation.rollout import evaluate
from skilltokens.skills.assembling import own_modules
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.train import fit
from skilltokens.types import SettingError

TRAINED: dict[str, Any] = {
    "full copy": FullCopySettings(),
    "full copy of the nearest": FullCopySettings(start="nearest", near=-1.0),
    "head only": HeadOnlySettings(),
    "head and encoders": HeadOnlySettings(own_encoders=True),
}
each = pytest.mark.parametrize("settings", TRAINED.values(), ids=list(TRAINED))


def make(settings: Any, policy: Policy | None = None) -> SkillMethod:
    method = load_method(method_of(settings))(policy or make_policy(), settings, TRAIN, 0)
    assert isinstance(method, SkillMethod)
    return method


@each
def test_old_skills_keep_every_bit_and_a_state_brings_all_back(settings: Any, toy_stores: list[DemonstrationStore]):
    method, plan, seen = make(settings), lessons(toy_stores[:3]), observations(toy_stores[0], 6)
    learned = []
    for lesson in plan:
        teach(method, lesson)
        learned.append(called(method, lesson, seen))
        for earlier, actions in zip(plan, learned, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
    assert len({actions.tobytes() for actions in learned}) == 3
    again = make(settings, make_policy(seed=5))
    again.restore({name: tensor.clone() for name, tensor in method.state().items()}, plan)
    for lesson, actions in zip(plan, learned, strict=True):
        np.testing.assert_array_equal(called(again, lesson, seen), actions)
    assert again.stored() == method.stored()


@each
def test_frozen_parameters_are_in_no_group_and_keep_every_bit(settings: Any, toy_stores: list[DemonstrationStore]):
    method, plan = make(settings), lessons(toy_stores[:3])
    teach(method, plan[0])
    teach(method, plan[1])
    old = {id(p) for entry in method.entries for p in entry.policy.parameters()}
    before = [numbers(entry.policy) for entry in method.entries]
    training = method.begin(plan[2])
    assert not old & {id(parameter) for parameter in training.parameters()}
    assert not any(p.requires_grad for entry in method.entries[:2] for p in entry.policy.parameters())
    teach(method, plan[2])
    for entry, then in zip(method.entries[:2], before, strict=True):
        assert not changed(then, entry.policy)


@each
def test_a_new_skill_begins_as_what_it_copies(settings: Any, toy_stores: list[DemonstrationStore]):
    method, plan, seen = make(settings), lessons(toy_stores[:3]), observations(toy_stores[0], 6)
    for lesson in plan[:2]:
        teach(method, lesson)
    embedding = plan[2].embeddings[0][0]
    source = method.base
    if settings == FullCopySettings(start="nearest", near=-1.0):
        source = method.entries[method.nearest(embedding, 2, -1.0)].policy
    policy = method.begin(plan[2]).policy
    np.testing.assert_array_equal(act(policy, embedding, seen), act(source, embedding, seen))


def test_a_full_copy_trains_all_and_is_stored_whole(toy_stores: list[DemonstrationStore]):
    method, plan = make(FullCopySettings()), lessons(toy_stores[:3])
    for lesson in plan:
        assert method.begin(lesson).groups[0]["lr"] == (TRAIN.rate if lesson.index == 0 else FullCopySettings().rate)
        assert sum(p.numel() for p in teach(method, lesson).parameters()) == count(method.base)
    assert method.stored() == 3 * count(method.base)


def test_a_full_copy_begins_from_the_base_where_the_nearest_skill_has_another_form(
    toy_stores: list[DemonstrationStore],
):
    from tests.small import EVERYWHERE, make_method

    rows, plan = make_method(EVERYWHERE), lessons(toy_stores[:3])
    for lesson in plan[:2]:
        teach(rows, lesson)
    method = make(FullCopySettings(start="nearest", near=2.0))
    method.adopt(*rows.library(plan[:2]))
    (lesson,) = lessons(toy_stores[2:3])
    policy = method.begin(lesson).policy
    assert not changed(numbers(rows.base), policy)


@pytest.mark.parametrize("encoders", [False, True])
def test_a_head_alone_is_all_that_is_trained(encoders: bool, toy_stores: list[DemonstrationStore]):
    method, plan = make(HeadOnlySettings(own_encoders=encoders)), lessons(toy_stores[:2])
    teach(method, plan[0])
    training = teach(method, plan[1])
    own = sum(count(method.base.get_submodule(path)) for path in own_modules(method.base) if encoders or path == "head")
    assert sum(p.numel() for p in training.parameters()) == own
    assert method.stored() == count(method.base) + own
    different = {n for n, t in training.policy.state_dict().items() if not torch.equal(t, method.base.state_dict()[n])}
    assert different
    assert all(name.startswith(("head.", "encoders.") if encoders else "head.") for name in different)


# ------------------------------------------------ without training


def test_a_training_without_parameters_writes_its_loss_down_and_changes_nothing(toy_stores: list[DemonstrationStore]):
    method, (lesson,) = Untrained(make_policy(), UntrainedSettings(), TRAIN, 0), lessons(toy_stores[:1])
    before = numbers(method.base)
    settings = dataclasses.replace(TRAIN, log_every=10, iterations=20)
    training = method.begin(lesson)
    states = {point.progress: point.state() for point in fit(training, settings, 20, [0.0, 0.5, 1.0], 0)}
    assert list(states) == [0.0, 0.5, 1.0]
    assert not changed(before, method.base)
    record = states[1.0][1]["record"]
    assert record["iterations"] == [0, 10, 19]
    assert all(loss > 0 for loss in record["loss"])
    resumed = list(fit(method.begin(lesson), settings, 20, [0.0, 0.5, 1.0], 0, start=states[0.5]))
    assert [point.progress for point in resumed] == [1.0]
    assert resumed[0].state()[1] == states[1.0][1]


def test_the_untrained_policy_serves_all_instructions(toy_stores: list[DemonstrationStore]):
    method, plan = Untrained(make_policy(), UntrainedSettings(), TRAIN, 0), lessons(toy_stores[:3])
    before = numbers(method.base)
    for lesson in plan:
        assert teach(method, lesson).parameters() == []
    choices = [method.choose(lesson.embeddings[0][0]) for lesson in plan]
    assert all(choice.policy is method.base and choice.skill is None for choice in choices)
    assert not changed(before, method.base)


def test_a_new_task_is_acted_by_the_nearest_skill_with_that_skills_instruction(toy_stores: list[DemonstrationStore]):
    from tests.small import EVERYWHERE, make_method

    known, plan = make_method(EVERYWHERE), lessons(toy_stores)
    for lesson in plan[:3]:
        teach(known, lesson)
    seen = observations(toy_stores[3], 6)
    method = make(NearestSettings())
    method.adopt(*known.library(plan[:3]))
    (lesson,) = lessons(toy_stores[3:])
    assert teach(method, lesson).parameters() == []
    number = known.nearest(lesson.embeddings[0][0], 3, -1.0)
    np.testing.assert_array_equal(called(method, lesson, seen), called(known, plan[number], seen))
    assert method.choose(lesson.embeddings[0][0]).skill == 0
    assert method.stored() == known.stored()
    (skill,) = method.library([lesson])[1]
    assert (skill.name, skill.identity) == ("avoid-red", known.library(plan[:3])[1][number].identity)


def test_from_nothing_the_first_task_is_learned_and_acts_for_all(toy_stores: list[DemonstrationStore]):
    method, plan, seen = make(NearestSettings()), lessons(toy_stores[:3]), observations(toy_stores[0], 6)
    assert sum(p.numel() for p in teach(method, plan[0]).parameters()) == count(method.base)
    learned = called(method, plan[0], seen)
    for lesson in plan[1:]:
        assert teach(method, lesson).parameters() == []
        np.testing.assert_array_equal(called(method, lesson, seen), learned)
    assert method.stored() == count(method.base)


# ------------------------------------------------ the expert


def test_the_expert_acts_whatever_it_is_given_on_the_same_states():
    toy = Toy()
    outcomes = evaluate(Passenger(toy), Driven(toy), TASKS[0], "test", range(6), group=4)
    expected = evaluate(ToyExpert(TASKS[0]), toy, TASKS[0], "test", range(6), group=4)
    assert outcomes == expected
    assert all(outcome.success for outcome in outcomes)
    still = evaluate(Passenger(toy), toy, TASKS[0], "test", range(6), group=4)
    assert not any(outcome.success for outcome in still)


def test_a_run_of_the_expert_records_its_successes_and_leaves_no_library(tmp_path: Path):
    settings: RunSettings[Any] = RunSettings(
        method=ExpertSettings(),
        suite="tests.toy:Toy",
        tasks=("reach-red", "between"),
        policy=PolicySettings(width=16, layers=1),
        train=TRAIN,
        evaluate=EvaluateSettings(episodes=4, group=2, points=2, variants=("tests.toy:paraphrased",)),
        demonstrations=DemonstrationSettings(episodes=3, folder=str(tmp_path / "demos")),
    )
    record = learn(settings, tmp_path / "run")
    assert {(cell.successes, cell.outcomes, cell.policy) for cell in record.cells} == {(4, "1111", "")}
    assert [cell.same_as is None for cell in record.cells].count(True) == 2  # each task once
    assert [variant.successes for variant in record.variants] == [4, 4]
    assert record.parameters.trained == record.parameters.total == [0, 0]
    assert not (tmp_path / "run" / "library").exists()


def test_a_suite_without_an_expert_is_refused_in_one_sentence():
    class Lone(Toy):
        expert_in = None  # pyright: ignore[reportAssignmentType]

    settings: RunSettings[Any] = RunSettings(method=ExpertSettings(), suite="tests.toy:Toy")
    with pytest.raises(SettingError, match="suite 'toy' has no scripted expert") as refusal:
        check_run(settings, Lone())
    assert "\n" not in str(refusal.value)
    check_run(settings, Toy())


@pytest.mark.slow
def test_meta_worlds_expert_acts_on_test_states():
    suite = MetaWorld()
    task = next(task for task in suite.tasks if task.name == "window-close")
    outcomes = evaluate(Passenger(suite), Driven(suite), task, "test", range(3), group=3)
    assert all(outcome.success and outcome.steps < 200 for outcome in outcomes)
