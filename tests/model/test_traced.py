"""A traced actor has the bits of the usual one, or acts as that does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.small import POLICY, lessons, make_policy, observations, variants

from skilltokens.demos import DemonstrationStore
from skilltokens.model.actor import PolicyActor
from skilltokens.model.settings import PolicySettings
from skilltokens.model.traced import TracedActor


@pytest.mark.parametrize("settings", [POLICY, *variants(step=("separate",), maps=("linear",), head=("mixture",))])
@pytest.mark.parametrize("batch", [1, 3])
def test_it_has_the_same_bits(settings: PolicySettings, batch: int, toy_stores: list[DemonstrationStore]) -> None:
    policy, embedding = make_policy(settings), lessons(toy_stores[:1])[0].embeddings[0][0]
    seen = observations(toy_stores[0], 3 * settings.history, batch)
    plain, traced = PolicyActor(policy, embedding), TracedActor(policy, embedding)
    one, other = plain.start(batch), traced.start(batch)
    for observation in seen:
        assert plain.act(observation, one).tobytes() == traced.act(observation, other).tobytes()
    assert traced.exact


def test_each_size_of_batch_has_a_trace_of_its_own(toy_stores: list[DemonstrationStore]) -> None:
    policy, embedding = make_policy(), lessons(toy_stores[:1])[0].embeddings[0][0]
    traced, plain = TracedActor(policy, embedding), PolicyActor(policy, embedding)
    assert not traced.exact  # nothing is traced before there is something to look at
    for batch in (1, 3):
        memory, usual = traced.start(batch), plain.start(batch)
        for observation in observations(toy_stores[0], 4, batch):
            np.testing.assert_array_equal(traced.act(observation, memory), plain.act(observation, usual))
    assert traced.exact


def test_a_trace_with_other_bits_is_not_used(
    toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, embedding = make_policy(), lessons(toy_stores[:1])[0].embeddings[0][0]
    traced, plain = TracedActor(policy, embedding), PolicyActor(policy, embedding)
    freeze = torch.jit.freeze

    def wrong(module):
        frozen = freeze(module)
        return lambda *inputs: ((result := frozen(*inputs))[0] + 1e-7, *result[1:])

    monkeypatch.setattr(torch.jit, "freeze", wrong)
    memory, usual = traced.start(1), plain.start(1)
    for observation in observations(toy_stores[0], 4, 1):
        np.testing.assert_array_equal(traced.act(observation, memory), plain.act(observation, usual))
    assert not traced.exact


@pytest.mark.parametrize("settings", [POLICY, *variants(step=("separate",), head=("mixture",))])
def test_acting_ahead_has_the_same_bits_too(settings: PolicySettings, toy_stores: list[DemonstrationStore]) -> None:
    policy, embedding = make_policy(replace(settings, chunk=4)), lessons(toy_stores[:1])[0].embeddings[0][0]
    seen = observations(toy_stores[0], 12, 3)
    plain, traced = PolicyActor(policy, embedding), TracedActor(policy, embedding)
    one, other = plain.start(3), traced.start(3)
    for observation, n in zip(seen, (1, 3, 4, 1, 2, 1, 1, 4, 3, 1, 1, 2), strict=True):
        assert plain.chunk(observation, one, n).tobytes() == traced.chunk(observation, other, n).tobytes()
