"""PSEC: earlier adapters in parameter space, weighted by the state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small import (
    POLICY,
    TRAIN,
    act,
    lessons,
    make_method,
    make_policy,
    more_lessons,
    observations,
    teach,
    train,
)  # fmt: skip
from tests.toy import Toy
from torch import Tensor

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.psec import PsecSettings
from skilltokens.methods.psec.method import HoldMean, Psec
from skilltokens.methods.rule import Rule
from skilltokens.model.composed import ComposedLayer, StateNetwork, adapter_of, composed
from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.model.tpst import norm
from skilltokens.model.traced import TracedActor
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import Array, LibraryError, SettingError

KINDS = [POLICY, dataclasses.replace(POLICY, maps="linear")]
kinds = pytest.mark.parametrize("settings", KINDS, ids=["pattention", "linear"])


def drawn(base: Policy, seed: int, rank: int = 2, size: float = 0.3) -> dict[str, Tensor]:
    """A low-rank adapter of a size that changes what the base does."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for path, leaf in leaves(base):
        for name in matrices(leaf):
            a, b = getattr(leaf, name).shape
            tensors[f"{path}.up.{name}"] = size * torch.randn(a, rank, generator=generator)
            tensors[f"{path}.down.{name}"] = size * torch.randn(rank, b, generator=generator)
    return tensors


def unchanged(base: Policy) -> dict[str, LowRank]:
    """Adapters that change nothing."""
    generator = torch.Generator().manual_seed(9)
    return {path: LowRank.fresh(leaf, [1] * len(matrices(leaf)), generator) for path, leaf in leaves(base)}


def states(base: Policy, earlier: int) -> list[StateNetwork]:
    generator = torch.Generator().manual_seed(7)
    return [StateNetwork(base.settings.width, 8, earlier, generator) for _ in base.stack]


def with_constant(networks: list[StateNetwork], weights: list[float]) -> list[StateNetwork]:
    """State networks that give these weights whatever the state."""
    for network in networks:
        network.out.bias.data.copy_(torch.tensor(weights))
    return networks


def weights_on(policy: Policy, store: DemonstrationStore, lesson: Lesson) -> list[Array]:
    """For each layer the mean weights (earlier,) on a store's observations, as the layer made them."""
    given: list[list[Array]] = [[] for _ in policy.stack]
    hooks = []
    for layer, outputs in zip(policy.stack, given, strict=True):

        def note(_: object, __: object, weights: Tensor, outputs: list[Array] = outputs) -> None:
            outputs.append(weights.numpy())

        hooks.append(state_of(layer).register_forward_hook(note))
    rows = {name: torch.from_numpy(np.array(store[name][:60])).float()[None] for name in Toy().scales}
    with torch.no_grad():
        policy(rows, torch.from_numpy(np.array(lesson.embeddings[0][:1])))
    for hook in hooks:
        hook.remove()
    return [outputs[0][0, 1:].mean(0) for outputs in given]  # of all tokens but the instruction's


def state_of(layer: torch.nn.Module) -> StateNetwork:
    assert isinstance(layer, ComposedLayer)
    return layer.state


@kinds
def test_constant_weights_are_a_merge_in_parameter_space(
    settings: PolicySettings, toy_stores: list[DemonstrationStore]
):
    base = make_policy(settings).requires_grad_(False)
    first, second = drawn(base, 1), drawn(base, 2, rank=3)
    networks = with_constant(states(base, 2), [0.3, 0.7])
    policy = base.derive(composed(base, unchanged(base), [first, second], networks))
    merged = make_policy(settings)
    with torch.no_grad():
        for path, leaf in leaves(merged):
            for name in matrices(leaf):
                delta = [0.3, 0.7]
                for share, tensors in zip(delta, (first, second), strict=True):
                    getattr(leaf, name).add_(share * tensors[f"{path}.up.{name}"] @ tensors[f"{path}.down.{name}"])
    seen, embedding = observations(toy_stores[0], 6), lessons(toy_stores[:1])[0].embeddings[0][0]
    np.testing.assert_allclose(act(policy, embedding, seen), act(merged, embedding, seen), atol=1e-5)
    assert np.abs(act(policy, embedding, seen) - act(base, embedding, seen)).max() > 0.01


@kinds
def test_a_third_skill_that_mixes_two_is_found(settings: PolicySettings):
    """The known answer: what .3 A + .7 B does, and fixed adapters A and B; only the state network learns."""
    base = make_policy(dataclasses.replace(settings, layers=1)).requires_grad_(False)
    adapters = [drawn(base, 1), drawn(base, 2)]

    def layer(networks: list[StateNetwork]) -> ComposedLayer:
        (one,) = base.derive(composed(base, unchanged(base), adapters, networks)).stack
        assert isinstance(one, ComposedLayer)
        return one

    x = torch.randn(10, 6, 32, generator=torch.Generator().manual_seed(3))

    def output(one: ComposedLayer) -> Tensor:
        return one.attend(x, norm(x), *one.keys(norm(x)), torch.zeros(1, 1, 6, 6))

    goal = output(layer(with_constant(states(base, 2), [0.3, 0.7]))).detach()
    learner = layer(states(base, 2))
    optimizer = torch.optim.LBFGS(learner.state.parameters(), max_iter=80, line_search_fn="strong_wolfe")

    def miss() -> Tensor:
        optimizer.zero_grad()
        loss = (output(learner) - goal).square().mean()
        loss.backward()
        return loss

    optimizer.step(miss)
    weights = learner.state(norm(x)).detach()
    assert (weights - torch.tensor([0.3, 0.7])).abs().max() < 0.02


@kinds
def test_a_new_skill_begins_as_the_base_beside_earlier_adapters(
    settings: PolicySettings, toy_stores: list[DemonstrationStore]
):
    method = make_method(PsecSettings(), make_policy(settings))
    assert isinstance(method, Psec)
    plan = lessons(toy_stores[:3])
    teach(method, plan[0])
    teach(method, plan[1])
    training = method.begin(plan[2])
    assert all(isinstance(layer, ComposedLayer) for layer in training.policy.stack)
    seen, embedding = observations(toy_stores[2], 14), plan[2].embeddings[0][0]
    np.testing.assert_allclose(act(training.policy, embedding, seen), act(method.base, embedding, seen), atol=1e-6)
    own = {id(parameter) for parameter in training.parameters()}
    assert all(id(p) in own for layer in training.policy.stack for p in state_of(layer).parameters())
    share = sum(parameter.numel() for parameter in training.parameters()) / count(method.base)
    assert 0.05 < share <= 0.08
    before = adapter_of(method.own(method.entries[1].policy))
    kept = {name: tensor.clone() for name, tensor in before.items()}
    train(training)
    method.finish(plan[2])
    assert all(torch.equal(before[name], kept[name]) for name in kept)
    weights = [state_of(layer)(torch.randn(5, 32)) for layer in training.policy.stack]
    assert all(bool(w.abs().sum()) for w in weights)


@kinds
def test_acting_with_a_cache_and_traced_is_the_whole_window(
    settings: PolicySettings, toy_stores: list[DemonstrationStore]
):
    method = make_method(PsecSettings(), make_policy(settings))
    plan = lessons(toy_stores[:3])
    for lesson in plan:
        teach(method, lesson, dataclasses.replace(TRAIN, iterations=8))
    policy, embedding = method.entries[2].policy, plan[2].embeddings[0][0]
    seen = observations(toy_stores[2], 8)
    window = {name: torch.from_numpy(np.stack([s[name] for s in seen], 1)) for name in seen[0]}
    with torch.no_grad():
        whole = policy.actions(policy(window, torch.as_tensor(embedding).expand(3, -1)))
    acted = act(policy, embedding, seen)
    np.testing.assert_allclose(acted, whole.movedim(0, 1).numpy(), atol=1e-5)
    traced = TracedActor(policy, embedding)
    memory = traced.start(3)
    np.testing.assert_array_equal(np.stack([traced.act(s, memory) for s in seen]), acted)
    assert traced.exact


def test_the_nearest_skills_are_used_and_never_more_than_asked(toy_stores: list[DemonstrationStore]):
    method = make_method(PsecSettings(most=2))
    assert isinstance(method, Psec)
    plan = more_lessons(toy_stores[0], 6)
    for lesson in plan:
        method.begin(lesson)
        method.finish(lesson)
    assert method.used(plan[5].embeddings[0][0], 1) == []  # the base has no adapter
    assert method.used(plan[5].embeddings[0][0], 2) == [1]
    near = method.used(plan[5].embeddings[0][0], 5)
    cosines = {n: float((plan[n].embeddings[0] @ plan[5].embeddings[0][0]).max()) for n in range(1, 5)}
    assert near == sorted(sorted(cosines, key=lambda n: (-cosines[n], n))[:2])
    assert method.used(plan[3].embeddings[0][0], 5)[-1] >= 3  # a task that comes back uses its own


def test_without_earlier_skills_it_is_lora(toy_stores: list[DemonstrationStore]):
    method = make_method(PsecSettings(most=0))
    plan = lessons(toy_stores[:3])
    for lesson in plan:
        training = teach(method, lesson)
        assert type(training.rule) is Rule
    assert not any(isinstance(layer, ComposedLayer) for layer in method.entries[2].policy.stack)
    assert [skill.form for skill in method.library(plan)[1]] == ["rows", "lora", "lora"]


def test_the_penalty_holds_the_mean_weight(toy_stores: list[DemonstrationStore]):
    means = {}
    for hold in (0.0, 100.0):
        method = make_method(PsecSettings(hold=hold))
        plan = lessons(toy_stores)
        for lesson in plan[:3]:
            teach(method, lesson)
        training = teach(method, plan[3], dataclasses.replace(TRAIN, iterations=40))
        assert isinstance(training.rule, HoldMean) == bool(hold)
        means[hold] = float(weights_on(training.policy, toy_stores[3], plan[3])[0].mean())
    assert abs(means[100.0] - 1 / 2) < 0.05  # two earlier adapters
    assert abs(means[0.0] - 1 / 2) > 0.1


def test_a_budget_without_room_is_refused_before_the_first_lesson(toy_stores: list[DemonstrationStore]):
    method = make_method(PsecSettings(share=0.05))
    method.check(1)
    with pytest.raises(SettingError, match=r"method\.share 0\.05 leaves no rank"):
        method.check(2)


def test_a_library_keeps_what_a_skill_is_composed_of(toy_stores: list[DemonstrationStore], tmp_path: Path):
    method, plan = make_method(PsecSettings()), lessons(toy_stores)
    for lesson in plan:
        teach(method, lesson)
    base, skills = method.library(plan)
    assert [skill.form for skill in skills] == ["rows", "lora", "composed", "composed"]
    assert skills[3].content.needs == tuple(sorted(skill.identity for skill in skills[1:3]))
    features = dict(toy_stores[0].features)
    library = SkillLibrary.create(
        tmp_path / "library", base, [(skill, {}) for skill in skills], features, "bag of words"
    )
    for number, entry in enumerate(method.entries):
        assert library.policy(number).fingerprint() == entry.policy.fingerprint()
    for damage, said in (("hidden.bias", "layers.0.state.hidden.bias"), ("out.weight", "has another shape")):
        tensors = dict(skills[3].tensors)
        name = f"layers.0.state.{damage}"
        tensors = {n: t for n, t in tensors.items() if n != name}
        if damage == "out.weight":
            tensors[name] = torch.zeros(5, 8)
        with pytest.raises(LibraryError, match=said):
            library.add(skills[3].with_content(tensors=tensors).named("damaged"))
