"""What binds a new skill to where it starts: the pull, the blend and the learned start, the same for every method that
keeps a policy for each skill."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import TRAIN, called, lessons, make_policy, observations, teach
from tests.toy import TASKS
from torch import Tensor

from skilltokens.configuration import check_settings, plain, plain_as_before
from skilltokens.demos import DemonstrationStore
from skilltokens.methods import load_method, method_of
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.examples import Source
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.psec import PsecSettings
from skilltokens.methods.rule import Now
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.start import StartSettings
from skilltokens.methods.start.held import Pulled
from skilltokens.methods.t2s import T2SSettings
from skilltokens.train import fit
from skilltokens.types import SettingError

KINDS: list[Any] = [T2SSettings(), T2SSettings(bend=0.5, gates=True), LoraSettings(), FullCopySettings()]
IDS = ["t2s", "t2s bend", "lora", "full_copy"]
LONGER = dataclasses.replace(TRAIN, iterations=8, weight_decay=0.01, observation_noise=0.05)


def method_for(settings: Any) -> SkillMethod:
    method = load_method(method_of(settings))(make_policy(), settings, LONGER, 0)
    assert isinstance(method, SkillMethod)
    return method


def own(method: SkillMethod, lesson: Lesson) -> dict[str, Tensor]:
    """The numbers that a lesson trains, where it begins."""
    training = method.begin(lesson)
    trained = {id(parameter) for parameter in training.parameters()}
    return {n: p.detach().clone() for n, p in training.policy.named_parameters() if id(p) in trained}


def kept(method: SkillMethod, lesson: Lesson, names: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers in the lesson's skill."""
    values = dict(method.entries[method.first_entry(lesson)].policy.named_parameters())
    return {name: values[name].detach().clone() for name in names}


def away(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(float((one[name] - other[name]).square().sum()) for name in one)


@pytest.mark.parametrize("settings", KINDS, ids=IDS)
def test_a_blend_is_between_the_start_and_what_was_learned(settings: Any, toy_stores: list[DemonstrationStore]):
    plan, results = lessons(toy_stores[:2]), dict[float, dict[str, Tensor]]()
    start: dict[str, Tensor] = {}
    for blend in (0.0, 0.3, 1.0):
        method = method_for(dataclasses.replace(settings, blend=blend))
        teach(method, plan[0], LONGER)
        start = own(method, plan[1])
        teach(method, plan[1], LONGER)
        results[blend] = kept(method, plan[1], start)
    assert away(results[1.0], start) > 0
    for name, value in start.items():
        assert torch.equal(results[0.0][name], value)
        assert torch.equal(results[0.3][name], value.lerp(results[1.0][name], 0.3))


@pytest.mark.parametrize("settings", KINDS, ids=IDS)
def test_a_curve_shows_the_blend_that_would_be_kept(settings: Any, toy_stores: list[DemonstrationStore]):
    method, plan = method_for(dataclasses.replace(settings, blend=0.4)), lessons(toy_stores[:2])
    seen = observations(toy_stores[1], 4)
    teach(method, plan[0], LONGER)
    training = method.begin(plan[1])
    before = called(method, plan[1], seen)
    shown = [called(method, plan[1], seen) for _ in fit(training, LONGER, 8, [0.0, 0.5, 1.0], 1)]
    np.testing.assert_array_equal(shown[0], before)
    assert not np.array_equal(shown[1], before)
    method.finish(plan[1])
    np.testing.assert_array_equal(called(method, plan[1], seen), shown[-1])


@pytest.mark.parametrize("settings", KINDS, ids=IDS)
def test_a_stronger_pull_keeps_a_skill_nearer_to_its_start(settings: Any, toy_stores: list[DemonstrationStore]):
    plan, ways = lessons(toy_stores[:2]), []
    for pull in (0.0, 0.1, 100.0):
        method = method_for(dataclasses.replace(settings, pull=pull))
        teach(method, plan[0], LONGER)
        start = own(method, plan[1])
        rule = teach(method, plan[1], LONGER).rule
        assert isinstance(rule, Pulled) == (pull > 0)
        ways.append(away(kept(method, plan[1], start), start))
    assert ways[0] > ways[1] > ways[2] > 0


def test_a_pull_adds_half_its_weight_times_the_squared_distance(toy_stores: list[DemonstrationStore]):
    method, plan = method_for(LoraSettings(pull=3.0)), lessons(toy_stores[:2])
    teach(method, plan[0], LONGER)
    training = method.begin(plan[1])
    new = Source(plan[1], LONGER).draw(np.random.default_rng(0))
    now = Now(0, 1, np.random.default_rng(0), np.random.default_rng(0))

    def pulled() -> float:
        with torch.no_grad():
            return float(training.rule.loss(torch.tensor(2.0), new, now))

    assert pulled() == 2.0
    with torch.no_grad():
        training.parameters()[0].view(-1)[0] += 2.0
    assert pulled() == pytest.approx(8.0)


@pytest.mark.parametrize("settings", KINDS, ids=IDS)
def test_a_learned_start_goes_a_step_towards_each_skill_and_no_old_skill_sees_it(
    settings: Any, toy_stores: list[DemonstrationStore]
):
    method = method_for(dataclasses.replace(settings, start="learned", start_step=0.25))
    plan, seen, before = lessons(toy_stores), observations(toy_stores[1], 4), None
    teach(method, plan[0], LONGER)
    for lesson in plan[1:3]:
        start = own(method, lesson)
        if before is not None:
            assert all(torch.equal(start[name], before[name]) for name in start)
        teach(method, lesson, LONGER)
        learned = kept(method, lesson, start)
        before = {name: start[name].lerp(learned[name], 0.25) for name in start}
    skills = sum(kept(method, lesson, before or {})[name].numel() for lesson in plan[1:3] for name in before or {})
    assert method.stored() == count(method.base) + skills + sum(value.numel() for value in (before or {}).values())
    actions = [called(method, lesson, seen) for lesson in plan[:3]]
    again = method_for(method.settings)
    again.restore({name: value.clone() for name, value in method.state().items()}, plan[:3])
    for one in (method, again):
        teach(one, plan[3], LONGER)
        for lesson, known in zip(plan, actions, strict=False):
            np.testing.assert_array_equal(called(one, lesson, seen), known)
    assert own(method, plan[3]).keys() == own(again, plan[3]).keys()
    np.testing.assert_array_equal(called(again, plan[3], seen), called(method, plan[3], seen))


def test_a_start_is_learned_where_it_is_asked_for_alone(toy_stores: list[DemonstrationStore]):
    method = method_for(T2SSettings())
    for lesson in lessons(toy_stores[:2]):
        teach(method, lesson)
    assert not [name for name in method.state() if name.startswith("start.")]


def test_a_learned_start_and_rows_of_each_skills_own_choice_are_not_mixed():
    for settings in (T2SSettings(fork=0.5), T2SSettings(reuse=1.0), T2SSettings(reuse_skills=1)):
        check_settings(settings, "method")
        with pytest.raises(SettingError, match=r"method\.start learned is one start for all skills.*method\.fork"):
            check_settings(dataclasses.replace(settings, start="learned"), "method")


def test_methods_without_these_settings_hold_nothing(toy_stores: list[DemonstrationStore]):
    method, plan = method_for(PsecSettings()), lessons(toy_stores[:2])
    teach(method, plan[0])
    assert not isinstance(method.begin(plan[1]).rule, Pulled)
    assert method.held is not None
    assert method.held.shown() is method.entries[1].policy


def test_seals_of_before_there_were_these_settings_stay():
    for settings in KINDS:
        assert isinstance(settings, StartSettings)
        assert plain(settings).keys() - plain_as_before(settings).keys() >= {"pull", "blend", "start_step", "otherwise"}
        assert "blend" in plain_as_before(dataclasses.replace(settings, blend=0.5))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [KINDS[0], KINDS[2], KINDS[3]], ids=["t2s", "lora", "full_copy"])
def test_interrupted_in_its_second_lesson_it_ends_with_the_same_bits(settings: Any, tmp_path: Path):
    changed = dataclasses.replace(settings, pull=0.05, blend=0.7, start="learned")
    tasks = tuple(task.name for task in TASKS)  # so that the third lesson and the fourth begin from a learned start
    check_interrupted(run_of(changed, tmp_path / "demos", tasks=tasks), tmp_path)
