"""Pattention against its equation, and its derivative by hand against autograd's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from skilltokens.model.pattention import Bend, GrownPattention, Pattention, fused_pattention, pattention


def random_tensors(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def by_hand(x: np.ndarray, key: np.ndarray, value: np.ndarray, tau: float, gate: np.ndarray) -> np.ndarray:
    """The equation for one input, a number at a time."""
    s = [sum(a * b for a, b in zip(x, row, strict=True)) for row in key]
    length = math.sqrt(sum(score**2 for score in s))
    u = [tau * score / length for score in s]
    theta = [number * 0.5 * (1 + math.erf(number / math.sqrt(2))) for number in u]
    return sum((t * g * row for t, g, row in zip(theta, gate, value, strict=True)), np.zeros(value.shape[1]))


SHARED_AND_OWN = (3, 4), (3, 3), (2, 4), (2, 3)
"""Shapes of keys and values: three shared rows and two of a skill's own."""
no_grad = torch.no_grad()
sizes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31))


@given(sizes)
@settings(max_examples=40)
def test_it_is_the_equation(case: tuple[int, int, int, int]):
    rows, width_in, width_out, seed = case
    x, key, value, gate = random_tensors(seed, (2, 3, width_in), (rows, width_in), (rows, width_out), (rows,))
    x = x + 0.1
    for y in (pattention(x, key, value, 1.7, gate), fused_pattention(x, key, value, 1.7, gate)):
        assert y.shape == (2, 3, width_out)
        for i in range(2):
            for j in range(3):
                scores = key @ x[i, j]
                if scores.norm() < 1e-2:  # where epsilon, which the equation does not have, shows
                    continue
                expected = by_hand(x[i, j].numpy(), key.numpy(), value.numpy(), 1.7, gate.numpy())
                np.testing.assert_allclose(y[i, j].numpy(), expected, rtol=1e-3, atol=1e-5)


@given(sizes, st.floats(0.5, 100))
@settings(max_examples=40)
def test_size_of_the_input_and_order_of_the_rows_do_not_matter(case: tuple[int, int, int, int], factor: float):
    rows, width_in, width_out, seed = case
    x, key, value = random_tensors(seed, (4, width_in), (rows, width_in), (rows, width_out))
    x, key = x + x.sign(), key + key.sign() * 0.1
    expected = pattention(x, key, value, 2.0)
    torch.testing.assert_close(pattention(factor * x, key, value, 2.0), expected, rtol=1e-3, atol=1e-4)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(pattention(x, key[order], value[order], 2.0), expected)


@given(sizes, st.integers(1, 5))
@settings(max_examples=40)
def test_new_rows_with_zero_keys_change_nothing_and_others_do(case: tuple[int, int, int, int], new: int):
    rows, width_in, width_out, seed = case
    x, key, value, added = random_tensors(seed, (4, width_in), (rows, width_in), (rows, width_out), (new, width_out))
    before = pattention(x, key, value, 2.0)
    zeros = torch.zeros(new, width_in, dtype=x.dtype)
    after = pattention(x, torch.cat([key, zeros]), torch.cat([value, added]), 2.0)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    other = pattention(x, torch.cat([key, zeros + 1]), torch.cat([value, added]), 2.0)
    assert not torch.allclose(other, before)


def test_the_norm_runs_over_active_rows_only():
    x, key, value = random_tensors(0, (5, 4), (6, 4), (6, 3))
    base = Pattention(6, 4, 3).double()
    none = torch.zeros(0, 4, dtype=x.dtype), torch.zeros(0, 3, dtype=x.dtype)
    active = GrownPattention(base, key[:4], value[:4], *none)
    scores = x @ key[:4].T
    expected = torch.nn.functional.gelu(math.sqrt(6) * scores / scores.norm(dim=-1, keepdim=True)) @ value[:4]
    torch.testing.assert_close(active(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("frozen", [0, 3, 5])
def test_the_fused_derivative_is_right(gated: bool, frozen: int):
    x, key, value, gate = random_tensors(1, (2, 3, 4), (5, 4), (5, 3), (5,))
    leaves = [x, key[frozen:].clone(), value[frozen:].clone(), gate]
    for leaf in leaves:
        leaf.requires_grad_()

    def grown(x: Tensor, new_key: Tensor, new_value: Tensor, gate: Tensor) -> Tensor:
        shared = (key[:frozen], value[:frozen]) if frozen else None
        return fused_pattention(x, new_key, new_value, 2.2, gate if gated else None, shared)

    if not gated:
        leaves[-1].requires_grad_(False)
    assert torch.autograd.gradcheck(grown, tuple(leaves))


@pytest.mark.parametrize("gated", [False, True])
def test_fused_and_plain_agree_and_shared_rows_get_no_gradient(gated: bool):
    upstream, results = random_tensors(3, (7, 3))[0], []
    for kind in ("plain", "fused"):
        x, gate, *rows = (tensor.requires_grad_() for tensor in random_tensors(2, (7, 4), (5,), *SHARED_AND_OWN))
        shared_key, shared_value, key, value = rows
        factor = gate if gated else None
        if kind == "plain":
            y = pattention(x, torch.cat([shared_key, key]), torch.cat([shared_value, value]), 2.0, factor)
        else:
            y = fused_pattention(x, key, value, 2.0, factor, (shared_key, shared_value))
            assert torch.equal(y, no_grad(fused_pattention)(x, key, value, 2.0, factor, (shared_key, shared_value)))
        (y * upstream).sum().backward()
        results.append([y.detach(), *(tensor.grad for tensor in (x, key, value, gate))])
        assert (shared_key.grad is None) == (shared_value.grad is None) == (kind == "fused")
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain)


def test_under_autocast_shared_rows_get_no_gradient_either():
    rows = [tensor.requires_grad_() for tensor in random_tensors(4, *SHARED_AND_OWN, dtype=torch.float32)]
    shared_key, shared_value, key, value = rows
    (x,) = random_tensors(5, (7, 4), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        fused_pattention(x, key, value, 2.0, None, (shared_key, shared_value)).sum().backward()
    assert shared_key.grad is None
    assert shared_value.grad is None
    for own in (key, value):
        assert own.grad is not None
        assert own.grad.any()


def test_an_input_of_zeros_has_an_output_and_finite_gradients():
    key, value = (tensor.requires_grad_() for tensor in random_tensors(5, (5, 4), (5, 3)))
    x = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    y = fused_pattention(x, key, value, 2.0)
    y.sum().backward()
    assert not y.any()
    for leaf in (x, key, value):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_new_rows_start_without_effect_and_learn():
    generator = torch.Generator().manual_seed(0)
    base = Pattention(8, 4, 3, generator)
    (x, new) = random_tensors(6, (6, 4), (2, 3), dtype=torch.float32)
    grown = GrownPattention(base, base.key, base.value, torch.zeros(2, 4), new, torch.ones(8))
    torch.testing.assert_close(grown(x), base(x), rtol=1e-5, atol=1e-6)
    optimizer = torch.optim.SGD(grown.parameters(), 0.1)
    grown(x).square().sum().backward()
    assert grown.key.grad is not None
    assert (grown.key.grad.norm(dim=1) > 0).all()
    optimizer.step()
    grown(x).square().sum().backward()
    assert grown.value.grad is not None
    assert (grown.value.grad.norm(dim=1) > 0).all()
    assert base.key.grad is None
    assert base.value.grad is None
    assert {name for name, _ in grown.named_parameters()} == {"key", "value", "gate"}


def test_as_one_plain_map_it_computes_the_same():
    base = Pattention(8, 4, 3, torch.Generator().manual_seed(0))
    x, key, value, gate = random_tensors(7, (6, 4), (2, 4), (2, 3), (8,), dtype=torch.float32)
    grown = GrownPattention(base, base.key, base.value, key, value, gate)
    plain = grown.fused()
    assert plain.tau == base.tau == math.sqrt(8)
    assert plain.key.shape == (10, 4)
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    torch.testing.assert_close(plain(x), grown(x))


@given(sizes, st.integers(0, 3), st.integers(0, 3), st.integers(1, 4), st.booleans())
@settings(max_examples=40)
def test_bends_and_factors_on_shared_rows_are_what_they_say(
    case: tuple[int, int, int, int], new: int, reused: int, rank: int, gated: bool
):
    rows, width_in, width_out, seed = case
    base = Pattention(rows, width_in, width_out).double()
    shapes = {
        "x": (5, width_in),
        "key": (new, width_in),
        "value": (new, width_out),
        "reused key": (reused, width_in),
        "reused value": (reused, width_out),
        "up.key": (rows, rank),
        "up.value": (rows, rank),
        "down.key": (rank, width_in),
        "down.value": (rank, width_out),
        "factor": (1,),
        "gate": (rows + reused,),
    }
    t = dict(zip(shapes, random_tensors(seed, *shapes.values()), strict=True))
    owner = torch.tensor([0] * rows + [1] * reused)

    def layer(amount: float) -> GrownPattention:
        shared = torch.cat([base.key, t["reused key"]]), torch.cat([base.value, t["reused value"]])
        up, down = ({name: t[f"{side}.{name}"] for name in ("key", "value")} for side in ("up", "down"))
        bend = Bend({name: amount * change for name, change in up.items()}, down)
        gate = t["gate"] if gated else None
        return GrownPattention(base, *shared, t["key"], t["value"], gate, bend, amount * t["factor"], owner)

    bent = layer(1.0)
    y = bent(t["x"])
    y.square().sum().backward()
    for tensor in t.values():
        tensor.requires_grad_()
    key = torch.cat([base.key.detach() + t["up.key"] @ t["down.key"], t["factor"] * t["reused key"], t["key"]])
    value = torch.cat([base.value.detach() + t["up.value"] @ t["down.value"], t["reused value"], t["value"]])
    gate = torch.cat([t["gate"], torch.ones(new)]) if gated else None
    expected = pattention(t["x"], key, value, base.tau, gate)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
    expected.square().sum().backward()
    named = dict(bent.named_parameters())
    for name, ours in (("up.key", "bend.up.key"), ("down.value", "bend.down.value"), ("factor", "skill_gate")):
        torch.testing.assert_close(named[ours].grad, t[name].grad, rtol=1e-3, atol=1e-5)
    assert base.key.grad is None
    assert bent.frozen_key.grad is None
    with torch.no_grad():
        plain = bent.fused()
        torch.testing.assert_close(plain(t["x"]), y, rtol=1e-9, atol=1e-9)
        assert not any(parameter.requires_grad for parameter in plain.parameters())
        gate = t["gate"][:rows] if gated else None
        grown = GrownPattention(base, base.key, base.value, t["key"], t["value"], gate)
        torch.testing.assert_close(layer(0.0)(t["x"]), grown(t["x"]), rtol=1e-6, atol=1e-6)
