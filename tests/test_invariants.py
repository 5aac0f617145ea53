"""The five things that must hold, each under its own name. Break one and its test fails."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import (
    POLICY,
    SKILL_METHODS,
    TRAIN,
    SkillSettings,
    called,
    changed,
    lessons,
    make_method,
    make_policy,
    more_lessons,
    numbers,
    observations,
    teach,
    train,
    wide_policy,
)  # fmt: skip

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import load_method, method_names
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.method import T2S
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.model.actor import PolicyActor
from skilltokens.model.ahead import Ahead
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.selection import choose

each_method = pytest.mark.parametrize("settings", SKILL_METHODS.values(), ids=list(SKILL_METHODS))


# ------------------------------------------------ 1. old actions are bit-identical


@each_method
def test_1_after_any_later_skills_old_actions_are_bit_identical(
    settings: SkillSettings, toy_stores: list[DemonstrationStore]
):
    method, plan = make_method(settings), lessons(toy_stores)
    seen = observations(toy_stores[0], 14)
    first: list[np.ndarray] = []
    prints: list[str] = []
    for lesson in plan:
        teach(method, lesson)
        first.append(called(method, lesson, seen))
        prints.append(method.choose(lesson.embeddings[0][0]).policy.fingerprint())
        for earlier, actions, fingerprint in zip(plan, first, prints, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
            assert method.choose(earlier.embeddings[0][0]).policy.fingerprint() == fingerprint
    again = make_method(settings, make_policy(seed=1))
    again.restore({name: tensor.clone() for name, tensor in method.state().items()}, plan)
    for lesson, actions in zip(plan, first, strict=True):
        np.testing.assert_array_equal(called(again, lesson, seen), actions)
    assert len({actions.tobytes() for actions in first}) == len(plan)  # every skill learned something of its own


# ------------------------------------------------ 2. at most 8.0 % of the base

BUDGETS: dict[str, tuple[SkillSettings, Callable[[], Policy]]] = {
    **{f"{name}, small": (chosen, make_policy) for name, chosen in SKILL_METHODS.items()},
    **{f"{name}, default": (chosen, wide_policy) for name, chosen in SKILL_METHODS.items()},
    "mixture": (T2SSettings(), lambda: make_policy(dataclasses.replace(POLICY, head="mixture"))),
    "separate": (T2SSettings(), lambda: make_policy(dataclasses.replace(POLICY, step="separate"))),
    "chunk": (T2SSettings(), lambda: make_policy(dataclasses.replace(POLICY, chunk=8))),
    "lora, chunk": (LoraSettings(), lambda: make_policy(dataclasses.replace(POLICY, chunk=8))),
    "lora, linear": (LoraSettings(), lambda: make_policy(dataclasses.replace(POLICY, maps="linear"))),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_2_a_new_skill_trains_at_most_8_percent_of_the_whole_base_policy(name: str):
    settings, policy = BUDGETS[name]
    method = make_method(settings, policy())
    base = count(method.base)
    for lesson in _unseen(method.base.shape.language, 4):
        training = method.begin(lesson)
        if lesson.index:
            trained = sum(parameter.numel() for parameter in training.parameters())
            assert 0.06 * base < trained <= 0.08 * base
            assert method.stored() <= base + lesson.index * 0.08 * base
        method.finish(lesson)


@each_method
def test_2_what_is_counted_as_trained_is_what_changes(settings: SkillSettings, toy_stores: list[DemonstrationStore]):
    method, plan = make_method(settings), lessons(toy_stores[:2])
    teach(method, plan[0])
    training = method.begin(plan[1])
    before = numbers(training.policy)
    named = training.policy.named_parameters()
    counted = {name for name, parameter in named if parameter.requires_grad and parameter.numel()}
    train(training)
    assert sum(before[name].numel() for name in counted) == sum(p.numel() for p in training.parameters())
    assert set(changed(before, training.policy)) == counted
    rooms = {name.split(".")[0] for name in counted}
    assert rooms == ({"layers", "head", "encoders"} if settings.own_head else {"layers"})
    if settings.own_head:  # every part of the skill's own, not one of them
        own = {name for name in before if name.startswith(("head.", "encoders.")) and "map" in name}
        assert own <= counted


# ------------------------------------------------ 3. frozen parameters


@each_method
def test_3_frozen_parameters_are_in_no_optimizer_group_and_never_change(
    settings: SkillSettings, toy_stores: list[DemonstrationStore]
):
    method, plan = make_method(settings), lessons(toy_stores[:3])
    teach(method, plan[0])
    teach(method, plan[1])
    old = [parameter for entry in method.entries for parameter in entry.policy.parameters()]
    for parameter in old:
        parameter.grad = None  # what the first lesson left behind
    frozen = {id(parameter) for parameter in old}
    before = [numbers(entry.policy) for entry in method.entries]
    training = method.begin(plan[2])
    assert not frozen & {id(parameter) for parameter in training.parameters()}
    assert all(parameter.requires_grad for parameter in training.parameters())
    assert not any(parameter.requires_grad for parameter in old)
    train(training, dataclasses.replace(TRAIN, weight_decay=0.5, iterations=6))
    assert all(parameter.grad is None for parameter in old)
    method.finish(plan[2])
    for entry, numbers_then in zip(method.entries[:2], before, strict=True):
        assert not changed(numbers_then, entry.policy)


# ------------------------------------------------ 4. the cost of a new skill


@each_method
def test_4_a_new_skill_costs_the_same_however_many_came_before(
    settings: SkillSettings, toy_stores: list[DemonstrationStore]
):
    method = make_method(settings)
    costs, stored = [], [0]
    for lesson in more_lessons(toy_stores[0], 9):
        training = method.begin(lesson)
        policy = training.policy.fused()
        costs.append(
            {
                "trained": sum(parameter.numel() for parameter in training.parameters()),
                "acts with": sum(parameter.numel() for parameter in policy.parameters()),
                "rows": [_rows(layer) for layer in policy.maps().values()],
            }
        )
        method.finish(lesson)
        stored.append(method.stored())
        costs[-1]["stored"] = stored[-1] - stored[-2]
    # The second skill has no earlier rows or adapters to reuse; with all that it may reuse the cost stands still.
    # One that copies a skill does not share that one's rows as well.
    full = 1 + max(getattr(settings, "most", 1), getattr(settings, "reuse_skills", -1) + 1)
    if isinstance(settings, T2SPaperSettings):  # fewer of its rows may be unused than the second skill's were
        assert {cost["acts with"] for cost in costs} == {costs[0]["acts with"]}
        assert max(cost["trained"] for cost in costs[1:]) == costs[1]["trained"]
        assert all(cost["trained"] == cost["stored"] for cost in costs[1:])
        return
    assert costs[full + 1 :] == costs[full : full + 1] * (8 - full)
    assert costs[full]["trained"] == costs[full]["stored"]


def test_4_the_files_of_later_skills_are_no_larger(toy_stores: list[DemonstrationStore], tmp_path: Path):
    method = make_method(SKILL_METHODS["t2s gates"])
    assert isinstance(method, T2S)
    sizes = []
    library: SkillLibrary | None = None
    for lesson in more_lessons(toy_stores[0], 6):
        method.begin(lesson)
        method.finish(lesson)
        skill = method.skills[-1]
        if library is None:
            library = SkillLibrary.create(tmp_path, method.base, skill, dict(toy_stores[0].features), "bag of words")
        else:
            library.add(skill)
        sizes.append(library.records[-1].bytes)
        assert (tmp_path / "skills" / library.records[-1].file).stat().st_size == sizes[-1]
    assert len(set(sizes[2:])) == 1


# ------------------------------------------------ 5. the instruction, never a task id


def test_5_nothing_that_acts_or_chooses_takes_a_task_id():
    allowed = {
        Policy.forward: {"observation", "embedding", "mask", "noise", "stride"},
        Policy.loss: {"observation", "embedding", "action", "mask", "noise", "stride"},
        Policy.chunks: {"x"},
        PolicyActor.__init__: {"policy", "embedding", "device", "features"},
        PolicyActor.start: {"batch"},
        PolicyActor.act: {"observation", "memory"},
        PolicyActor.predict: {"observation", "memory"},
        PolicyActor.chunk: {"observation", "memory", "n"},
        Ahead.__init__: {"actor", "n"},
        Ahead.start: {"batch"},
        Ahead.act: {"observation", "memory"},
        SkillLibrary.select: {"instruction", "threshold", "report"},
        SkillLibrary.actor: {"instruction", "device", "threshold", "scene", "traced"},
        choose: {"embedding", "skills"},
        **{load_method(name).choose: {"embedding"} for name in method_names()},
    }
    for function, names in allowed.items():
        assert set(inspect.signature(function).parameters) - {"self"} == names, function.__qualname__


@pytest.mark.parametrize("settings", [SKILL_METHODS["t2s reuse"], LoraSettings()], ids=["t2s", "lora"])
def test_5_the_same_instruction_calls_the_same_skill_in_any_order(
    settings: SkillSettings, toy_stores: list[DemonstrationStore]
):
    method, plan = make_method(settings), lessons(toy_stores)
    for lesson in plan:
        teach(method, lesson)
    said = [vector for lesson in plan for vector in lesson.embeddings[0]]
    expected = [_answer(method, vector) for vector in said]
    assert len(set(expected)) == len(plan)
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        method.entries = [method.entries[i] for i in order]
        assert [_answer(method, vector) for vector in said] == expected


def test_5_learn_chooses_by_the_instruction_and_says_so(tmp_path: Path):
    # Both tasks have the same instruction, so only a task id could still call the first one's skill.
    run = learn(
        RunSettings(
            method=T2SSettings(),
            suite="tests.twins:Twins",
            policy=PolicySettings(width=16, layers=1),
            train=TRAIN,
            evaluate=EvaluateSettings(episodes=2, group=2, points=1),
            demonstrations=DemonstrationSettings(episodes=3, folder=str(tmp_path / "demos")),
        ),
        tmp_path / "run",
    )
    assert {cell.selected_by for cell in run.cells} == {"instruction"}
    called = {(cell.after, cell.task): cell.skill for cell in run.cells}
    assert called == {(0, 0): 0, (1, 0): 1, (1, 1): 1}


# ------------------------------------------------ means


def _answer(method: SkillMethod, embedding: Any) -> tuple[str, bytes]:
    """All that an instruction's actions depend on."""
    choice = method.choose(embedding)
    return choice.policy.fingerprint(), np.asarray(choice.embedding).tobytes()


def _rows(layer: torch.nn.Module) -> int:
    return sum(len(parameter) for name, parameter in layer.named_parameters() if name == "key")


def _unseen(language: int, number: int) -> Sequence[Lesson]:
    """Lessons that begin but never train: a budget depends on no demonstration."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((number, 1, language)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return [Lesson(i, (f"task-{i}",), (), ((f"do {i}",),), (vectors[i],), first=i) for i in range(number)]
