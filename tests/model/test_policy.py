"""What a token may see, what padding does, and how a policy grows from another without touching it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from tests.small import (
    LANGUAGE,
    POLICY,
    SKILL_METHODS,
    changed,
    lessons,
    make_method,
    make_policy,
    numbers,
    teach,
    variants,
)
from tests.toy import Toy
from torch import Tensor, nn

from skilltokens.demos import DemonstrationStore
from skilltokens.model.pattention import Pattention
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.types import ENVIRONMENT_STATE, STATE, Feature, SettingError

Window = tuple[dict[str, Tensor], Tensor]


def window(steps: int, batch: int = 2, seed: int = 0) -> Window:
    """Random observations and instructions."""
    g = torch.Generator().manual_seed(seed)
    seen = {name: torch.randn(batch, steps, len(s.center), generator=g) for name, s in Toy().scales.items()}
    return seen, nn.functional.normalize(torch.randn(batch, LANGUAGE, generator=g), dim=1)


def bent(policy: Policy) -> Policy:
    """With attention biases that are not all zero, as after training."""
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith(("distance", "prefix")):
                parameter.normal_(generator=g)
    return policy


def moved(policy: Policy, seen: Window, name: str, step: int) -> list[bool]:
    """For each step whether its output changes when one feature changes at one step."""
    observation, embedding = seen
    other = {**observation, name: observation[name].clone()}
    other[name][:, step] += 1.0
    with torch.no_grad():
        before, after = policy(observation, embedding), policy(other, embedding)
    return (before != after).any(-1).any(0).tolist()


@pytest.mark.parametrize("settings", variants(step=("joint", "separate"), maps=("pattention", "linear"), layers=(1, 2)))
def test_attention_is_causal_and_banded(settings: PolicySettings):
    policy, length, at = bent(make_policy(settings)), 14, 3
    reach = settings.layers * (settings.history - 1)
    assert at + reach + 1 < length
    for name in (STATE, ENVIRONMENT_STATE):
        expected = [at <= step <= at + reach for step in range(length)]
        assert moved(policy, window(length), name, at) == expected


def test_every_step_sees_the_instruction():
    policy = bent(make_policy(variants()[0]))
    seen, embedding = window(14)
    with torch.no_grad():
        assert (policy(seen, embedding) != policy(seen, embedding.roll(1, 1))).any(-1).all()


@pytest.mark.parametrize("step", ["joint", "separate"])
def test_padding_is_not_seen(step: str):
    policy = bent(make_policy(variants(step=(step,))[0]))
    seen, embedding = window(9)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, :3] = False
    action = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(1))
    other = {name: value.clone() for name, value in seen.items()}
    for value in other.values():
        value[0, :3] = 77.0
    otherwise = action.clone()
    otherwise[0, :3] = -5.0
    with torch.no_grad():
        output = policy(seen, embedding, mask)
        assert torch.equal(output[mask], policy(other, embedding, mask)[mask])
        assert torch.equal(policy.loss(seen, embedding, action, mask), policy.loss(other, embedding, otherwise, mask))
        short = policy({name: value[:1, 3:] for name, value in seen.items()}, embedding[:1])
        torch.testing.assert_close(output[:1, 3:], short, rtol=1e-5, atol=1e-5)
        losses = policy.head.loss(output, action)[mask]
        torch.testing.assert_close(policy.loss(seen, embedding, action, mask), losses.mean())


def test_noise_is_added_to_scaled_observations():
    policy = make_policy(variants()[0])
    seen, embedding = window(3)
    noise = {name: torch.full_like(value, 0.25) for name, value in seen.items()}
    shifted = {name: value + 0.25 * 0.5 for name, value in seen.items()}  # the toy's unit is 0.5
    with torch.no_grad():
        torch.testing.assert_close(policy(seen, embedding, noise=noise), policy(shifted, embedding))


def test_a_derived_policy_shares_what_it_does_not_replace_and_leaves_the_original_alone():
    policy = make_policy()
    before, seen = numbers(policy), window(4)
    with torch.no_grad():
        output = policy(*seen)
    head, linear_map = nn.Linear(32, 2), Pattention(32, 32, 32, torch.Generator().manual_seed(9))
    derived = policy.derive({"head": head, "layers.1.q": linear_map})
    assert derived.head is head
    assert derived.maps()["layers.1.q"] is linear_map
    assert policy.head is not head
    assert policy.maps()["layers.1.q"] is not linear_map
    for path, module in policy.maps().items():
        assert (derived.maps()[path] is module) == (path != "layers.1.q")
    assert derived.encoders is policy.encoders
    assert derived.layers[0] is policy.layers[0]
    assert derived.layers[1].distance is policy.layers[1].distance
    assert not changed(before, policy)
    with torch.no_grad():
        assert torch.equal(policy(*seen), output)
        assert not torch.equal(derived(*seen), output)
        linear_map.key.add_(1.0)
        assert torch.equal(policy(*seen), output)


def test_the_fingerprint_changes_with_any_number():
    policy = make_policy(variants()[0])
    first, seen = policy.fingerprint(), set()
    assert make_policy(variants()[0]).fingerprint() == first
    for tensor in policy.state_dict().values():
        flat = tensor.view(-1)
        kept = flat[-1].clone()
        flat[-1] = torch.nextafter(kept, kept + 1)
        seen.add(policy.fingerprint())
        flat[-1] = kept
    assert policy.fingerprint() == first
    assert len(seen | {first}) == len(policy.state_dict()) + 1
    assert make_policy(dataclasses.replace(variants()[0], heads=2, history=4)).fingerprint() != first


def test_the_fingerprint_of_a_skill_covers_its_rows_and_gates(toy_stores: list[DemonstrationStore]):
    method = make_method(SKILL_METHODS["t2s gates"])
    for lesson in lessons(toy_stores[:2]):
        teach(method, lesson)
    policy = method.entries[1].policy
    first, seen = policy.fingerprint(), set()
    tensors = policy.maps()["layers.0.ffn"].state_dict()
    assert tensors.keys() == {"key", "value", "gate", "frozen_key", "frozen_value"}
    for tensor in tensors.values():
        tensor.view(-1)[0] += 0.5
        seen.add(policy.fingerprint())
        tensor.view(-1)[0] -= 0.5
    assert len(seen | {first}) == len(tensors) + 1


def test_the_same_seed_gives_the_same_policy():
    assert make_policy(seed=3).fingerprint() == make_policy(seed=3).fingerprint()
    assert make_policy(seed=3).fingerprint() != make_policy(seed=4).fingerprint()


def test_the_shape_survives_json():
    shape = make_policy().shape
    assert Shape.fromdict(json.loads(json.dumps(shape.asdict()))) == shape
    assert list(shape.scales)[-1] == STATE


def test_impossible_shapes_are_refused():
    toy = Toy()
    with pytest.raises(SettingError, match=r"no multiple of policy\.heads"):
        make_policy(dataclasses.replace(POLICY, heads=5))
    with pytest.raises(SettingError, match=r"observation\.odd"):
        Shape.of({**toy.features, "observation.odd": Feature((3,))}, toy.scales, LANGUAGE)
