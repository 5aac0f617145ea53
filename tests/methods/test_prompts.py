"""A prompt pool (L2P): tokens in front of the frozen base's, shared by skills and picked by the instruction."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tests.small import POLICY, TRAIN, act, called, changed, lessons, make_policy, numbers, observations, teach, train

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import count
from skilltokens.methods.prompts import PromptsSettings
from skilltokens.methods.prompts.method import Prompts
from skilltokens.model.prompted import PromptedLayer
from skilltokens.model.settings import PolicySettings
from skilltokens.model.tpst import TPSTLayer, norm
from skilltokens.model.traced import TracedActor
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import LibraryError, SettingError

KINDS = [POLICY, dataclasses.replace(POLICY, maps="linear"), dataclasses.replace(POLICY, step="separate")]
SMALL = PromptsSettings(pool=4, top=2)


def make(settings: PromptsSettings = SMALL, policy: PolicySettings = POLICY, seed: int = 0) -> Prompts:
    return Prompts(make_policy(policy, seed), settings, TRAIN, 0)


def test_prompts_are_tokens_that_all_others_attend_to():
    """The known answer: attention over the prompts and the tokens, in one plain sequence, less the prompts' outputs."""
    g = torch.Generator().manual_seed(0)
    layer = TPSTLayer(16, 2, 4, "linear", 1.0, g)
    prompts = [torch.nn.Parameter(torch.randn(3, 16, generator=g)) for _ in range(2)]
    x = torch.randn(5, 6, 16, generator=g)
    bias = torch.zeros(1, 1, 6, 6).masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
    with_prompts = PromptedLayer(layer, prompts)
    got = with_prompts.attend(x, norm(x), *with_prompts.keys(norm(x)), bias)
    both = torch.cat([torch.cat(list(prompts)).expand(5, -1, -1), x], 1)
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 6:, 6:] = bias
    plain = layer.attend(both, norm(both), *layer.keys(norm(both)), mask)[:, 6:]
    torch.testing.assert_close(got, plain)
    assert not torch.allclose(got, layer.attend(x, norm(x), *layer.keys(norm(x)), bias))


@pytest.mark.parametrize("policy", KINDS, ids=["pattention", "linear", "separate"])
def test_acting_with_a_cache_and_traced_is_the_whole_window(
    policy: PolicySettings, toy_stores: list[DemonstrationStore]
):
    method, plan = make(policy=policy), lessons(toy_stores[:2])
    for lesson in plan:
        teach(method, lesson, dataclasses.replace(TRAIN, iterations=8))
    acting, embedding = method.entries[1].policy, plan[1].embeddings[0][0]
    seen = observations(toy_stores[1], 8)
    window = {name: torch.from_numpy(np.stack([s[name] for s in seen], 1)) for name in seen[0]}
    with torch.no_grad():
        whole = acting.actions(acting(window, torch.from_numpy(np.array(embedding)).expand(3, -1)))
    acted = act(acting, embedding, seen)
    np.testing.assert_allclose(acted, whole.movedim(0, 1).numpy(), atol=1e-5)
    traced = TracedActor(acting, embedding)
    memory = traced.start(3)
    np.testing.assert_array_equal(np.stack([traced.act(s, memory) for s in seen]), acted)


def test_a_new_skill_trains_the_picked_prompts_their_keys_and_its_own_head(toy_stores: list[DemonstrationStore]):
    method, plan = make(), lessons(toy_stores[:3])
    teach(method, plan[0])
    assert not method.keys
    base = numbers(method.base)
    for lesson in plan[1:]:
        training = method.begin(lesson)
        share = sum(p.numel() for p in training.parameters()) / count(method.base)
        assert 0.06 < share <= 0.08
        picked, others = method.trained[-1], set(range(4)) - set(method.trained[-1])
        tokens = {n: [t.clone() for t in method.prompts[n]] for n in range(4)}
        keys = [key.clone() for key in method.keys]
        train(training)
        method.finish(lesson)
        for n in picked:
            assert not any(torch.equal(a, b) for a, b in zip(tokens[n], method.prompts[n], strict=True))
            assert not torch.equal(keys[n], method.keys[n])
        for n in others:
            assert all(torch.equal(a, b) for a, b in zip(tokens[n], method.prompts[n], strict=True))
            assert torch.equal(keys[n], method.keys[n])
    assert not changed(base, method.base)
    assert len(set(method.trained[1]) & set(method.trained[2])) == 0  # diverse: of four, each pair once
    stored = sum(p.numel() for tokens in method.prompts for p in tokens) + sum(key.numel() for key in method.keys)
    own = sum(count(module) for modules in method.own for module in modules.values())
    assert method.stored() == count(method.base) + stored + own


def test_keys_are_pulled_to_the_instruction(toy_stores: list[DemonstrationStore]):
    method, plan = make(PromptsSettings(pool=4, top=2, pull=5.0)), lessons(toy_stores[:2])
    teach(method, plan[0])
    training = method.begin(plan[1])
    query = torch.from_numpy(np.array(plan[1].embeddings[0][0]))

    def cosines() -> list[float]:
        return [float(torch.cosine_similarity(query, method.keys[n].detach(), dim=0)) for n in method.trained[-1]]

    before = cosines()
    train(training, dataclasses.replace(TRAIN, iterations=60))
    assert min(cosines()) > max(before)
    method.finish(plan[1])
    assert method._pick(plan[1].embeddings[0][0]) == method.trained[-1]


def test_a_shared_prompt_that_is_trained_further_changes_what_an_earlier_skill_does(
    toy_stores: list[DemonstrationStore],
):
    method, plan = make(PromptsSettings(pool=2, top=2)), lessons(toy_stores[:3])  # all prompts are everybody's
    seen = observations(toy_stores[1], 6)
    teach(method, plan[0])
    teach(method, plan[1])
    first, learned = called(method, plan[0], seen), called(method, plan[1], seen)
    teach(method, plan[2])
    assert not Prompts.keeps
    assert not np.array_equal(called(method, plan[1], seen), learned)
    np.testing.assert_array_equal(called(method, plan[0], seen), first)  # the base has no prompts


def test_a_state_brings_the_pool_back(toy_stores: list[DemonstrationStore]):
    method, plan = make(PromptsSettings(pool=3, top=2)), lessons(toy_stores[:3])
    for lesson in plan:
        teach(method, lesson)
    again = make(PromptsSettings(pool=3, top=2), seed=9)
    again.restore({name: tensor.clone() for name, tensor in method.state().items()}, plan)
    seen = observations(toy_stores[0], 6)
    for lesson in plan:
        np.testing.assert_array_equal(called(again, lesson, seen), called(method, lesson, seen))
    (fourth,) = lessons(toy_stores)[3:]
    for one in (method, again):
        one.begin(fourth)
    assert method.trained == again.trained
    assert not changed(numbers(method.entries[-1].policy), again.entries[-1].policy)


def test_impossible_pools_are_refused_before_the_first_lesson():
    for settings, said in (
        (PromptsSettings(share=0.01), r"method\.share 0\.01 leaves no room for 5 prompts"),
        (PromptsSettings(length=50), r"no room for 5 prompts of 50 tokens"),
    ):
        make(settings).check(1)
        with pytest.raises(SettingError, match=said):
            make(settings).check(2)
    with pytest.raises(SettingError, match=r"method\.top 5 is more than the 2 prompts of method\.pool"):
        PromptsSettings(pool=2).check()


def test_a_library_keeps_each_skills_prompts_and_refuses_damaged_ones(
    toy_stores: list[DemonstrationStore], tmp_path: Path
):
    method, plan = make(PromptsSettings(pool=12, top=11, length=1, share=0.2)), lessons(toy_stores[:3])
    for lesson in plan:
        teach(method, lesson)
    base, skills = method.library(plan)
    assert [skill.form for skill in skills] == ["rows", "prompted", "prompted"]
    features = dict(toy_stores[0].features)
    library = SkillLibrary.create(tmp_path / "library", base, [(s, {}) for s in skills], features, "bag of words")
    for number, entry in enumerate(method.entries):
        assert library.policy(number).fingerprint() == entry.policy.fingerprint()
    tensors = dict(skills[1].tensors)
    name = next(name for name in tensors if ".prompts." in name)
    for damaged in (tensors | {name: torch.zeros(3, 3)}, {n: t for n, t in tensors.items() if n != name}):
        with pytest.raises(LibraryError, match="its prompts"):
            library.add(skills[1].with_content(tensors=damaged).named("damaged"))
    assert isinstance(cast("torch.nn.Module", library.policy(1).stack[0]), PromptedLayer)
