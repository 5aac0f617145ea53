"""How sets of objects are read: order and empty slots do not matter, the instruction does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skilltokens.model.encoders import SetEncoder, kind_of
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Feature, Scale, SettingError

WIDTH, ENTRY = 16, 5


def encoder() -> SetEncoder:
    return SetEncoder(Scale((0.0,) * ENTRY, (1.0,) * ENTRY), WIDTH, torch.Generator().manual_seed(0))


def scene(slots: int, filled: int, seed: int = 1) -> Tensor:
    """(2, 3, slots, entry): the first `filled` slots hold an object."""
    objects = torch.zeros(2, 3, slots, ENTRY)
    objects[:, :, :filled] = torch.randn(2, 3, filled, ENTRY, generator=torch.Generator().manual_seed(seed))
    objects[:, :, :filled, 0] = 1
    return objects


def instruction(seed: int = 2) -> Tensor:
    return torch.randn(2, 1, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_the_order_of_the_things_does_not_matter():
    x, order = scene(6, 4), torch.tensor([2, 0, 3, 1, 4, 5])
    assert torch.allclose(encoder()(x, instruction()), encoder()(x[:, :, order], instruction()), atol=1e-5)


def test_empty_slots_change_nothing():
    few, many = scene(4, 4), scene(9, 4)
    assert torch.equal(few, many[:, :, :4])
    assert torch.allclose(encoder()(few, instruction()), encoder()(many, instruction()), atol=1e-6)


def test_a_scene_without_things_gives_finite_numbers():
    assert encoder()(scene(4, 0), instruction()).isfinite().all()


def test_each_object_and_the_instruction_count():
    x = scene(5, 3)
    before = encoder()(x, instruction())
    for slot in range(3):
        other = x.clone()
        other[:, :, slot, 1] += 1
        assert not torch.allclose(before, encoder()(other, instruction()), atol=1e-4)
    assert not torch.allclose(before, encoder()(x, instruction(3)), atol=1e-4)


def test_scenes_of_different_sizes_share_a_batch():
    x = torch.cat([scene(6, 2)[:1], scene(6, 5)[1:]])
    together = encoder()(x, instruction())
    assert torch.allclose(together[:1], encoder()(x[:1], instruction()[:1]), atol=1e-5)


def shape() -> Shape:
    features = {STATE: Feature((2,)), ENVIRONMENT_STATE: Feature((4, ENTRY)), ACTION: Feature((3,))}
    scales = {STATE: Scale((0.0,) * 2, (1.0,) * 2), ENVIRONMENT_STATE: Scale((0.0,) * ENTRY, (1.0,) * ENTRY)}
    return Shape.of(features, scales, 8)


def test_the_shape_of_a_feature_decides_how_it_is_read():
    policy_shape = shape()
    assert policy_shape.kinds == {ENVIRONMENT_STATE: "set"}
    assert Shape.fromdict(policy_shape.asdict()) == policy_shape
    policy = Policy(policy_shape, PolicySettings(width=WIDTH, layers=1, heads=2))
    assert isinstance(policy.encoders[ENVIRONMENT_STATE.replace(".", "/")], SetEncoder)


def test_a_shape_that_was_stored_before_sets_were_known_is_of_vectors():
    content = shape().asdict()
    del content["kinds"]
    assert Shape.fromdict(content).kinds == {}


def test_shapes_that_no_encoder_reads_are_refused():
    with pytest.raises(SettingError, match=r"\(slots, n\) for a set"):
        kind_of("observation.cube", Feature((2, 3, 4, 5)))


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(SettingError, match="multiple of 4"):
        SetEncoder(Scale((0.0,) * ENTRY, (1.0,) * ENTRY), 18, None)
