"""PackNet: equal shares, bits that never move again, pruning that survives an interruption."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import POLICY, TRAIN, act, called, changed, lessons, make_policy, numbers, observations, teach, train

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lifelong import learn
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.packnet import PackNetSettings
from skilltokens.methods.packnet.method import FREE, LATER, Pack, PackNet, largest
from skilltokens.methods.rule import Now
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.train import fit
from skilltokens.types import SettingError

DECAYING = dataclasses.replace(TRAIN, iterations=8, first_iterations=8, weight_decay=0.1, observation_noise=0.05)


def build(tasks: int = 3, train: TrainSettings = DECAYING, policy: PolicySettings = POLICY, **changes: Any) -> PackNet:
    method = PackNet(make_policy(policy), PackNetSettings(**changes), train, 0)
    method.check(tasks)
    return method


def taught(method: PackNet, plan: Sequence[Lesson]) -> PackNet:
    for lesson in plan:
        teach(method, lesson, method.train)
    return method


# ------------------------------------------------ what is owned


@pytest.mark.parametrize("average", [0.98, 0.0])
@pytest.mark.parametrize("own_head", [True, False])
@pytest.mark.parametrize("policy", [POLICY, dataclasses.replace(POLICY, maps="linear", head="mixture")], ids=str)
def test_what_a_task_owns_never_moves_again(
    average: float, own_head: bool, policy: PolicySettings, toy_stores: list[DemonstrationStore]
):
    method = build(train=dataclasses.replace(DECAYING, average=average), policy=policy, own_head=own_head)
    plan, seen = lessons(toy_stores[:3]), observations(toy_stores[0], 4)
    learned: list[Any] = []
    for lesson in plan:
        owned = {name: (method.network.get_parameter(name).clone(), owner) for name, owner in method.owner.items()}
        teach(method, lesson, method.train)
        for name, (before, owner) in owned.items():
            after = method.network.get_parameter(name)
            assert torch.equal(after[owner > 0], before[owner > 0])
            assert not torch.equal(after[owner == FREE], before[owner == FREE])
        learned.append(called(method, lesson, seen))
        for earlier, actions in zip(plan, learned, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
    assert not np.array_equal(learned[0], learned[1])


def test_shares_are_equal_in_every_matrix(toy_stores: list[DemonstrationStore]):
    method = taught(build(), lessons(toy_stores[:3]))
    for name, owner in method.owner.items():
        shares = [int((owner == number).sum()) for number in (1, 2, 3)]
        assert max(shares) - min(shares) <= 1, name
        assert sum(shares) == owner.numel(), name  # the last task has all that is left, and prunes nothing
    assert {"layers.0.q.key", "layers.1.ffn.value", "instruction.map.weight"} <= method.owner.keys()
    vectors = {name for name, _ in method.network.named_parameters()} - method.owner.keys()
    assert {"layers.0.distance", "instruction.map.bias", "head.map.weight"} <= vectors


def test_vectors_are_learned_with_the_first_task_alone(toy_stores: list[DemonstrationStore]):
    method, plan = build(), lessons(toy_stores[:2])
    first = numbers(method.network)
    teach(method, plan[0], DECAYING)
    second = numbers(method.network)
    training = teach(method, plan[1], DECAYING)
    third = numbers(method.network)
    vectors = ["layers.0.distance", "layers.1.prefix", "instruction.map.bias"]
    for name in vectors:
        assert not torch.equal(first[name], second[name])
        assert torch.equal(second[name], third[name])
    trained = {id(parameter) for parameter in training.parameters()}
    assert not any(id(method.network.get_parameter(name)) in trained for name in vectors)


def test_a_skill_is_the_network_without_what_later_tasks_own(toy_stores: list[DemonstrationStore]):
    method = taught(build(), lessons(toy_stores[:3]))
    whole = dict(method.network.named_parameters())
    for number, entry in enumerate(method.entries, 1):
        for name, weight in entry.policy.named_parameters():
            if name in method.owner:
                assert torch.equal(weight, whole[name].masked_fill(method.owner[name] > number, 0.0))
            elif not name.startswith("head."):
                assert torch.equal(weight, whole[name])


def test_pruning_leaves_the_largest_free_weights():
    sizes = torch.tensor([[0.5, 3.0], [2.0, 2.0]])
    assert largest(sizes, 2).tolist() == [[False, True], [True, False]]
    weight = torch.nn.Parameter(torch.tensor([5.0, -3.0, 1.0, -4.0, 2.0]))
    owner = torch.tensor([1, 0, 0, 0, 0], dtype=torch.int8)
    rule, restarts = Pack({"w": weight}, {"w": owner}, 0.5, {"w": 2}), []
    now = Now(0, 4, np.random.default_rng(0), np.random.default_rng(0), lambda: restarts.append(1))
    with torch.no_grad():
        weight[0] = 9.0  # as an optimizer's momentum would
        rule.stepped(now)
        assert weight.tolist() == [5.0, -3.0, 1.0, -4.0, 2.0]
        assert not restarts
        rule.stepped(dataclasses.replace(now, step=1))
    assert weight.tolist() == [5.0, -3.0, 0.0, -4.0, 0.0]
    assert rule.kept["w"].tolist() == [1, FREE, LATER, FREE, LATER]
    assert (restarts, rule.untrained()) == ([1], 1)


def test_weights_that_cannot_move_do_not_shorten_the_step():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([100.0, 1.0])
    rule = Pack({"w": weight}, {"w": torch.tensor([1, 0], dtype=torch.int8)}, 0.5, {"w": 1})
    rule.gradients(Now(0, 4, np.random.default_rng(0), np.random.default_rng(0)))
    assert weight.grad.tolist() == [0.0, 1.0]


def test_after_pruning_the_policy_that_is_shown_is_the_pruned_one(toy_stores: list[DemonstrationStore]):
    method, (lesson, *_) = build(retrain=0.5), lessons(toy_stores[:3])
    zeros: list[float] = []
    for _ in fit(method.begin(lesson), DECAYING, 8, [0.25, 0.5, 0.75, 1.0], 0):
        shown = method.choose(lesson.embeddings[0][0]).policy.get_parameter("layers.0.ffn.key")
        zeros.append(float((shown == 0).float().mean()))
    assert zeros == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3], abs=0.01)


def test_the_optimizer_begins_anew_after_pruning(toy_stores: list[DemonstrationStore]):
    method, (lesson, *_) = build(retrain=0.5), lessons(toy_stores[:3])
    steps: list[set[float]] = []
    for point in fit(method.begin(lesson), DECAYING, 8, [0.25, 0.5, 0.75, 1.0], 0):
        tensors, _ = point.state()
        steps.append({float(value) for name, value in tensors.items() if name.endswith(".step")})
    assert steps == [{2.0}, set(), {2.0}, {4.0}]


# ------------------------------------------------ counted


def test_what_is_stored_and_trained_is_counted(toy_stores: list[DemonstrationStore]):
    method, plan = build(), lessons(toy_stores[:3])
    network, head = count(method.base), count(method.base.head)
    matrices = sum(owner.numel() for owner in method.owner.values())
    masks = -(-matrices // 4)
    assert method.stored() == network + masks
    for number, lesson in enumerate(plan):
        training = teach(method, lesson, DECAYING)
        moved = sum(parameter.numel() for parameter in training.parameters()) - training.rule.untrained()
        free = sum(owner.numel() - owner.numel() * number // 3 for owner in method.owner.values())
        assert moved == (network if number == 0 else free + head)
        assert method.stored() == network + masks + number * head
    shared = build(own_head=False)
    taught(shared, plan)
    assert shared.stored() == network + -(-sum(owner.numel() for owner in shared.owner.values()) // 4)


# ------------------------------------------------ interruptions


@pytest.mark.slow
@pytest.mark.parametrize("retrain", [0.75, 0.5])  # the stop at which it resumes is behind pruning, or in its very step
def test_interrupted_after_pruning_it_ends_with_the_same_bits(retrain: float, toy_demos: str, tmp_path: Path):
    check_interrupted(run_of(PackNetSettings(retrain=retrain), toy_demos), tmp_path)


def test_state_and_restore_keep_every_bit(toy_stores: list[DemonstrationStore]):
    plan, seen = lessons(toy_stores[:3]), observations(toy_stores[0], 4)
    method, again = taught(build(), plan[:2]), build()
    again.base.load_state_dict(make_policy(seed=5).state_dict())
    again.restore({name: tensor.clone() for name, tensor in sorted(method.state().items())}, plan[:2])
    for one in (method, again):
        teach(one, plan[2], DECAYING)
    for lesson in plan:
        np.testing.assert_array_equal(called(again, lesson, seen), called(method, lesson, seen))


# ------------------------------------------------ protocols


def test_several_tasks_at_first_have_one_share(toy_stores: list[DemonstrationStore]):
    two, one, *_ = lessons(toy_stores[:2], joint=True) + lessons(toy_stores[2:3])
    method = build(tasks=2)
    taught(method, [two, dataclasses.replace(one, index=1, first=2)])
    assert {entry.name for entry in method.entries} == {"reach-red", "reach-blue", "between"}
    assert method.entries[0].policy is method.entries[1].policy
    owner = method.owner["layers.0.ffn.key"]
    assert (owner == 1).sum() == (owner == 2).sum() == owner.numel() // 2


def test_from_a_library_the_tasks_share_what_the_base_leaves(toy_stores: list[DemonstrationStore]):
    base, plan, seen = make_policy(seed=3), lessons(toy_stores[:3]), observations(toy_stores[0], 4)
    old, *new = plan
    skill = Skill(old.names[0], old.wordings[0], old.embeddings[0])
    new = [dataclasses.replace(lesson, index=i, first=i) for i, lesson in enumerate(new)]
    method, before = build(tasks=2, freed=0.5), numbers(base)
    method.adopt(base, [skill])
    acted, weights = act(base, old.embeddings[0][0], seen), method.network.get_parameter("layers.0.ffn.key")
    assert float((weights == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    sizes = base.get_parameter("layers.0.ffn.key").detach().abs()
    assert sizes[weights != 0].min() >= sizes[weights == 0].max()
    start = weights.detach().clone()
    taught(method, new)
    np.testing.assert_array_equal(called(method, old, seen), acted)  # the library's own skill lost nothing
    assert not changed(before, method.base)
    owner = method.owner["layers.0.ffn.key"]
    assert torch.equal(weights[owner < 0], start[owner < 0])
    assert [int((owner == number).sum()) for number in (1, 2)] == [owner.numel() // 4] * 2
    assert torch.equal(method.network.layers[0].distance, base.layers[0].distance)  # pyright: ignore
    again = build(tasks=2, freed=0.5)
    again.adopt(base, [skill])
    again.restore(method.state(), new)
    for lesson in plan:
        np.testing.assert_array_equal(called(again, lesson, seen), called(method, lesson, seen))
    freed = sum(round(owner.numel() / 2) for owner in method.owner.values())
    masks = -(-sum(owner.numel() for owner in method.owner.values()) // 4)
    assert method.stored() == count(base) + freed + masks + 2 * count(base.head)


def test_skills_leave_as_whole_policies(toy_demos: str, tmp_path: Path):
    record = learn(run_of(PackNetSettings(), toy_demos), tmp_path / "run")
    library = SkillLibrary.open(tmp_path / "run" / "library")
    assert [skill.form for skill in library.skills] == ["whole"] * 3
    later = [cell for cell in record.cells if cell.after > cell.task]
    assert later
    assert all(cell.same_as is not None for cell in later)
    assert record.parameters.trained[2] < record.parameters.trained[1] < record.parameters.trained[0]


# ------------------------------------------------ refusals


def test_more_tasks_than_shares_are_refused_before_training(toy_demos: str, tmp_path: Path):
    settings = run_of(PackNetSettings(tasks=2), toy_demos)
    with pytest.raises(SettingError, match=r"method\.tasks 2 makes fewer shares than the run has lessons: use 3 or"):
        learn(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    with pytest.raises(SettingError, match="among 127 lessons at most, not 128"):
        build(tasks=128)


def test_with_the_weights_used_up_a_lesson_is_refused(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:3])
    method = taught(build(tasks=2), plan[:2])
    before = numbers(method.network)
    with pytest.raises(SettingError, match=r"all 2 shares of the weights are taken: start anew with method\.tasks 3"):
        method.begin(plan[2])
    assert not changed(before, method.network)
    unknown = PackNet(make_policy(), PackNetSettings(), TRAIN, 0)
    with pytest.raises(SettingError, match=r"how many lessons share the weights: set method\.tasks"):
        unknown.begin(plan[0])


def test_more_shares_than_lessons_leave_weights_free(toy_stores: list[DemonstrationStore]):
    method = PackNet(make_policy(), PackNetSettings(tasks=4), DECAYING, 0)
    method.check(2)
    plan = lessons(toy_stores[:3])
    taught(method, plan[:2])
    owner = method.owner["layers.0.ffn.key"]
    assert (owner == FREE).sum() == owner.numel() // 2
    assert not method.network.get_parameter("layers.0.ffn.key")[owner == FREE].any()
    train(method.begin(plan[2]), DECAYING)
