"""A traced actor has the bits of the usual one, or acts as that does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import POLICY, lessons, make_policy, observations, variants

from skilltokens.demos import DemonstrationStore
from skilltokens.model import traced as module
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.model.traced import TracedActor
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Feature, Scale


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
    trace = torch.jit.trace

    def wrong(*arguments, **named):
        graph: Any = trace(*arguments, **named)
        return lambda *inputs: ((result := graph(*inputs))[0] + 1e-7, *result[1:])

    monkeypatch.setattr(torch.jit, "trace", wrong)
    monkeypatch.setattr(module, "_graphs", {})
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


def test_what_takes_few_steps_is_not_traced_and_a_trace_may_begin_within_an_episode(
    toy_stores: list[DemonstrationStore],
) -> None:
    policy, embedding = make_policy(), lessons(toy_stores[:1])[0].embeddings[0][0]
    plain, traced = PolicyActor(policy, embedding), TracedActor(policy, embedding, after=5)
    one, other = plain.start(3), traced.start(3)
    for step, observation in enumerate(observations(toy_stores[0], 9)):
        assert plain.act(observation, one).tobytes() == traced.act(observation, other).tobytes()
        assert traced.exact == (step >= 5)


def test_like_policies_share_a_trace_and_others_do_not(
    toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_graphs", {})
    embedding, seen = lessons(toy_stores[:1])[0].embeddings[0][0], observations(toy_stores[0], 12)
    wider, other_tau = make_policy(replace(POLICY, history=POLICY.history + 1)), make_policy(seed=2)
    vars(other_tau.maps()["layers.0.q"])["tau"] = 7.0
    for policy, known in ((make_policy(seed=0), 1), (make_policy(seed=1), 1), (wider, 2), (other_tau, 3)):
        plain, traced = PolicyActor(policy, embedding), TracedActor(policy, embedding)
        one, other = plain.start(3), traced.start(3)
        for observation in seen:
            assert plain.act(observation, one).tobytes() == traced.act(observation, other).tobytes()
        assert traced.exact
        assert len(module._graphs) == known


def test_a_process_makes_so_many_traces_and_no_more(
    toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_graphs", {})
    monkeypatch.setattr(module, "GRAPHS", 1)
    policy, embedding = make_policy(), lessons(toy_stores[:1])[0].embeddings[0][0]
    traced, plain = TracedActor(policy, embedding), PolicyActor(policy, embedding)
    for batch in (1, 3):
        observation = observations(toy_stores[0], 1, batch)[0]
        np.testing.assert_array_equal(
            traced.act(observation, traced.start(batch)), plain.act(observation, plain.start(batch))
        )
        assert traced.exact == (batch == 1)
    assert len(module._graphs) == 1


@pytest.mark.parametrize("batch", [1, 10])
def test_sets_of_any_size_have_the_same_bits(batch: int) -> None:
    slots, generator = 9, np.random.default_rng(0)
    features = {STATE: Feature((3,)), ENVIRONMENT_STATE: Feature((slots, 5)), ACTION: Feature((2,))}
    scales = {name: Scale((0.0,) * f.shape[-1], (1.0,) * f.shape[-1]) for name, f in features.items()}
    del scales[ACTION]
    policy = Policy(Shape.of(features, scales, 24), PolicySettings(width=64, layers=2, history=4))
    embedding = generator.standard_normal(24).astype(np.float32)
    plain, traced = PolicyActor(policy, embedding), TracedActor(policy, embedding)
    one, other = plain.start(batch), traced.start(batch)
    for count in (9, 9, 4, 4, 1, 0, 7, 9, 3, 3, 5, 6, 2, 8, 8):
        seen = {
            name: generator.standard_normal((batch, *features[name].shape)).astype(np.float32)
            for name in (STATE, ENVIRONMENT_STATE)
        }
        seen[ENVIRONMENT_STATE][..., 0] = np.arange(slots) < count
        assert plain.act(seen, one).tobytes() == traced.act(seen, other).tobytes()
    assert any(traced._traces.values())
