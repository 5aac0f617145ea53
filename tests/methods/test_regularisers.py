"""L2 and EWC: what pulls, how strongly, to where; and the Fisher information that says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pictured import pictured_lessons, pictured_policy, pictured_stores
from tests.small import TRAIN, changed, lessons, make_policy, numbers, teach
from torch import Tensor

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Lesson, Method
from skilltokens.methods.ewc import EWCSettings
from skilltokens.methods.ewc.fisher import drawn, fisher
from skilltokens.methods.ewc.method import EWC
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.l2 import L2Settings
from skilltokens.methods.l2.method import L2
from skilltokens.methods.pull import Pull, vector
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.heads import MixtureHead, RegressionHead
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings

DECAYING = dataclasses.replace(TRAIN, iterations=8, first_iterations=8, weight_decay=0.01, observation_noise=0.05)
TINY = PolicySettings(width=16, layers=1, history=4)
KINDS: dict[str, tuple[type[Method], Any]] = {
    "l2": (L2, L2Settings()),
    "ewc": (EWC, EWCSettings(samples=10)),
    "ewc per task": (EWC, EWCSettings(samples=10, form="per-task")),
}


def build(name: str, settings: Any = DECAYING, **changes: Any) -> Any:
    kind, chosen = KINDS[name]
    return kind(make_policy(), dataclasses.replace(chosen, **changes), settings, 0)


# ------------------------------------------------ the two ends of the weight


@pytest.mark.parametrize("name", KINDS)
def test_a_weight_of_0_is_fine_tuning_bit_for_bit(name: str, toy_stores: list[DemonstrationStore]):
    plain, rival = Sequential(make_policy(), SequentialSettings(), DECAYING, 0), build(name, weight=0.0)
    for lesson in lessons(toy_stores[:3]):
        for method in (plain, rival):
            teach(method, lesson, DECAYING)
    assert not changed(numbers(plain.base), rival.base)


def ways(name: str, weight: float, plan: list[Lesson]) -> tuple[Tensor, Tensor]:
    """How far each parameter went in a second lesson, and the Fisher information before it (or ones)."""
    settings = dataclasses.replace(DECAYING, iterations=60, weight_decay=0.0, average=0.0)
    method = build(name, settings, weight=weight)
    teach(method, plan[0], settings)
    before, strength = vector(method.base).detach().clone(), method.kept.get("fisher", torch.ones(1, 1))[0]
    teach(method, plan[1], settings)
    return (vector(method.base).detach() - before).abs(), strength


@pytest.mark.parametrize("name", KINDS)
def test_with_a_great_weight_what_matters_hardly_moves(name: str, toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    free, strength = ways(name, 0.0, plan)
    held, _ = ways(name, 1e7, plan)
    matters = (strength > 0.1 * strength.mean()).expand(len(held))
    assert float(held[matters].max()) < 2e-3
    assert float(held[matters].mean()) < 1e-4 < 1e-2 < float(free[matters].mean())


def test_the_loss_grows_by_half_the_weight_times_what_pulls(toy_stores: list[DemonstrationStore]):
    policy = make_policy()
    there = vector(policy).detach()
    anchor = torch.stack([there - 0.5, there + 2.0])
    strength = torch.stack([torch.full_like(there, 3.0), torch.ones_like(there)])
    loss = Pull(policy, 4.0, anchor, strength).loss(torch.tensor(1.0), Any, Any)  # pyright: ignore[reportArgumentType]
    assert float(loss.detach()) == pytest.approx(1 + 0.5 * 4 * len(there) * (3 * 0.25 + 4), rel=1e-4)
    loss.backward()
    for parameter in policy.parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, torch.full_like(parameter, 4 * (3 * 0.5 - 2.0)), rtol=1e-3, atol=0)


# ------------------------------------------------ L2


def test_l2_pulls_to_the_last_parameters_more_with_each_task(toy_stores: list[DemonstrationStore]):
    method, plan = build("l2"), lessons(toy_stores)
    assert not isinstance(method.begin(plan[0]).rule, Pull)
    for number, lesson in enumerate(plan):
        rule = method.begin(lesson).rule
        if number:
            assert isinstance(rule, Pull)
            assert rule.strength.item() == number
            assert torch.equal(rule.anchor[0], vector(method.base).detach())
        teach(method, lesson)
    assert method.stored() == sum(parameter.numel() for parameter in method.base.parameters())
    assert method.remembered() == 0


def test_l2_is_pulled_to_the_policy_of_a_library(toy_stores: list[DemonstrationStore]):
    method, library = build("l2"), make_policy(seed=3)
    method.adopt(library, [])
    rule = method.begin(lessons(toy_stores[:1])[0]).rule
    assert isinstance(rule, Pull)
    assert rule.strength.item() == 1
    assert torch.equal(rule.anchor[0], vector(library).detach())


# ------------------------------------------------ EWC's forms


def test_the_forms_of_ewc_are_one_after_a_single_task(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:3])
    methods = [build(name) for name in ("ewc", "ewc per task")]
    for lesson in plan[:2]:
        for method in methods:
            teach(method, lesson, DECAYING)
        assert methods[0].base.fingerprint() == methods[1].base.fingerprint()
    for method in methods:
        teach(method, plan[2], DECAYING)
    assert methods[0].base.fingerprint() != methods[1].base.fingerprint()


def test_what_each_form_keeps_is_counted(toy_stores: list[DemonstrationStore]):
    online, apart = build("ewc"), build("ewc per task")
    size = sum(parameter.numel() for parameter in online.base.parameters())
    for number, lesson in enumerate(lessons(toy_stores[:3]), 1):
        for method in (online, apart):
            teach(method, lesson)
        assert online.stored() == 2 * size
        assert apart.stored() == size + 2 * number * size
        assert online.remembered() == apart.remembered() == 0


def test_importance_is_summed_and_decays_where_it_is_asked_to(toy_stores: list[DemonstrationStore]):
    first, second = lessons(toy_stores[:2])
    sums, alone = [], []
    for decay in (1.0, 0.25):
        method = build("ewc", weight=0.0, decay=decay)
        teach(method, first)
        alone.append(method.kept["fisher"][0])
        teach(method, second)
        sums.append(method.kept["fisher"][0])
    assert torch.equal(alone[0], alone[1])
    torch.testing.assert_close(sums[0] - sums[1], 0.75 * alone[0], rtol=1e-3, atol=1e-6)
    rule = method.begin(second).rule
    assert isinstance(rule, Pull)
    assert torch.equal(rule.strength, 0.25 * method.kept["fisher"])


def test_tasks_of_one_lesson_each_have_their_importance(toy_stores: list[DemonstrationStore]):
    (joint,) = lessons(toy_stores[:3], joint=True)
    for name, rows in (("ewc", 1), ("ewc per task", 3)):
        method = build(name)
        teach(method, joint)
        assert len(method.kept["fisher"]) == rows
        assert method.kept["fisher"].sum() == pytest.approx(float(separate(method, joint).sum()), rel=1e-5)


def separate(method: EWC, joint: Lesson) -> Tensor:
    rows = [
        fisher(
            method.base, Source(task, TRAIN), method.settings.samples, np.random.default_rng([0, joint.index, number])
        )
        for number, task in enumerate(joint.apart())
    ]
    return torch.stack(rows)


# ------------------------------------------------ the Fisher information


def episode_of(store: DemonstrationStore) -> tuple[Lesson, Source]:
    """A lesson, and its windows, of one demonstration."""
    (lesson,) = lessons([store.part(0, 1)])
    return lesson, Source(lesson, TRAIN)


def jacobians(policy: Policy, seen: Examples) -> Tensor:
    """The derivatives of all actions of all steps that are no padding (steps, A, P), one by one."""
    actions = policy.head(policy(seen.observation, seen.words, seen.mask))[seen.mask]
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(number, list(policy.parameters()), retain_graph=True)])
        for number in actions.flatten()
    ]
    return torch.stack(rows).unflatten(0, actions.shape)


def estimated(policy: Policy, source: Source, times: int) -> Tensor:
    """The mean of several estimates from all windows."""
    estimates = [fisher(policy, source, 10**6, np.random.default_rng(seed)) for seed in range(times)]
    return torch.stack(estimates).mean(0)


def test_fisher_information_is_the_sum_made_by_hand(toy_stores: list[DemonstrationStore]):
    policy = make_policy(TINY)
    _, source = episode_of(toy_stores[0])
    exact, steps = torch.zeros(len(vector(policy))), 0
    for number in range(len(source)):
        derivatives = jacobians(policy, source.at(np.array([number]), np.random.default_rng(0)))
        exact += 2 / derivatives.shape[1] * derivatives.square().sum((0, 1))
        steps += len(derivatives)
    exact /= steps
    estimate = estimated(policy, source, 30)
    assert float(estimate.sum()) == pytest.approx(float(exact.sum()), rel=0.1)
    assert float(torch.corrcoef(torch.stack([estimate, exact]))[0, 1]) > 0.98
    assert not estimate[exact == 0].any()
    # the trap: the square of the batch's mean gradient
    whole = source.at(np.arange(len(source)), np.random.default_rng(0))
    x = policy(whole.observation, whole.words, whole.mask)
    losses = policy.head.loss(x, drawn(policy.head, x.detach(), np.random.default_rng(0))) * whole.mask
    gradients = torch.autograd.grad(losses.sum() / whole.mask.sum(), list(policy.parameters()))
    assert sum(float(g.square().sum()) for g in gradients) < 0.3 * float(exact.sum())


def test_half_of_it_is_by_how_much_the_loss_grows(toy_stores: list[DemonstrationStore]):
    policy = make_policy(TINY)
    _, source = episode_of(toy_stores[0])
    estimate = estimated(policy, source, 20)
    seen = source.at(np.arange(len(source)), np.random.default_rng(0))

    def outputs() -> Tensor:
        with torch.no_grad():
            return policy(seen.observation, seen.words, seen.mask)

    perfect = policy.head(outputs()).detach()  # demonstrations that the policy imitates to the last bit

    @torch.no_grad()
    def loss() -> float:
        return float((policy.head.loss(outputs(), perfect) * seen.mask).sum() / seen.mask.sum())

    assert loss() == 0
    there = vector(policy).detach().clone()
    for index in estimate.argsort(descending=True)[[0, 3, 10, 30]]:
        away = there.clone()
        away[index] += 0.02
        torch.nn.utils.vector_to_parameters(away, policy.parameters())
        assert loss() == pytest.approx(0.5 * float(estimate[index]) * 0.02**2, rel=0.35)


def test_importance_does_not_vanish_where_a_policy_imitates_to_the_last_bit(toy_stores: list[DemonstrationStore]):
    """The empirical Fisher information would: it has the demonstrations' own actions."""
    policy = make_policy(TINY)
    _, source = episode_of(toy_stores[0])
    assert float(fisher(policy, source, 5, np.random.default_rng(0)).sum()) > 1e-2


def test_actions_are_drawn_as_the_heads_say():
    random = np.random.default_rng(0)
    head = RegressionHead(4, 2, torch.Generator().manual_seed(0))
    x = torch.randn(1, 4).expand(40000, 4)
    away = drawn(head, x, random) - head(x).detach()
    assert away.mean(0).numpy() == pytest.approx([0, 0], abs=0.03)
    assert away.var(0).numpy() == pytest.approx([1, 1], abs=0.03)  # A / 2
    mixed = MixtureHead(4, 2, 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        mixed.map.bias[-6:] = -1.0
    weights, means, deviations = (part.detach()[0] for part in mixed.parts(x[:1]))
    actions = drawn(mixed, x, random)
    mean = (weights.exp()[:, None] * means).sum(0)
    square = (weights.exp()[:, None] * (means.square() + (2 * deviations).exp())).sum(0)
    torch.testing.assert_close(actions.mean(0), mean, atol=0.01, rtol=0)
    torch.testing.assert_close(actions.square().mean(0), square, atol=0.01, rtol=0.02)


@pytest.mark.parametrize("changes", [{"head": "mixture"}, {"chunk": 3}, {"maps": "linear"}])
def test_every_kind_of_policy_has_an_importance(changes: dict[str, Any], toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    policy = make_policy(dataclasses.replace(TINY, **changes))
    source = Source(dataclasses.replace(lesson, chunk=policy.settings.chunk), TRAIN)
    strength = fisher(policy, source, 5, np.random.default_rng(0))
    assert strength.shape == vector(policy).shape
    assert torch.isfinite(strength).all()
    assert float(strength.min()) >= 0
    assert float((strength > 0).float().mean()) > 0.5
    assert torch.equal(strength, fisher(policy, source, 5, np.random.default_rng(0)))


def test_ewc_learns_from_pictures(tmp_path: Path):
    plan = pictured_lessons(pictured_stores(tmp_path))
    method = EWC(pictured_policy(), EWCSettings(samples=3), TRAIN, 0)
    for lesson in plan[:2]:
        teach(method, lesson)
    start = 0
    trunk = 0.0
    for name, parameter in method.base.named_parameters():
        if "trunk" in name:
            trunk += float(method.kept["fisher"][0, start : start + parameter.numel()].sum())
        start += parameter.numel()
    assert trunk > 0
