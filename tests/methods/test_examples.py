"""Examples and their source: rows, parts, tensors, and a policy's loss on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.small import POLICY, TRAIN, lessons, make_policy

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, Source, imitation
from skilltokens.types import ACTION, STATE


@pytest.fixture
def joint(toy_stores: list[DemonstrationStore]) -> Lesson:
    (lesson,) = lessons(toy_stores[:2], joint=True)
    return lesson


def equal(one: Examples, other: Examples) -> bool:
    mine, others = one.tensors(), other.tensors()
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


def test_a_source_numbers_every_window_of_its_stores(joint: Lesson):
    source, rng = Source(joint, TRAIN), np.random.default_rng(0)
    first, second = joint.stores
    assert len(source) == first.steps + second.steps
    examples = source.at(np.array([0, first.steps - 1, first.steps, len(source) - 1]), rng)
    assert examples.parts == (4,)
    ends = [first[ACTION][0], first[ACTION][-1], second[ACTION][0], second[ACTION][-1]]
    np.testing.assert_array_equal(examples.action[:, -1], np.stack(ends))
    assert examples.mask.sum(1).tolist()[0] == 1  # the first step of an episode: all before it is padding
    for row, vectors in zip(examples.words.numpy(), np.array(joint.embeddings, object)[[0, 0, 1, 1]], strict=True):
        assert (vectors == row).all(1).any()


def test_examples_are_joined_and_split_again(joint: Lesson):
    source, rng = Source(joint, TRAIN), np.random.default_rng(0)
    one, other = source.draw(rng), source.at(np.arange(3), rng)
    both = one.joined(other)
    assert both.parts == (TRAIN.batch, 3)
    assert len(both) == TRAIN.batch + 3
    assert [equal(part, before) for part, before in zip(both.split(), (one, other), strict=True)] == [True, True]
    assert equal(both.rows(np.array([9, 8])), other.rows(np.array([1, 0])))
    assert equal(Examples.of({**one.tensors(), "keys": torch.zeros(3)}), one)


def test_noise_goes_with_its_rows(joint: Lesson):
    source, rng = Source(joint, TRAIN), np.random.default_rng(0)
    plain = source.draw(rng)
    noisy = dataclasses.replace(plain, noise={STATE: torch.randn(plain.observation[STATE].shape)})
    assert plain.joined(noisy).noise is None
    both = noisy.joined(noisy).split()[1].noise
    assert both is not None
    assert noisy.noise is not None
    assert torch.equal(both[STATE], noisy.noise[STATE])


def test_samples_are_drawn_with_repetition(joint: Lesson):
    source = Source(joint, TRAIN)
    few = source.at(np.arange(3), np.random.default_rng(0))
    many = few.sample(50, np.random.default_rng(1))
    assert len(many) == 50
    assert equal(many, few.sample(50, np.random.default_rng(1)))
    assert len(many.action[:, -1].unique(dim=0)) == 3


def test_parts_weigh_the_same_in_the_loss(joint: Lesson):
    source, rng, policy = Source(joint, TRAIN), np.random.default_rng(0), make_policy()
    one, other = source.draw(rng), source.at(np.arange(40, 43), rng)
    losses = [imitation(policy, part, TRAIN, rng).item() for part in (one, other, one.joined(other))]
    assert losses[2] == pytest.approx((losses[0] + losses[1]) / 2, rel=1e-5)


def test_imitation_draws_noise_where_the_examples_have_none(joint: Lesson):
    settings, policy = dataclasses.replace(TRAIN, observation_noise=0.5), make_policy()
    examples = Source(joint, TRAIN).draw(np.random.default_rng(0))
    first, again, other = (imitation(policy, examples, settings, np.random.default_rng(s)).item() for s in (1, 1, 2))
    assert first == again != other
    silent = dataclasses.replace(examples, noise={})
    plain = imitation(policy, examples, TRAIN, np.random.default_rng(1)).item()
    assert imitation(policy, silent, settings, np.random.default_rng(1)).item() == plain


def test_the_order_of_features_changes_no_noise(joint: Lesson):
    settings, policy = dataclasses.replace(TRAIN, observation_noise=0.5), make_policy()
    examples = Source(joint, TRAIN).draw(np.random.default_rng(0))
    turned = dataclasses.replace(examples, observation=dict(reversed(examples.observation.items())))
    assert len(turned.observation) > 1
    first, other = (imitation(policy, batch, settings, np.random.default_rng(1)).item() for batch in (examples, turned))
    assert first == other


def test_windows_for_acting_ahead_are_half_of_them_thinned(joint: Lesson):
    ahead = Source(dataclasses.replace(joint, chunk=4), dataclasses.replace(TRAIN, batch=2000))
    examples = ahead.draw(np.random.default_rng(0))
    assert examples.action.shape == (2000, TRAIN.window, 4, 2)
    assert examples.stride is not None
    shares = examples.stride.bincount(minlength=5) / 2000
    np.testing.assert_allclose(shares, [0, 0.5, 1 / 6, 1 / 6, 1 / 6], atol=0.05)


def test_a_policy_that_never_acts_ahead_draws_what_it_always_drew(joint: Lesson):
    plain, ahead = Source(joint, TRAIN), Source(dataclasses.replace(joint, chunk=4), TRAIN)
    one, other = (source.draw(np.random.default_rng(0)) for source in (plain, ahead))
    assert one.stride is None
    assert set(one.tensors()) == {f"feature.{name}" for name in one.observation} | {"words", "action", "mask"}
    assert torch.equal(one.action, other.action[:, :, 0])
    assert torch.equal(one.words, other.words)


def test_strides_go_with_their_rows(joint: Lesson):
    source, rng = Source(dataclasses.replace(joint, chunk=4), TRAIN), np.random.default_rng(0)
    thinned, whole = source.draw(rng), dataclasses.replace(source.at(np.arange(3), rng), stride=None)
    assert thinned.stride is not None
    both = thinned.joined(whole)
    assert both.stride is not None
    assert torch.equal(both.stride, torch.cat([thinned.stride, torch.ones(3, dtype=torch.int64)]))
    assert torch.equal(whole.joined(thinned).stride[3:], thinned.stride)  # pyright: ignore[reportOptionalSubscript]
    assert torch.equal(both.rows(np.array([1, 8])).stride, both.stride[[1, 8]])  # pyright: ignore[reportArgumentType]
    assert equal(Examples.of(thinned.tensors()), thinned)
    assert both.to("cpu").stride is not None


def test_thinned_windows_are_learned_from_as_such(joint: Lesson):
    policy = make_policy(dataclasses.replace(POLICY, chunk=4))
    source, rng = Source(dataclasses.replace(joint, chunk=4), TRAIN), np.random.default_rng(0)
    examples = source.draw(rng)
    losses = [
        imitation(policy, dataclasses.replace(examples, stride=stride), TRAIN, rng).item()
        for stride in (None, torch.ones(TRAIN.batch, dtype=torch.int64), torch.full((TRAIN.batch,), 3))
    ]
    assert losses[0] == losses[1] != losses[2]
