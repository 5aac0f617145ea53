"""T2S's fork: new rows that take the place of the base's most important ones, and leave those as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import (
    EVERYWHERE,
    TRAIN,
    act,
    called,
    changed,
    lessons,
    make_method,
    make_policy,
    numbers,
    observations,
    teach,
    train,
)  # fmt: skip

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.examples import Source, imitation
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.gradients import WINDOWS, Judged
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.forking import forked_rows, importance
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.pattention import GrownPattention, Pattention
from skilltokens.model.policy import Policy
from skilltokens.skills.skill import BASE, Rows, Skill
from skilltokens.train import fit
from skilltokens.types import RunError

FORKS: dict[str, T2SSettings] = {
    "half by use": replace(EVERYWHERE, fork=0.5),
    "all by gradient": replace(EVERYWHERE, fork=1.0, fork_by="gradient"),
    "copies": replace(EVERYWHERE, fork=1.0, start="copy", near=-1.0, reuse=1.0, gates=True),
}
each_fork = pytest.mark.parametrize("chosen", FORKS.values(), ids=list(FORKS))


def taught(chosen: T2SSettings, plan: list[Lesson]) -> T2S:
    method = make_method(chosen)
    assert isinstance(method, T2S)
    for lesson in plan:
        teach(method, lesson)
    return method


def layer_of(policy: Policy, path: str) -> Pattention:
    layer = policy.maps()[path]
    assert isinstance(layer, Pattention)
    return layer


def missing(method: T2S, skill: Skill, path: str) -> list[int]:
    """The rows of the base that a skill leaves out."""
    rows = skill.active[path]
    return sorted(set(range(len(layer_of(method.base, path).key))) - set(rows.row[rows.of_base()].tolist()))


@each_fork
def test_a_skill_starts_as_the_base_with_copies_in_the_place_of_its_rows(
    chosen: T2SSettings, toy_stores: list[DemonstrationStore]
):
    plan = lessons(toy_stores[:2])
    method = taught(chosen, plan[:1])
    policy = method.begin(plan[1]).policy
    seen, embedding = observations(toy_stores[1], 12), plan[1].embeddings[0][0]
    np.testing.assert_allclose(act(policy, embedding, seen), act(method.base, embedding, seen), rtol=0, atol=1e-5)
    for path, rows in method.skills[1].active.items():
        base, own = layer_of(method.base, path), method.skills[1].tensors
        left_out, new = missing(method, method.skills[1], path), method.skills[1].rows(path)
        assert len(left_out) == round(chosen.fork * new)
        assert len(rows) + new == len(base.key) + new - len(left_out)
        copies = len(left_out)
        assert torch.equal(own[f"{path}.key"][:copies], base.key[left_out])
        assert torch.equal(own[f"{path}.value"][:copies], base.value[left_out])
        assert not own[f"{path}.key"][copies:].any()
        assert own[f"{path}.value"][copies:].any() or copies == new
    assert 0.06 < method.skills[1].parameters / count(method.base) <= 0.08


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 2**31))
@settings(max_examples=50)
def test_the_most_important_rows_of_the_base_are_chosen_and_the_others_stay_in_order(
    counts: list[int], number: int, seed: int
):
    draw = np.random.default_rng(seed)
    places = draw.permutation(20)[: len(counts)]
    rows = Rows.of([(BASE, places), ("other", np.arange(3))])
    kept, forked = forked_rows(rows, torch.tensor([*counts, 9, 9, 9]), number)
    assert list(forked) == sorted(forked)
    assert len(forked) == min(number, len(counts))
    important = {int(place): level for place, level in zip(places, counts, strict=True)}
    staying = [int(row) for row in kept.row[kept.of_base()]]
    assert staying == [int(place) for place in places if place not in set(forked)]
    assert all(important[int(a)] >= important[b] for a in forked for b in staying)
    assert kept.counts()["other"] == 3


def with_one_wording(lesson: Lesson) -> Lesson:
    """So that nothing is drawn."""
    return replace(lesson, embeddings=(lesson.embeddings[0][:1],))


def windows_of(lesson: Lesson, policy: Policy) -> Source:
    source = Source(lesson, TRAIN, policy)
    assert len(source) <= WINDOWS  # so all of them are judged by
    return source


def test_use_is_a_rows_mean_weight_times_the_length_of_its_value(toy_stores: list[DemonstrationStore]):
    one, policy = with_one_wording(lessons(toy_stores[:1])[0]), make_policy()
    source, seen = windows_of(one, policy), []
    layer = layer_of(policy, "layers.1.ffn")
    hook = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    examples = source.at(np.arange(len(source)), np.random.default_rng(0))
    with torch.no_grad():
        policy(examples.observation, examples.words, examples.mask)
    hook.remove()
    scores = seen[0].reshape(-1, 32).double() @ layer.key.double().T
    theta = torch.nn.functional.gelu(layer.tau * scores / scores.norm(dim=1, keepdim=True))
    expected = theta.abs().mean(0) * layer.value.double().norm(dim=1)
    use = importance(Judged(policy, one, TRAIN, 0), ["layers.1.ffn"], "use")["layers.1.ffn"].double()
    ratio = (use / use.sum()) / (expected / expected.sum())
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-4, atol=0)


def test_gradients_are_those_of_the_loss(toy_stores: list[DemonstrationStore]):
    one, policy = with_one_wording(lessons(toy_stores[:1])[0]), make_policy()
    before = numbers(policy)
    ours = importance(Judged(policy, one, TRAIN, 0), ["layers.0.q"], "gradient")["layers.0.q"]
    source = windows_of(one, policy)
    loss = torch.zeros(())
    groups = np.array_split(np.arange(len(source)), len(source) // TRAIN.batch)
    for group in groups:
        examples = source.at(group, np.random.default_rng(0))
        loss = loss + imitation(policy, examples, TRAIN, np.random.default_rng(0))
    key, value = torch.autograd.grad(loss, [layer_of(policy, "layers.0.q").key, layer_of(policy, "layers.0.q").value])
    torch.testing.assert_close(ours, torch.cat([key, value], 1).norm(dim=1), rtol=1e-3, atol=1e-7)
    assert not changed(before, policy)
    assert all(parameter.grad is None for parameter in policy.parameters())


@pytest.mark.parametrize("by", ["use", "gradient"])
def test_a_row_that_decides_much_is_forked(by: str, toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    method = make_method(replace(EVERYWHERE, fork=1.0, fork_by=by))  # pyright: ignore[reportArgumentType]
    assert isinstance(method, T2S)
    teach(method, plan[0])
    with torch.no_grad():
        for row in (3, 17):
            layer_of(method.base, "layers.1.ffn").value[row] *= 100
    method.begin(plan[1])
    assert {3, 17} <= set(missing(method, method.skills[1], "layers.1.ffn"))


@each_fork
def test_old_skills_keep_their_bits_and_a_state_needs_no_demonstrations(
    chosen: T2SSettings, toy_stores: list[DemonstrationStore]
):
    plan = lessons(toy_stores)
    method = make_method(chosen)
    seen, first, base = observations(toy_stores[0], 10), [], {}
    for lesson in plan:
        teach(method, lesson)
        base = base or numbers(method.base)
        first.append(called(method, lesson, seen))
        for earlier, actions in zip(plan, first, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
    assert not changed(base, method.base)
    assert len({actions.tobytes() for actions in first}) == len(plan)
    again = make_method(chosen, make_policy(seed=1))
    state: Mapping[str, torch.Tensor] = {name: tensor.clone() for name, tensor in method.state().items()}
    again.restore(state, [replace(lesson, stores=()) for lesson in plan])
    for lesson, actions in zip(plan, first, strict=True):
        np.testing.assert_array_equal(called(again, lesson, seen), actions)


@each_fork
def test_a_lesson_that_begins_again_forks_the_same_rows(chosen: T2SSettings, toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:3])
    method = taught(chosen, plan[:2])
    first = numbers(method.begin(plan[2]).policy)
    teach(method, plan[2])
    torch.rand(3)  # whatever else was drawn
    assert not changed(first, method.begin(plan[2]).policy)


def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path):
    check_interrupted(run_of(replace(FORKS["copies"], share=0.2), tmp_path / "demos"), tmp_path)


def test_a_training_that_forked_other_rows_is_not_gone_on_with(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    method = taught(FORKS["half by use"], plan[:1])
    stop = next(iter(fit(method.begin(plan[1]), TRAIN, 4, [0.5, 1.0], 0)))
    with torch.no_grad():  # another machine's rounding, much enlarged
        layer_of(method.base, "layers.1.ffn").value[missing(method, method.skills[1], "layers.1.ffn")] *= 0
    with pytest.raises(RunError, match="chose other rows of the base"):
        list(fit(method.begin(plan[1]), TRAIN, 4, [0.5, 1.0], 0, start=stop.state()))


@each_fork
def test_forked_copies_learn_while_the_rows_that_they_were_stay(
    chosen: T2SSettings, toy_stores: list[DemonstrationStore]
):
    plan = lessons(toy_stores[:2])
    method = taught(chosen, plan[:1])
    training = method.begin(plan[1])
    before, base = numbers(training.policy), numbers(method.base)
    train(training)
    assert not changed(base, method.base)
    for path, layer in training.policy.maps().items():
        assert isinstance(layer, GrownPattention)
        copies = round(chosen.fork * len(layer.key))
        for name in ("key", "value"):
            moved = (getattr(layer, name) != before[f"{path}.{name}"]).any(dim=1)
            assert moved[:copies].all()


def test_a_copy_of_a_forked_skill_is_that_skill_wherever_the_library_came_from(toy_stores: list[DemonstrationStore]):
    # The rows that the source forked stay left out, though the new skill's own settings fork none, or as many others.
    plan = lessons(toy_stores)
    source = taught(FORKS["half by use"], plan[:2])
    base, skills = source.library(plan[:2])
    lesson = replace(plan[2], index=2, first=0)
    for chosen in (FORKS["half by use"], replace(FORKS["half by use"], fork_by="gradient")):
        method = make_method(replace(chosen, start="copy", near=2.0))  # none is near: it starts from the newest
        method.adopt(base, skills)
        assert method.begin(lesson).policy.fingerprint() == source.entries[1].policy.fingerprint()
        teach(method, lesson)
        assert method.entries[2].policy.fingerprint() != source.entries[1].policy.fingerprint()
    plain = make_method(replace(EVERYWHERE, start="copy", near=2.0))
    plain.adopt(base, skills)
    policy = plain.begin(lesson).policy  # it has no such rows: it starts as the base, with the source's head
    assert isinstance(plain, T2S)
    assert all(len(rows) == len(layer_of(base, path).key) for path, rows in plain.skills[2].active.items())
    assert torch.equal(policy.head.map.weight, source.entries[1].policy.head.map.weight)  # pyright: ignore[reportAttributeAccessIssue]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 4), st.integers(0, 2**31))
@settings(max_examples=40)
def test_copies_in_the_place_of_rows_leave_the_function_as_it_was(
    rows: int, width_in: int, width_out: int, added: int, seed: int
):
    draw = torch.Generator().manual_seed(seed)
    base = Pattention(rows, width_in, width_out, draw).double()
    x = torch.randn(6, width_in, generator=draw, dtype=torch.float64)
    forks = seed % (rows + 1)
    kept, forked = forked_rows(Rows.of([(BASE, np.arange(rows))]), torch.rand(rows, generator=draw), forks)
    new = torch.randn(added, width_out, generator=draw, dtype=torch.float64)
    key = torch.cat([base.key.detach()[forked], new.new_zeros(added, width_in)])
    grown = GrownPattention(base, base.key[kept.row], base.value[kept.row], key, torch.cat([base.value[forked], new]))
    torch.testing.assert_close(grown(x), base(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rival", [LoraSettings(start="copy"), FullCopySettings(start="nearest")], ids=["lora", "copy"])
def test_rivals_can_start_from_the_base_where_none_is_near(
    rival: LoraSettings | FullCopySettings, toy_stores: list[DemonstrationStore]
):
    plan = lessons(toy_stores[:3])
    for otherwise, start in (("newest", 1), ("base", 0)):
        method = make_method(replace(rival, near=2.0, otherwise=otherwise))  # pyright: ignore[reportArgumentType]
        for lesson in plan[:2]:
            teach(method, lesson)
        policy, embedding = method.begin(plan[2]).policy, plan[2].embeddings[0][0]
        seen = observations(toy_stores[2], 6)
        expected = act(method.entries[start].policy, embedding, seen)
        np.testing.assert_allclose(act(policy, embedding, seen), expected, rtol=0, atol=1e-6)


def test_where_none_is_near_the_base_can_be_what_a_skill_starts_from(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores)
    for otherwise, start in (("newest", 2), ("base", 0)):
        method = taught(
            replace(EVERYWHERE, start="copy", near=2.0, otherwise=otherwise),  # pyright: ignore[reportArgumentType]
            plan[:3],
        )
        policy = method.begin(plan[3]).policy
        assert method.started is not None
        assert method.started.name == plan[start].names[0]
        for name, value in method.entries[start].policy.head.named_parameters():
            assert torch.equal(value, policy.head.get_parameter(name))
