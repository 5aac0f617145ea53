"""Bottleneck adapters: small networks at the end of each residual branch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small import POLICY, TRAIN, act, lessons, make_method, make_policy, observations, teach

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.adapters import AdaptersSettings
from skilltokens.methods.base import count
from skilltokens.model.bottleneck import Bottleneck, branch_ends
from skilltokens.model.settings import PolicySettings
from skilltokens.model.tpst import make_linear
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import LibraryError, SettingError

KINDS = [POLICY, dataclasses.replace(POLICY, maps="linear")]
kinds = pytest.mark.parametrize("settings", KINDS, ids=["pattention", "linear"])


def test_an_adapter_adds_a_narrow_network_to_what_its_map_gives():
    g = torch.Generator().manual_seed(0)
    x, linear_map = torch.randn(7, 5, generator=g), make_linear(5, 4, g)
    adapted = Bottleneck(linear_map, 4, 3, g)
    assert torch.equal(adapted(x), linear_map(x))
    with torch.no_grad():
        adapted.up.weight.normal_(generator=g)
        adapted.up.bias.normal_(generator=g)
    h = linear_map(x)
    narrow = torch.nn.functional.gelu(h @ adapted.down.weight.T + adapted.down.bias)
    torch.testing.assert_close(adapted(x), h + narrow @ adapted.up.weight.T + adapted.up.bias)


@kinds
def test_a_new_skill_begins_as_the_base_and_fills_its_budget(
    settings: PolicySettings, toy_stores: list[DemonstrationStore]
):
    method, plan = make_method(AdaptersSettings(), make_policy(settings)), lessons(toy_stores[:2])
    teach(method, plan[0])
    training = method.begin(plan[1])
    seen, embedding = observations(toy_stores[1], 8), plan[1].embeddings[0][0]
    np.testing.assert_array_equal(act(training.policy, embedding, seen), act(method.base, embedding, seen))
    assert len(branch_ends(method.base)) == 2 * settings.layers
    share = sum(parameter.numel() for parameter in training.parameters()) / count(method.base)
    assert 0.075 < share <= 0.08
    teach(method, plan[1])
    assert not np.array_equal(act(method.entries[1].policy, embedding, seen), act(method.base, embedding, seen))


@kinds
def test_acting_with_a_cache_is_the_whole_window(settings: PolicySettings, toy_stores: list[DemonstrationStore]):
    method, plan = make_method(AdaptersSettings(), make_policy(settings)), lessons(toy_stores[:2])
    for lesson in plan:
        teach(method, lesson, dataclasses.replace(TRAIN, iterations=8))
    policy, embedding = method.entries[1].policy, plan[1].embeddings[0][0]
    seen = observations(toy_stores[1], 8)
    window = {name: torch.from_numpy(np.stack([s[name] for s in seen], 1)) for name in seen[0]}
    with torch.no_grad():
        whole = policy.actions(policy(window, torch.from_numpy(np.array(embedding)).expand(3, -1)))
    np.testing.assert_allclose(act(policy, embedding, seen), whole.movedim(0, 1).numpy(), atol=1e-5)


def test_a_budget_without_room_is_refused_before_the_first_lesson():
    method = make_method(AdaptersSettings(share=0.01))
    method.check(1)
    with pytest.raises(SettingError, match=r"method\.share 0\.01 leaves no unit"):
        method.check(2)


def test_a_library_keeps_adapters_and_refuses_damaged_ones(toy_stores: list[DemonstrationStore], tmp_path: Path):
    method, plan = make_method(AdaptersSettings()), lessons(toy_stores[:2])
    for lesson in plan:
        teach(method, lesson)
    base, skills = method.library(plan)
    assert [skill.form for skill in skills] == ["rows", "bottleneck"]
    features = dict(toy_stores[0].features)
    library = SkillLibrary.create(tmp_path / "library", base, [(s, {}) for s in skills], features, "bag of words")
    for number, entry in enumerate(method.entries):
        assert library.policy(number).fingerprint() == entry.policy.fingerprint()
    name = "layers.1.ffn.up.weight"
    for damaged in (torch.zeros(3, 3), None):
        tensors = {n: t for n, t in skills[1].tensors.items() if n != name}
        if damaged is not None:
            tensors[name] = damaged
        with pytest.raises(LibraryError, match=r"layers\.1\.ffn has no up\.weight"):
            library.add(skills[1].with_content(tensors=tensors).named("damaged"))
    with pytest.raises(LibraryError, match="unknown tensor"):
        library.add(skills[1].with_content(tensors={**skills[1].tensors, "odd": torch.zeros(1)}).named("damaged"))
