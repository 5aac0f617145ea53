"""The plainest ways to learn a skill: a full copy, an own head alone."""

from __future__ import annotations

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

from skilltokens.demos import DemonstrationStore
from skilltokens.methods import load_method, method_of
from skilltokens.methods.base import SkillMethod, count
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.head_only import HeadOnlySettings
from skilltokens.model.policy import Policy
from skilltokens.skills.assembling import own_modules

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
