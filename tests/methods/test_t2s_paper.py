"""T2S as its paper describes it: masks of a pool, shared and specific rows, when the pool is used up, keys."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import (
    LANGUAGE,
    POLICY,
    TRAIN,
    called,
    lessons,
    make_method,
    make_policy,
    more_lessons,
    observations,
    teach,
    wide_policy,
)  # fmt: skip

from skilltokens.demos import DemonstrationStore
from skilltokens.grow import learn_skill
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.method import T2S
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.methods.t2s_paper.method import T2SPaper
from skilltokens.methods.t2s_paper.pool import BASE_ROW, FREE, Pool, Use
from skilltokens.methods.t2s_paper.usage import amounts
from skilltokens.model.pattention import GrownPattention, Pattention
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import BASE, Skills
from skilltokens.skills.verifying import verify
from skilltokens.types import Array, SettingError

ROOMY = T2SPaperSettings(mu=0.2, keys="random")
"""Of 16 rows that a skill of the small policy uses in attention's maps, up to 2 or 3 are specific."""
DECAYING = dataclasses.replace(TRAIN, weight_decay=0.5)


def build(train: TrainSettings = TRAIN, policy: Policy | None = None, **changes: Any) -> T2SPaper:
    method = make_method(dataclasses.replace(ROOMY, **changes), policy, train)
    assert isinstance(method, T2SPaper)
    return method


def taught(method: T2SPaper, stores: list[DemonstrationStore], number: int) -> T2SPaper:
    for lesson in lessons(stores)[:number]:
        teach(method, lesson, method.train)
    return method


def begun(method: T2SPaper, lesson: Lesson) -> Policy:
    """The policy that a lesson trains."""
    policy = method.begin(lesson).policy
    assert isinstance(policy, Policy)
    return policy


def unit(generator: np.random.Generator) -> Array:
    vector = generator.standard_normal(LANGUAGE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


# ------------------------------------------------ the Top-K


@given(seed=st.integers(0, 999), used=st.integers(0, 40), number=st.integers(1, 40), most=st.integers(0, 40))
def test_the_top_k_takes_the_nearest_rows_and_no_more_free_ones_than_it_may(
    seed: int, used: int, number: int, most: int
):
    generator = np.random.default_rng(seed)
    pool, instruction = Pool((seed, 0), LANGUAGE, 40), unit(generator)
    pool.owner[generator.permutation(40)[:used]] = BASE_ROW
    use = pool.pick(instruction, number, most)
    shared, specific = use.shared_rows, use.specific_rows
    assert (pool.owner[shared] == BASE_ROW).all()
    assert (pool.owner[specific] == FREE).all()
    assert len(specific) <= most
    assert len(use.rows) == len(set(use.rows.tolist())) == min(number, used + min(most, 40 - used))
    cosines = pool.keys @ instruction
    left_out = np.setdiff1d(np.arange(40), use.rows)
    for rows, kind in ((shared, BASE_ROW), (specific, FREE)):  # of each kind the nearest
        others = left_out[pool.owner[left_out] == kind]
        if len(rows) and len(others):
            assert cosines[rows].min() >= cosines[others].max()
    if len(specific) < most and len(left_out):  # mu did not hold it back: the very Top-K
        assert cosines[use.rows].min() >= cosines[left_out].max()


def test_a_skill_trains_rows_that_nobody_used_and_shares_those_that_somebody_trained(
    toy_stores: list[DemonstrationStore],
):
    method = taught(build(), toy_stores, 4)
    for path in method.base.maps():
        specific = [set(use[path].specific_rows.tolist()) for use in method.uses]
        assert sum(map(len, specific)) == len(set.union(*specific))  # no row is specific twice
        for number, use in enumerate(method.uses):
            assert set(use[path].shared_rows.tolist()) <= set().union(*specific[:number])
            assert len(use[path].rows) == (16 if path[-1] != "n" else 64)  # half of the pool
            assert number == 0 or use[path].specific <= 0.2 * len(use[path].rows)
    assert any(
        skill.identity in rows.sources for skill in method.skills[1:3] for rows in method.skills[3].active.values()
    )


def test_shared_rows_are_the_numbers_that_the_earlier_skill_keeps(toy_stores: list[DemonstrationStore]):
    method = taught(build(), toy_stores, 3)
    for path, layer in method.entries[2].policy.maps().items():
        assert isinstance(layer, GrownPattention)
        shared = method.uses[2][path].shared_rows
        own = method.uses[1][path].specific_rows
        base = method.base.get_parameter(f"{path}.key")
        for row, key in zip(shared.tolist(), layer.frozen_key, strict=True):
            mine = method.skills[1].tensors[f"{path}.key"]
            assert torch.equal(key, mine[own.tolist().index(row)] if row in own else base[row])
        assert len(layer.key) == method.uses[2][path].specific


def test_specific_rows_begin_as_the_pool_has_them(toy_stores: list[DemonstrationStore]):
    drawn = make_policy()
    method = taught(build(), toy_stores, 1)
    for path, layer in begun(method, lessons(toy_stores)[1]).maps().items():
        assert isinstance(layer, GrownPattention)
        rows = method.uses[1][path].specific_rows
        assert len(rows)
        assert torch.equal(layer.key, drawn.get_parameter(f"{path}.key")[rows])
        assert torch.equal(layer.value, drawn.get_parameter(f"{path}.value")[rows])
    zero = taught(build(start="zero"), toy_stores, 1)
    policy = begun(zero, lessons(toy_stores)[1])
    assert not policy.get_parameter("layers.0.q.key").any()
    assert policy.get_parameter("layers.0.q.value").any()


def test_the_first_skill_leaves_the_rows_that_it_does_not_use_as_they_were_drawn(toy_stores: list[DemonstrationStore]):
    drawn, method = make_policy(), taught(build(DECAYING), toy_stores, 1)
    for path in method.base.maps():
        used = torch.zeros(len(drawn.get_parameter(f"{path}.key")), dtype=torch.bool)
        used[method.uses[0][path].rows] = True
        for name in ("key", "value"):
            before, after = (policy.get_parameter(f"{path}.{name}") for policy in (drawn, method.base))
            assert torch.equal(before[~used], after[~used])
            assert not torch.equal(before[used], after[used])
    assert method.skills[0].parameters == 0
    unused = sum((len(part.key) - 16 * (1 + 3 * (path[-1] == "n"))) * 64 for path, part in _maps(method.base).items())
    assert method.stored() == count(method.base) - unused


def test_what_is_finished_acts_as_what_was_trained(toy_stores: list[DemonstrationStore]):
    method, (lesson, *_) = build(), lessons(toy_stores)
    training = method.begin(lesson)
    teach(method, lesson)
    del training
    assert method.choose(lesson.embeddings[0][0]).policy.fused().fingerprint() == method.entries[0].policy.fingerprint()


# ------------------------------------------------ a first lesson of several tasks


def test_tasks_of_one_lesson_have_masks_of_their_own(toy_stores: list[DemonstrationStore]):
    method, (lesson,) = build(), lessons(toy_stores[:3], joint=True)
    drawn, seen = make_policy(), observations(toy_stores[0], 5)
    teach(method, lesson, dataclasses.replace(DECAYING, iterations=8))
    assert len({called(method, part, seen).tobytes() for part in lesson.apart()}) == 3
    for path, part in _maps(method.base).items():
        rows = [use[path].rows for use in method.uses]
        assert all(len(one) == len(part.key) // 2 for one in rows)
        assert not np.array_equal(np.sort(rows[0]), np.sort(rows[1]))
        unused = np.setdiff1d(np.arange(len(part.key)), np.concatenate(rows))
        assert len(unused) >= len(part.key) // 2 - 2 * int(0.2 * len(part.key) // 2)  # mu holds there too
        assert torch.equal(part.key[unused], drawn.get_parameter(f"{path}.key")[unused])
    again = build(policy=make_policy(seed=3))
    again.restore({name: tensor.clone() for name, tensor in method.state().items()}, [lesson])
    for part in lesson.apart():
        np.testing.assert_array_equal(called(again, part, seen), called(method, part, seen))


def test_while_they_are_trained_each_task_acts_by_its_own_rows(toy_stores: list[DemonstrationStore]):
    method, (lesson,) = build(), lessons(toy_stores[:2], joint=True)
    training = method.begin(lesson)
    first, second = (method.choose(vectors[0]).policy for vectors in lesson.embeddings)
    assert first.fingerprint() != second.fingerprint()
    trained = {id(parameter) for parameter in training.parameters()}
    assert {id(parameter) for policy in (first, second) for parameter in policy.parameters()} == trained
    assert not trained & {id(parameter) for part in method.base.maps().values() for parameter in part.parameters()}


def test_tasks_of_one_lesson_leave_the_later_lessons_their_rows(toy_stores: list[DemonstrationStore]):
    method = build(mu=0.2)
    method.check(5)
    method.begin(lessons(toy_stores[:4], joint=True)[0])
    most = method.room.most()
    for path in method.base.maps():
        assert method._pool(path, 4).free >= 4 * most[path]


# ------------------------------------------------ the pool is used up


def test_a_pool_that_will_be_used_up_is_refused_before_the_training_with_what_it_holds(
    toy_stores: list[DemonstrationStore],
):
    method = build(mu=0.5)
    with pytest.raises(SettingError, match=r"it holds 5 skills, and the run has 9 more: lower method\.mu") as said:
        method.check(10)
    method.check(6)
    advised = float(str(said.value).split("method.mu to ")[1].split(",")[0])
    build(mu=advised).check(10)
    build(mu=0.5, grow=0.5).check(10)
    build(mu=0.5).check(1)
    with pytest.raises(SettingError, match="widen the policy, or let"):
        build(mu=0.5).check(100)


def test_a_pool_holds_as_many_skills_as_it_says(toy_stores: list[DemonstrationStore]):
    method, plan = build(mu=0.5), more_lessons(toy_stores[0], 40)
    for lesson in plan[:6]:  # the first and five more
        method.begin(lesson)
        method.finish(lesson)

    def all_the_others() -> None:
        for lesson in plan[6:]:
            method.begin(lesson)
            method.finish(lesson)

    with pytest.raises(SettingError, match=r"the pool is used up: \d rows of layers"):
        all_the_others()


def test_a_pool_that_is_used_up_can_grow(toy_stores: list[DemonstrationStore]):
    method, plan = build(mu=0.5, grow=0.25), more_lessons(toy_stores[0], 14)
    method.check(len(plan))
    for lesson in plan[:13]:
        method.begin(lesson)
        method.finish(lesson)
    sizes = {len(method._pool(path, 13)) / part.tau**2 for path, part in _maps(method.base).items()}
    assert sizes != {1.0}
    state = {name: tensor.clone() for name, tensor in method.state().items()}
    again = build(mu=0.5, grow=0.25, policy=make_policy(seed=5))
    again.restore(state, plan[:13])
    policies = [begun(m, plan[13]) for m in (method, again)]
    assert policies[0].fingerprint() == policies[1].fingerprint()
    for path, layer in policies[0].maps().items():
        assert isinstance(layer, GrownPattention)
        assert len(layer.key) + len(layer.frozen_key) == len(method.uses[0][path].rows)  # K stays


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"share": 0.01}, r"method\.share 0\.01 leaves no row"), ({"mu": 0.05}, r"method\.mu 0\.05 leaves no specific")],
)
def test_impossible_budgets_are_refused_in_words(changes: dict[str, Any], said: str):
    with pytest.raises(SettingError, match=said):
        build(**changes).check(2)


def test_the_default_policy_holds_what_the_recipes_teach():
    method = make_method(T2SPaperSettings(), wide_policy())
    method.check(10)


# ------------------------------------------------ keys


def test_keys_are_unit_vectors_of_the_seed():
    one, same, other = (Pool(seed, LANGUAGE, 10) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_allclose(np.linalg.norm(one.keys, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(one.keys, same.keys)
    assert not np.isclose(one.keys, other.keys).any()
    one.add(5)
    np.testing.assert_array_equal(one.keys[:10], same.keys)


def test_pulled_keys_come_nearer_by_their_steps():
    pool, instruction = Pool((0, 0), LANGUAGE, 4), unit(np.random.default_rng(1))
    before = pool.keys.copy()
    pool.pull(np.array([0, 1, 2]), instruction, np.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(pool.keys[0], instruction, rtol=1e-5, atol=1e-6)
    expected = (before[1] + instruction) / np.linalg.norm(before[1] + instruction)
    np.testing.assert_allclose(pool.keys[1], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pool.keys[2:], before[2:], rtol=1e-5, atol=1e-6)


def nearness(method: T2SPaper, path: str, rows: Array, task: int) -> float:
    return float((method._pool(path, len(method.uses)).keys[rows] @ method.skills[task].key).mean())


def test_a_skill_pulls_its_specific_rows_and_no_others(toy_stores: list[DemonstrationStore]):
    plain, pulled = (taught(build(keys=keys, key_pull=0.2), toy_stores, 2) for keys in ("random", "learned"))
    for path in plain.base.maps():
        first = pulled.uses[0][path].rows
        assert nearness(pulled, path, first, 0) > nearness(plain, path, first, 0) + 0.1
        unused = np.flatnonzero(pulled._pool(path, 2).owner == FREE)
        np.testing.assert_array_equal(pulled._pool(path, 2).keys[unused], plain._pool(path, 2).keys[unused])
        shared, own = pulled.uses[1][path].shared_rows, pulled.uses[1][path].specific_rows
        before, after = (pulled._pool(path, number).keys for number in (1, 2))
        np.testing.assert_array_equal(before[shared], after[shared])
        assert not len(own) or (np.abs(before[own] - after[own]).max(1) > 0).all()


def test_usage_pulls_the_rows_that_are_active_most(toy_stores: list[DemonstrationStore]):
    method = taught(build(keys="usage", key_pull=0.5), toy_stores, 2)
    use = method.uses[1]["layers.0.ffn"]
    assert use.amount is not None
    assert use.amount.max() == 1
    assert use.amount.min() >= 0
    before, after = (method._pool("layers.0.ffn", number).keys[use.rows] for number in (1, 2))
    moved = np.linalg.norm(after - before, axis=1)
    assert moved[use.amount.argmax()] > 2 * moved[use.amount.argmin()]
    again = build(keys="usage", key_pull=0.5, policy=make_policy(seed=2))
    again.restore({name: tensor.clone() for name, tensor in method.state().items()}, lessons(toy_stores)[:2])
    for path in method.base.maps():
        np.testing.assert_array_equal(method._pool(path, 2).keys, again._pool(path, 2).keys)


def test_the_amount_is_of_the_row_that_it_stands_beside(toy_stores: list[DemonstrationStore]):
    """A row whose value counts for nothing is as active; one whose key is zero is not active at all."""
    method = taught(build(keys="usage"), toy_stores, 1)
    row = int(method.uses[0]["layers.0.q"].rows[5])
    with torch.no_grad():
        method.base.get_parameter("layers.0.q.key")[row] = 0.0
    method._act_by_base()
    method._measure(lessons(toy_stores)[0])
    amount = method.uses[0]["layers.0.q"].amount
    assert amount is not None
    assert np.flatnonzero(amount == 0).tolist() == [5]


def test_amounts_are_of_what_was_shown_whatever_noise_is_learned_with(toy_stores: list[DemonstrationStore]):
    method = taught(build(keys="usage"), toy_stores, 1)
    policy, lesson = method.entries[0].policy, lessons(toy_stores)[0]
    loud = dataclasses.replace(TRAIN, observation_noise=0.5)
    quiet, noisy = (amounts(policy, lesson, train, np.random.default_rng(3)) for train in (TRAIN, loud))
    for path in quiet:
        np.testing.assert_array_equal(quiet[path], noisy[path])


# ------------------------------------------------ libraries, interruptions


def test_from_a_library_whose_base_used_all_rows_unused_ones_stand_beside_them(toy_stores: list[DemonstrationStore]):
    old = make_method(T2SSettings(rows_in="all"))
    assert isinstance(old, T2S)
    plan, seen = lessons(toy_stores), observations(toy_stores[0], 4)
    for lesson in plan[:2]:
        teach(old, lesson)
    method = build(keys="learned")
    method.adopt(*_left(old, plan[:2]))
    method.check(2)
    before = [called(method, lesson, seen) for lesson in plan[:2]]
    new = [dataclasses.replace(lesson, index=i, first=i) for i, lesson in enumerate(plan[2:])]
    for lesson in new:
        teach(method, lesson)
    for lesson, actions in zip(plan[:2], before, strict=True):
        np.testing.assert_array_equal(called(method, lesson, seen), actions)
    for path, part in _maps(method.base).items():
        pool, use, rows = method._pool(path, 0), method.uses[0][path], len(part.key)
        assert (pool.owner[:rows] == BASE_ROW).all()
        assert pool.free == rows
        assert len(pool) == 2 * rows + old.skills[1].rows(path)
        assert len(use.rows) == rows
        assert (use.specific_rows >= rows).all()
        assert torch.isfinite(method.skills[2].tensors[f"{path}.key"]).all()
    sources = {name for skill in method.skills[2:] for rows in skill.active.values() for name in rows.sources}
    assert {BASE, old.skills[1].identity} <= sources


def test_from_a_library_of_its_own_the_rows_that_its_base_left_are_unused(toy_stores: list[DemonstrationStore]):
    old, plan = taught(build(), toy_stores, 2), lessons(toy_stores)
    method = build(spare=0.25)
    method.adopt(*_left(old, plan[:2]))
    for path, part in _maps(method.base).items():
        pool = method._pool(path, 0)
        assert np.array_equal(np.flatnonzero(pool.owner == BASE_ROW), np.sort(old.uses[0][path].rows))
        assert (pool.owner == 1).sum() == old.uses[1][path].specific
        assert pool.free == len(part.key) // 2  # which is more than a quarter: none is added


def test_an_interruption_in_the_second_lesson_changes_no_bit(tmp_path: Path):
    method = T2SPaperSettings(share=0.5, mu=0.2, keys="usage")
    check_interrupted(run_of(method, tmp_path / "demos"), tmp_path)


def test_an_interruption_in_a_joint_first_lesson_changes_no_bit(toy_stores: list[DemonstrationStore]):
    from skilltokens.train import fit

    (lesson,) = lessons(toy_stores[:2], joint=True)
    prints = []
    for cut in (False, True):
        method = build()
        points = fit(method.begin(lesson), DECAYING, 8, [0.5, 1.0], 0)
        if cut:
            kept = next(points).state()
            method = build()
            points = fit(method.begin(lesson), DECAYING, 8, [0.5, 1.0], 0, start=kept)
        for _ in points:
            pass
        method.finish(lesson)
        prints.append([entry.policy.fingerprint() for entry in method.entries])
    assert prints[0] == prints[1]


def test_a_library_on_disk_grows_by_it_skill_by_skill(toy_stores: list[DemonstrationStore], tmp_path: Path):
    settings = T2SPaperSettings(share=0.5, mu=0.2, keys="random")
    train = dataclasses.replace(TRAIN, iterations=4, first_iterations=4)
    prints: list[list[str]] = []
    for store in toy_stores[:3]:
        library = learn_skill(tmp_path / "library", store, method=settings, train=train, policy=POLICY)
        prints.append([library.policy(number).fingerprint() for number in range(len(library.names))])
    assert prints[2][:2] == prints[1]
    assert prints[1][:1] == prints[0]
    library = SkillLibrary.open(tmp_path / "library")
    assert [library.policy(number).fingerprint() for number in range(3)] == prints[2]
    assert not [found for found in verify(tmp_path / "library") if found.fault]
    first, second, third = library.skills
    assert (first.parameters, second.form) == (0, "rows")
    assert second.identity in {name for rows in third.active.values() for name in rows.sources}


def _left(method: T2S | T2SPaper, plan: Any) -> tuple[Policy, Skills]:
    base, skills = method.library(plan)
    return base, Skills(skills)


def _maps(base: Policy) -> dict[str, Pattention]:
    return {path: part for path, part in base.maps().items() if isinstance(part, Pattention)}


def test_a_use_says_which_rows_are_shared():
    use = Use(np.array([4, 6, 1, 2]), 2)
    assert (use.shared_rows.tolist(), use.specific_rows.tolist()) == ([4, 6], [1, 2])
    assert not len(Use(np.array([4]), 0).specific_rows)
