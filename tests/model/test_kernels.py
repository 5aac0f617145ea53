"""The forms of Pattention's element-wise part agree, and none but torch's acts."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.small import make_policy
from torch import Tensor

import skilltokens.model
from skilltokens.model.actor import PolicyActor
from skilltokens.model.kernels import EPSILON, TORCH, NumbaKernel, computing_by, kernel, kernel_for
from skilltokens.model.pattention import GrownPattention, Pattention, fused_pattention, pattention, row_weights
from skilltokens.types import SettingError

NEAR = 6e-7
"""How far the forms may be apart, as a share of the largest value: a few units in the last place of float32."""
pytest.importorskip("numba", reason="the extra fast is not installed")


def draw(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def check_near(one: Tensor, other: Tensor, size: float) -> None:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    if one.numel():
        assert float((one - other).abs().max()) <= size


@given(st.integers(0, 70), st.integers(0, 130), st.floats(0.1, 30), st.floats(-4, 4), st.integers(0, 2**31))
@example(5, 64, 8.0, 0.0, 0)
@example(5, 1, 1.0, 0.0, 0)
@example(5, 0, 8.0, 0.0, 0)
@example(0, 64, 8.0, 0.0, 0)
@settings(max_examples=50, deadline=None)
def test_numba_gives_what_torch_does_for_any_scores(n: int, rows: int, tau: float, power: float, seed: int):
    scores, grad = draw(seed, (n, rows), (n, rows))
    scores *= 10**power
    scores[: n // 3] = 0.0  # where the norm is 0, epsilon stands alone
    results = []
    for form, kind in ((kernel("numba"), torch.float32), (TORCH, torch.float32), (TORCH, torch.float64)):
        theta, kept = form.forward(scores.to(kind).clone(), tau)
        results.append((theta, form.backward(grad.to(kind).clone(), kept, tau), kept[-1]))
    (theta, ds, _), (torch_theta, torch_ds, _), (exact, exact_ds, ratio) = results
    check_near(theta, torch_theta, NEAR * tau)
    check_near(theta.double(), exact, NEAR * tau)
    for i in range(n):  # each input's gradients are as large as its own factor
        size = NEAR * float(ratio[i]) * 1.13 * float(grad[i].norm()) + 1e-30
        check_near(ds[i], torch_ds[i], size)
        check_near(ds[i].double(), exact_ds[i], size)


@given(
    st.integers(1, 40), st.integers(1, 70), st.integers(0, 40), st.integers(0, 9), st.booleans(), st.integers(0, 2**31)
)
@example(33, 64, 64, 0, False, 0)
@example(1, 64, 256, 0, False, 1)
@example(20, 96, 384, 1, True, 2)
@example(20, 8, 0, 3, False, 3)
@example(2, 2, 0, 1, False, 9)  # four units in the last place, on a processor with AVX-512
@settings(max_examples=30, deadline=None)
def test_numba_gives_a_map_the_values_and_gradients_that_torch_does(
    n: int, width: int, shared: int, own: int, gated: bool, seed: int
):
    shapes = (width, 2 * n), (shared, width), (shared, width), (own, width), (own, width), (shared + own,)
    x, shared_key, shared_value, key, value, gate = draw(seed, *shapes)
    (upstream,) = draw(seed + 1, (width, n))
    results: list[Sequence[Tensor]] = []
    for name in ("torch", "numba", "sizes"):
        leaves = [tensor.clone() if name != "sizes" else tensor.abs() for tensor in (x, key, value, gate)]
        for leaf in leaves:
            leaf.requires_grad_()
        strided = leaves[0].T[::2]  # neither the input nor its gradient lies as rows in memory
        factor = leaves[3] if gated else None
        if name == "sizes":
            keys, values = (
                torch.cat([a.abs(), b]) for a, b in zip((shared_key, shared_value), leaves[1:3], strict=True)
            )
            y = without_cancelling(strided, keys, values, 3.0, factor)
            y.backward(upstream.T.abs())
        else:
            with computing_by(name):
                y = fused_pattention(strided, leaves[1], leaves[2], 3.0, factor, (shared_key, shared_value))
            y.backward(upstream.T)
        results.append([y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert len(results[0]) == (5 if gated else 4)
    for by_torch, by_numba, size in zip(*results, strict=True):
        check_near(by_numba, by_torch, NEAR * float(size.max()) if size.numel() else 0.0)


def without_cancelling(x: Tensor, key: Tensor, value: Tensor, tau: float, gate: Tensor | None) -> Tensor:
    """Of positive numbers, the size of all that Pattention adds up, and its gradients' too: what is rounded, though the
    sums themselves may be small."""
    scores = x @ key.T
    weights = tau * scores / (scores.detach().norm(dim=-1, keepdim=True) + EPSILON)
    return (weights if gate is None else weights * gate) @ value


def test_what_is_no_number_stays_so():
    for form in (TORCH, kernel("numba")):
        for bad in (math.nan, math.inf):
            scores, grad = draw(0, (4, 32), (4, 32))
            scores[1, 3] = bad
            theta, kept = form.forward(scores, 2.0)
            assert theta[1].isnan().any()
            assert theta[[0, 2, 3]].isfinite().all()
            grad[2, 5] = bad
            ds = form.backward(grad, kept, 2.0)
            assert ds[1].isnan().any()
            assert not ds[2].isfinite().all()
            assert ds[[0, 3]].isfinite().all()


def test_the_same_scores_give_the_same_bits_wherever_they_lie():
    (scores,) = draw(1, (7, 101))
    first = kernel("numba").forward(scores.clone(), 2.0)[0]
    for shift in range(1, 9):
        moved = torch.empty(7 * 101 + shift)[shift:].view(7, 101).copy_(scores)
        assert torch.equal(kernel("numba").forward(moved, 2.0)[0], first)


def test_only_float32_for_gradients_on_the_cpu_is_computed_by_numba():
    x, key, value = draw(2, (40, 64), (96, 64), (96, 64))
    outside = fused_pattention(x, key, value, 3.0)
    with computing_by("numba"):
        assert isinstance(kernel_for(x), NumbaKernel)
        assert kernel_for(x.double()) is kernel_for(x.to("meta")) is TORCH
        other = fused_pattention(x, key.requires_grad_(), value, 3.0)
        with torch.no_grad():
            assert torch.equal(fused_pattention(x, key, value, 3.0), outside)
            assert torch.equal(row_weights(x, key, 3.0), TORCH.forward(x @ key.T, 3.0)[0])
        torch.testing.assert_close(pattention(x.double(), key.double(), value.double(), 3.0).float(), other)
    assert not torch.equal(other, outside)  # else nothing above was tested
    assert kernel_for(x) is TORCH


def test_a_policy_acts_with_the_same_bits_whichever_form_is_in_use():
    policy = make_policy()
    words = np.full(policy.shape.language, policy.shape.language**-0.5, np.float32)
    seen = {name: np.ones((1, len(scale.unit)), np.float32) for name, scale in policy.shape.scales.items()}
    actions = []
    for name in ("torch", "numba"):
        with computing_by(name):
            actor = PolicyActor(policy, words)
            memory = actor.start(1)
            actions.append(np.concatenate([actor.act(seen, memory) for _ in range(4)]))
    assert actions[0].tobytes() == actions[1].tobytes()


def test_rows_that_are_not_active_take_no_part():
    """A map of some rows of a large base has the bits, and the gradients, of one of a base that has only these."""
    large, rows = Pattention(400, 16, 16, torch.Generator().manual_seed(0)), torch.arange(3, 400, 8)
    alone = Pattention(1, 16, 16)
    alone.tau = large.tau
    x, key, value = draw(3, (9, 16), (2, 16), (2, 16))
    results = []
    for base, part in ((large, rows), (alone, slice(None))):
        if base is alone:
            alone.key, alone.value = (torch.nn.Parameter(t.detach()[rows]) for t in (large.key, large.value))
        grown = GrownPattention(base, base.key[part], base.value[part], key.clone(), value.clone())
        with computing_by("numba"):
            y = grown(x)
            y.square().sum().backward()
        results.append((y.detach(), grown.key.grad, grown.value.grad))
    for one, other in zip(*results, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
    assert large.key.grad is None


def test_where_numba_does_not_work_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "skilltokens.model.compiled", None)
    monkeypatch.delattr(skilltokens.model, "compiled", raising=False)
    with pytest.raises(SettingError, match=r'the kernel numba needs numba .*pip install "skilltokens\[fast\]"'):
        NumbaKernel()
