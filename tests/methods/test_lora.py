"""LoRA: the rival in the same budget."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.small import POLICY, act, lessons, make_method, make_policy, observations, teach

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import count
from skilltokens.methods.lora import LoraSettings
from skilltokens.model.lowrank import LowRank, matrices
from skilltokens.model.pattention import Pattention, pattention
from skilltokens.model.settings import PolicySettings
from skilltokens.model.tpst import make_linear
from skilltokens.types import SettingError

KINDS = [POLICY, dataclasses.replace(POLICY, maps="linear")]


@pytest.mark.parametrize("settings", KINDS, ids=["pattention", "linear"])
def test_an_adapter_starts_as_the_base_and_fills_its_budget(
    settings: PolicySettings, toy_stores: list[DemonstrationStore]
):
    method = make_method(LoraSettings(), make_policy(settings))
    plan = lessons(toy_stores[:2])
    teach(method, plan[0])
    training = method.begin(plan[1])
    seen, embedding = observations(toy_stores[1], 4), plan[1].embeddings[0][0]
    np.testing.assert_array_equal(act(training.policy, embedding, seen), act(method.base, embedding, seen))
    share = sum(parameter.numel() for parameter in training.parameters()) / count(method.base)
    assert 0.06 < share <= 0.08
    teach(method, plan[1])
    assert not np.array_equal(act(method.entries[1].policy, embedding, seen), act(method.base, embedding, seen))
    assert method.stored() == count(method.base) + sum(p.numel() for p in training.parameters())


def test_a_low_rank_map_is_its_matrices_plus_a_product():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, generator=g)
    for layer in (Pattention(6, 4, 3, g), make_linear(4, 3, g)):
        layer.requires_grad_(False)
        low = LowRank.fresh(layer, [2] * (2 if isinstance(layer, Pattention) else 1), g)
        assert torch.equal(low(x), layer(x))
        with torch.no_grad():
            for up in low.up.values():
                up.normal_(generator=g)
        wide = {name: getattr(layer, name).detach() + low.up[name] @ low.down[name] for name in matrices(layer)}
        expected = (
            pattention(x, wide["key"], wide["value"], layer.tau)
            if isinstance(layer, Pattention)
            else x @ wide["weight"].T + layer.bias
        )
        torch.testing.assert_close(low(x), expected)
        low(x).sum().backward()
        assert all(parameter.grad is not None for parameter in low.own())


def test_a_budget_without_room_is_refused(toy_stores: list[DemonstrationStore]):
    method = make_method(LoraSettings(share=0.01))
    plan = lessons(toy_stores[:2])
    teach(method, plan[0])
    with pytest.raises(SettingError, match=r"method\.share 0\.01 leaves no rank"):
        method.begin(plan[1])
