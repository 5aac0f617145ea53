"""T2S: which rows a new skill gets and reuses, how it starts, what it trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.small import (
    EVERYWHERE,
    SKILL_METHODS,
    act,
    changed,
    lessons,
    make_method,
    make_policy,
    more_lessons,
    numbers,
    observations,
    teach,
)  # fmt: skip

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Method, count
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.pattention import GrownPattention, Pattention
from skilltokens.model.policy import Policy
from skilltokens.skills.assembling import own_modules
from skilltokens.skills.skill import BASE
from skilltokens.types import SettingError

T2S_METHODS = {name: chosen for name, chosen in SKILL_METHODS.items() if isinstance(chosen, T2SSettings)}


def taught(settings: T2SSettings, stores: list[DemonstrationStore]) -> T2S:
    method = make_method(settings)
    assert isinstance(method, T2S)
    for lesson in lessons(stores):
        teach(method, lesson)
    return method


def base_rows(base: Policy, path: str) -> int:
    layer = base.maps()[path]
    assert isinstance(layer, Pattention)
    return len(layer.key)


def gradients(method: Method, stores: list[DemonstrationStore], index: int) -> dict[str, GrownPattention]:
    """The grown maps of a lesson that has just begun, with the gradients of one loss."""
    lesson = lessons(stores)[index]
    for parameter in method.base.parameters():
        parameter.grad = None  # what the first lesson left behind
    policy = method.begin(lesson).policy
    seen = {name: torch.tensor(np.asarray(stores[index][name][:8]))[None] for name in policy.shape.scales}
    action = torch.tensor(np.asarray(stores[index]["action"][:8]))[None]
    words = torch.as_tensor(lesson.embeddings[0][:1])
    policy.loss(seen, words, action, torch.ones(1, 8, dtype=torch.bool)).backward()
    return {path: layer for path, layer in policy.maps().items() if isinstance(layer, GrownPattention)}


@pytest.mark.parametrize("name", T2S_METHODS)
def test_a_new_skill_starts_as_the_base(name: str, toy_stores: list[DemonstrationStore]):
    # Reused rows of an earlier skill would change the function, and there are none before the second skill.
    method = taught(T2S_METHODS[name], toy_stores[:1])
    lesson = lessons(toy_stores[:2])[1]
    policy = method.begin(lesson).policy
    seen, embedding = observations(toy_stores[1], 12), lesson.embeddings[0][0]
    np.testing.assert_allclose(act(policy, embedding, seen), act(method.base, embedding, seen), rtol=0, atol=1e-5)


def test_new_rows_receive_gradients_and_shared_rows_none(toy_stores: list[DemonstrationStore]):
    method = taught(T2S_METHODS["t2s gates"], toy_stores[:2])
    maps = gradients(method, toy_stores[:3], 2)
    assert len(maps) == 10
    for layer in maps.values():
        assert not layer.key.any()
        assert layer.key.grad is not None
        assert (layer.key.grad.norm(dim=1) > 0).all()
        assert layer.gate is not None
        assert layer.gate.grad is not None
        assert layer.gate.grad.any()
        assert layer.frozen_key.grad is None
        assert layer.frozen_value.grad is None
    assert all(parameter.grad is None for parameter in method.base.parameters())


def test_reused_rows_are_those_of_the_nearest_instructions(toy_stores: list[DemonstrationStore]):
    method = taught(T2S_METHODS["t2s reuse"], toy_stores[:3])
    lesson = lessons(toy_stores)[3]
    method.begin(lesson)
    embedding = lesson.embeddings[0][0]
    nearness = [float(skill.embeddings[0] @ embedding) for skill in method.skills[1:3]]
    nearest = 1 + int(np.argmax(nearness))
    for path, rows in method.skills[3].active.items():
        new = method.skills[3].rows(path)
        base = base_rows(method.base, path)
        assert rows.sources == (BASE, method.skills[nearest].identity)
        assert rows.row[rows.source == 0].tolist() == list(range(base))
        assert rows.row[rows.source == 1].tolist() == list(range(method.skills[nearest].rows(path)))[:new]
    reuse = method.reuse()
    assert reuse["from"] == {method.skills[nearest].name: reuse["new"]}
    assert reuse["base"] == sum(base_rows(method.base, path) for path in method.base.maps())


def test_reused_rows_are_the_numbers_that_the_earlier_skill_keeps(toy_stores: list[DemonstrationStore]):
    method = taught(T2S_METHODS["t2s reuse"], toy_stores[:3])
    layer = method.entries[2].policy.maps()["layers.0.ffn"]
    assert isinstance(layer, GrownPattention)
    rows = base_rows(method.base, "layers.0.ffn")
    earlier = method.skills[1].tensors
    assert torch.equal(layer.frozen_key[rows:], earlier["layers.0.ffn.key"])
    assert torch.equal(layer.frozen_value[rows:], earlier["layers.0.ffn.value"])


def test_a_share_of_the_base_can_be_left_out(toy_stores: list[DemonstrationStore]):
    method = taught(replace(EVERYWHERE, base_rows=0.5), toy_stores[:2])
    for path, rows in method.skills[1].active.items():
        assert len(rows) == base_rows(method.base, path) // 2


@pytest.mark.parametrize(("place", "maps"), [("attention", {"q", "k", "v", "o"}), ("feed-forward", {"ffn"})])
def test_rows_go_where_they_are_wanted(place: str, maps: set[str], toy_stores: list[DemonstrationStore]):
    method = taught(replace(EVERYWHERE, rows_in=place), toy_stores[:2])  # pyright: ignore[reportArgumentType]
    assert {path.split(".")[-1] for path in method.skills[1].active} == maps
    assert {path.split(".")[0] for path in method.skills[1].active} == {"layers"}
    assert 0.07 < method.skills[1].parameters / count(method.base) <= 0.08


FAR = (2, 0, 1, 3)
"""An order of the stores in which the last one's instruction is not nearest to the first skill's."""


def nearest(method: T2S, embedding: np.ndarray) -> int:
    """The skill whose nearest wording has the largest cosine."""
    return int(np.argmax([float((skill.embeddings @ embedding).max()) for skill in method.skills[:3]]))


def test_a_skill_can_start_with_the_head_and_encoders_of_its_nearest(toy_stores: list[DemonstrationStore]):
    stores = [toy_stores[i] for i in FAR]
    method = taught(T2S_METHODS["t2s nearest"], stores[:3])
    lesson = lessons(stores)[3]
    policy = method.begin(lesson).policy
    start = method.entries[nearest(method, lesson.embeddings[0][0])].policy
    for path in own_modules(policy):
        mine, other = policy.get_submodule(path), start.get_submodule(path)
        assert mine is not other
        assert not changed(numbers(mine), other)
    layer = policy.maps()["layers.0.q"]
    assert isinstance(layer, GrownPattention)
    assert not layer.key.any()


def test_a_skill_can_start_as_a_copy_of_its_nearest(toy_stores: list[DemonstrationStore]):
    stores = [toy_stores[i] for i in FAR]
    method = taught(replace(EVERYWHERE, start="copy", near=-1.0), stores[:3])
    lesson = lessons(stores)[3]
    policy, embedding = method.begin(lesson).policy, lesson.embeddings[0][0]
    start = method.entries[nearest(method, embedding)].policy
    assert start is not method.base
    assert policy.fingerprint() == start.fingerprint()
    teach(method, lesson)
    assert method.entries[3].policy.fingerprint() != start.fingerprint()


def test_without_a_near_skill_it_starts_from_the_newest(toy_stores: list[DemonstrationStore]):
    stores = [toy_stores[i] for i in FAR]
    method = taught(replace(EVERYWHERE, start="copy", near=1.1), stores[:3])
    policy = method.begin(lessons(stores)[3]).policy
    assert policy.fingerprint() == method.entries[2].policy.fingerprint()


def test_impossible_budgets_are_refused_in_words(toy_stores: list[DemonstrationStore]):
    lesson = lessons(toy_stores[:2])[1]
    with pytest.raises(SettingError, match=r"method\.share 0\.01 leaves no row"):
        taught(replace(EVERYWHERE, share=0.01), toy_stores[:1]).begin(lesson)
    with pytest.raises(SettingError, match=r"method\.mu 0\.01"):
        taught(replace(EVERYWHERE, mu=0.01), toy_stores[:1]).begin(lesson)


def test_mu_bounds_the_share_of_new_rows(toy_stores: list[DemonstrationStore]):
    method = taught(replace(EVERYWHERE, mu=0.1), toy_stores[:2])
    for path, rows in method.skills[1].active.items():
        new = method.skills[1].rows(path)
        assert 0 < new / (new + len(rows)) <= 0.1


def test_what_is_asked_for_alone_is_trained(toy_stores: list[DemonstrationStore]):
    def trained(settings: T2SSettings) -> set[str]:
        method = taught(settings, toy_stores[:1])
        policy = method.begin(lessons(toy_stores[:2])[1]).policy
        return {name.split(".")[0] for name, parameter in policy.named_parameters() if parameter.requires_grad}

    assert trained(EVERYWHERE) == {"layers", "head", "encoders"}
    assert trained(replace(EVERYWHERE, own_head=False)) == {"layers", "encoders"}
    assert trained(replace(EVERYWHERE, own_head=False, own_encoders=False)) == {"layers"}


@pytest.mark.parametrize("name", list(SKILL_METHODS))
def test_state_and_restore_keep_every_bit_and_what_comes_next(name: str, toy_stores: list[DemonstrationStore]):
    method, plan = make_method(SKILL_METHODS[name]), lessons(toy_stores)
    for lesson in plan[:3]:
        teach(method, lesson)
    kept = {key: tensor.clone() for key, tensor in method.state().items()}
    again = make_method(SKILL_METHODS[name], make_policy(seed=9))
    again.restore(kept, plan[:3])
    assert [e.policy.fingerprint() for e in again.entries] == [e.policy.fingerprint() for e in method.entries]
    assert again.stored() == method.stored()
    for taught in (method, again):
        teach(taught, plan[3])
    assert again.entries[3].policy.fingerprint() == method.entries[3].policy.fingerprint()
    assert again.reuse() == method.reuse()


@pytest.mark.parametrize("name", list(SKILL_METHODS))
def test_a_lesson_that_begins_again_begins_the_same(name: str, toy_stores: list[DemonstrationStore]):
    method: SkillMethod = make_method(SKILL_METHODS[name])
    plan = lessons(toy_stores[:2])
    teach(method, plan[0])
    first = numbers(method.begin(plan[1]).policy)
    teach(method, plan[1])
    assert not changed(first, method.begin(plan[1]).policy)
    assert len(method.entries) == 2


def test_two_skills_draw_different_rows(toy_stores: list[DemonstrationStore]):
    method = make_method(EVERYWHERE)
    assert isinstance(method, T2S)
    plan = more_lessons(toy_stores[0], 3)
    teach(method, plan[0])
    values = []
    for lesson in plan[1:]:
        method.begin(lesson)
        values.append(method.skills[lesson.index].tensors["layers.0.q.value"])
    assert not torch.equal(*values)
