"""AdamW over joined parameters: torch's own, bit for bit, whatever has a gradient, and whenever it was stopped."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Parameter

from skilltokens.optimizer import SMALL, JoinedAdamW

SHAPES = ((3, 5), (7,), (64, 2), (1,), (SMALL + 1,), (33, 9), ())


def _groups(seed: int) -> list[dict[str, object]]:
    chance = torch.Generator().manual_seed(seed)
    parameters = [Parameter(torch.randn(shape, generator=chance)) for shape in SHAPES]
    return [{"params": parameters[:4], "lr": 1e-2}, {"params": parameters[4:], "lr": 2e-3}, {"params": [], "lr": 1.0}]


def _all(groups: Sequence[dict[str, object]]) -> list[Parameter]:
    return [parameter for group in groups for parameter in group["params"]]  # pyright: ignore[reportGeneralTypeIssues]


def _give(parameters: Sequence[Parameter], which: Sequence[bool], seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    for parameter, given_one in zip(parameters, which, strict=True):
        gradient = torch.randn(parameter.shape, generator=chance)
        parameter.grad = gradient if given_one else None


@given(
    st.lists(
        st.tuples(st.lists(st.booleans(), min_size=7, max_size=7), st.sampled_from(["", "save", "restart"])),
        min_size=1,
        max_size=8,
    )
)
def test_it_is_torchs_adamw_bit_for_bit(steps: list[tuple[list[bool], str]]):
    mine, theirs = _groups(0), _groups(0)
    joined, plain = JoinedAdamW(mine, 0.01), torch.optim.AdamW(theirs, weight_decay=0.01)
    for number, (which, then) in enumerate(steps):
        for optimizer in (joined, plain):
            optimizer.param_groups[0]["lr"] = 1e-2 / (number + 1)
        _give(_all(mine), which, number)
        _give(_all(theirs), which, number)
        gradients = [parameter.grad for parameter in _all(mine)]
        joined.step()
        plain.step()
        assert all(p.grad is gradient for p, gradient in zip(_all(mine), gradients, strict=True))
        for one, other in zip(_all(mine), _all(theirs), strict=True):
            assert torch.equal(one, other)
        if then == "save":
            moments = copy.deepcopy(joined.moments())
            expected = plain.state_dict()["state"]
            assert moments.keys() == expected.keys()
            for i, entry in moments.items():
                assert all(torch.equal(value, expected[i][name]) for name, value in entry.items())
            joined.load(moments)
        if then == "restart":
            joined.restart()
            plain.state.clear()


def test_small_parameters_are_joined():
    groups = _groups(0)
    optimizer = JoinedAdamW(groups, 0.01)
    _give(_all(groups), [True] * 7, 0)
    optimizer.step()
    assert [len(part.parameters) for part in optimizer._parts] == [4, 2]
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in _all(groups))


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_parameters_of_two_kinds_are_not_joined(kind: torch.dtype):
    groups = [{"params": [Parameter(torch.ones(3)), Parameter(torch.ones(3, dtype=kind))], "lr": 0.1}]
    optimizer = JoinedAdamW(groups, 0.0)
    for parameter in _all(groups):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert bool(optimizer._parts) == (kind == torch.float32)
    one, other = _all(groups)
    assert torch.allclose(one.double(), other.double())
