"""The registry, and the methods that are compared with: what forgets, what does not, what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import (
    SKILL_METHODS,
    TRAIN,
    called,
    changed,
    lessons,
    make_method,
    make_policy,
    numbers,
    observations,
    teach,
)  # fmt: skip

from skilltokens import methods
from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Method, count
from skilltokens.methods.ewc import EWCSettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.multitask.method import Multitask
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.methods.single_task import SingleTaskSettings
from skilltokens.methods.single_task.method import SingleTask
from skilltokens.methods.t2s import T2SSettings  # fmt: skip
from skilltokens.types import SettingError


def test_every_method_is_found_by_its_name():
    for name in methods.method_names():
        kind = methods.load_method(name)
        assert issubclass(kind, Method)
        assert methods.method_of(methods.method_settings(name)()) == name
        assert methods.METHODS[name].summary


def test_unknown_methods_are_named_with_the_nearest():
    with pytest.raises(SettingError, match=r"'sequentail' is unknown: did you mean 'sequential'"):
        methods.registration("sequentail")
    with pytest.raises(SettingError, match="int belongs to no method"):
        methods.method_of(3)


def test_the_example_of_a_small_method_is_small():
    source = Path(methods.__file__).with_name("sequential") / "method.py"
    assert len(source.read_text().splitlines()) <= 40


@pytest.fixture
def sequential() -> Sequential:
    return Sequential(make_policy(), SequentialSettings(), TRAIN, 0)


def test_fine_tuning_trains_everything_and_changes_what_was_learned(
    sequential: Sequential, toy_stores: list[DemonstrationStore]
):
    first, second = lessons(toy_stores[:2])
    seen = observations(toy_stores[0], 4)
    assert sum(p.numel() for p in teach(sequential, first).parameters()) == count(sequential.base)
    before, learned = numbers(sequential.base), called(sequential, first, seen)
    teach(sequential, second)
    assert changed(before, sequential.base)
    assert not np.array_equal(called(sequential, first, seen), learned)
    assert sequential.stored() == count(sequential.base)


def test_multitask_learns_all_tasks_in_one_lesson(toy_stores: list[DemonstrationStore]):
    method = Multitask(make_policy(), MultitaskSettings(), TRAIN, 0)
    (lesson,) = lessons(toy_stores[:3], joint=True)
    assert method.joint
    assert lesson.names == ("reach-red", "reach-blue", "between")
    teach(method, lesson)
    seen = observations(toy_stores[0], 4)
    red, blue = (Method.choose(method, vectors[0]) for vectors in lesson.embeddings[:2])
    assert red.policy is blue.policy
    assert red.skill is None
    assert not np.array_equal(red.embedding, blue.embedding)
    assert len(called(method, lesson, seen)) == 4


def test_single_task_policies_have_nothing_in_common(toy_stores: list[DemonstrationStore]):
    method = SingleTask(make_policy(), SingleTaskSettings(), TRAIN, 0)
    plan, seen = lessons(toy_stores[:3]), observations(toy_stores[0], 4)
    learned = []
    for lesson in plan:
        teach(method, lesson)
        learned.append(called(method, lesson, seen))
        for earlier, actions in zip(plan, learned, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
    owned: list[set[int]] = [{id(p) for p in entry.policy.parameters()} for entry in method.entries]
    assert not owned[0] & owned[1]
    assert method.stored() == 3 * count(method.base)


@pytest.mark.parametrize(("kind", "settings"), [(Sequential, SequentialSettings()), (SingleTask, SingleTaskSettings())])
def test_state_and_restore_keep_every_bit(kind: Any, settings: Any, toy_stores: list[DemonstrationStore]):
    plan, seen = lessons(toy_stores[:2]), observations(toy_stores[0], 4)
    method = kind(make_policy(), settings, TRAIN, 0)
    for lesson in plan:
        teach(method, lesson)
    again = kind(make_policy(seed=5), settings, TRAIN, 0)
    again.restore({name: tensor.clone() for name, tensor in method.state().items()}, plan)
    for lesson in plan:
        np.testing.assert_array_equal(called(again, lesson, seen), called(method, lesson, seen))


# ------------------------------------------------ budgets

BUDGETS = [
    *(T2SSettings(share=share, rows_in=place, mu=mu) for share in (0.01, 0.08, 0.5) for mu in (0.02, 0.5)
      for place in ("all", "feed-forward")),
    *(T2SSettings(share=share, gates=True, reuse=1.0, base_rows=0.3, mu=0.3) for share in (0.08, 0.3, 0.6)),
    *(LoraSettings(share=share) for share in (0.01, 0.08, 0.5)),
]  # fmt: skip


@pytest.mark.parametrize("settings", BUDGETS, ids=str)
def test_a_budget_is_refused_before_the_first_lesson_where_the_second_could_not_begin(
    settings: T2SSettings | LoraSettings, toy_stores: list[DemonstrationStore]
):
    def said(act: Callable[[], object]) -> str:
        try:
            act()
        except SettingError as problem:
            return str(problem)
        return ""

    method, (first, second) = make_method(settings), lessons(toy_stores[:2])
    early = said(lambda: method.check(2))
    method.check(1)  # a single lesson has no budget
    method.begin(first)
    method.finish(first)
    assert said(lambda: method.begin(second)) == early


def test_budgets_of_both_kinds_were_tried():
    refused = 0
    for settings in BUDGETS:
        try:
            make_method(settings).check(2)
        except SettingError:
            refused += 1
    assert 3 < refused < len(BUDGETS) - 3


# ------------------------------------------------ devices


def elsewhere(policy: torch.nn.Module, *more: torch.Tensor) -> set[str]:
    """Numbers of a policy, and others, that are not on the device "meta", which has room for shapes alone."""
    named = [*policy.named_parameters(), *policy.named_buffers(), *((f"number {i}", t) for i, t in enumerate(more))]
    return {name for name, tensor in named if tensor.device.type != "meta"}


SETTINGS = {
    **{name: methods.method_settings(name)() for name, entry in methods.METHODS.items() if not entry.beside},
    **{name: chosen for name, chosen in SKILL_METHODS.items() if name not in methods.METHODS},
    "ewc": EWCSettings(samples=2),
}


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter:UserWarning")  # numbers have no room there
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "prompts"])  # picked by their keys' numbers
def test_all_that_is_trained_and_acts_is_where_the_base_is(
    name: str, toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)  # it does not know the device "meta"
    kind, chosen = methods.load_method(methods.method_of(SETTINGS[name])), SETTINGS[name]
    plan = lessons(toy_stores[:3], joint=kind.joint)
    here, there = kind(make_policy(), chosen, TRAIN, 0), kind(make_policy().to("meta"), chosen, TRAIN, 0)
    again = kind(make_policy().to("meta"), chosen, TRAIN, 0)
    for method in (here, there, again):
        method.check(len(plan))
    for lesson in plan:
        teach(here, lesson)
        training = there.begin(lesson)
        assert not elsewhere(training.policy, *training.parameters())
        there.finish(lesson)
        assert not elsewhere(there.choose(lesson.embeddings[0][0]).policy)
    again.restore(here.state(), plan[:-1] if len(plan) > 1 else plan)
    for lesson in plan:
        assert not elsewhere(again.choose(lesson.embeddings[0][0]).policy)
    training = again.begin(plan[-1])
    assert not elsewhere(training.policy, *training.parameters())
