"""Acting with a cache gives what the whole window gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.small import SKILL_METHODS, act, lessons, make_method, make_policy, observations, teach, train, variants
from tests.toy import Toy

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Training
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.types import Array


def uncached(policy: Policy, embedding: Array, seen: list[dict[str, Array]]) -> np.ndarray:
    """Actions (steps, batch, A) of whole windows: for each step the window of all that was seen up to it."""
    batch = len(next(iter(seen[0].values())))
    words = torch.as_tensor(embedding).expand(batch, -1)
    actions = []
    with torch.no_grad():
        for now in range(1, len(seen) + 1):
            window = {n: torch.as_tensor(np.stack([step[n] for step in seen[:now]], 1)) for n in policy.shape.scales}
            actions.append(policy.head(policy(window, words)[:, -1]).clamp(-1, 1).numpy())
    return np.stack(actions)


@pytest.mark.parametrize(
    "settings",
    variants(step=("joint", "separate"), maps=("pattention", "linear"), head=("regression", "mixture")),
    ids=lambda s: f"{s.step}-{s.maps}-{s.head}",
)
def test_cached_and_uncached_actions_agree(settings: PolicySettings, toy_stores: list[DemonstrationStore]):
    policy, lesson = make_policy(settings), lessons(toy_stores[:1])[0]
    train(Training(policy, [{"params": list(policy.parameters()), "lr": 1e-2}], [lesson]))
    seen, embedding = observations(toy_stores[0], 3 * settings.history), lesson.embeddings[0][0]
    cached = act(policy, embedding, seen)
    assert np.abs(np.diff(cached, axis=0)).max() > 1e-3
    np.testing.assert_allclose(cached, uncached(policy, embedding, seen), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["t2s gates", "lora"])
def test_a_skill_acts_as_it_was_trained(name: str, toy_stores: list[DemonstrationStore]):
    method = make_method(SKILL_METHODS[name])
    for lesson in lessons(toy_stores[:2]):
        teach(method, lesson)
    entry, seen = method.entries[1], observations(toy_stores[1], 14)
    cached = act(entry.policy, entry.embeddings[0], seen)
    np.testing.assert_allclose(cached, uncached(entry.policy, entry.embeddings[0], seen), rtol=0, atol=2e-5)


def test_an_action_does_not_depend_on_the_rows_beside_it(toy_stores: list[DemonstrationStore]):
    policy, embedding = make_policy(), lessons(toy_stores[:1])[0].embeddings[0][0]
    seen = observations(toy_stores[0], 12, batch=5)
    other = [{name: np.concatenate([value[:1], 3 - value[1:]]) for name, value in step.items()} for step in seen]
    np.testing.assert_array_equal(act(policy, embedding, seen)[:, 0], act(policy, embedding, other)[:, 0])


def test_an_actor_keeps_its_numbers_while_training_goes_on(toy_stores: list[DemonstrationStore]):
    policy, lesson = make_policy(), lessons(toy_stores[:1])[0]
    seen, actor = observations(toy_stores[0], 3), PolicyActor(policy, lesson.embeddings[0][0])
    before = actor.act(seen[0], actor.start(3))
    train(Training(policy, [{"params": list(policy.parameters()), "lr": 1e-2}], [lesson]))
    np.testing.assert_array_equal(actor.act(seen[0], actor.start(3)), before)
    assert not np.array_equal(act(policy, lesson.embeddings[0][0], seen)[0], before)


def test_actions_stay_inside_the_range_of_actions():
    policy, toy = make_policy(), Toy()
    with torch.no_grad():
        policy.head.map.bias[:] = torch.tensor([9.0, -9.0])
    seen = [{name: np.zeros((2, len(scale.center)), np.float32) for name, scale in toy.scales.items()}]
    np.testing.assert_array_equal(act(policy, np.ones(24, np.float32) / 24**0.5, seen)[0], [[1, -1], [1, -1]])


@pytest.mark.parametrize("name", ["t2s gates", "lora"])
def test_an_actor_is_on_its_device_and_leaves_the_policy_where_it_was(name: str, toy_stores: list[DemonstrationStore]):
    method = make_method(SKILL_METHODS[name])
    for lesson in lessons(toy_stores[:2]):
        teach(method, lesson)
    entry = method.entries[1]
    actor = PolicyActor(entry.policy, entry.embeddings[0], "meta")
    tensors = [*actor.policy.parameters(), *actor.policy.buffers(), actor.embedding]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {tensor.device.type for tensor in (*entry.policy.parameters(), *entry.policy.buffers())} == {"cpu"}
    assert len(act(entry.policy, entry.embeddings[0], observations(toy_stores[1], 2))) == 2
