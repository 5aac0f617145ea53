"""The gradients of a bend by its factors are those by the whole matrix, and no other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from skilltokens.model import lowrank, pattention
from skilltokens.model.bent import bent_pattention, by_factors
from skilltokens.model.kernels import computing_by
from skilltokens.model.lowrank import LowRank
from skilltokens.model.pattention import Bend, GrownPattention, Pattention

NAMES: tuple[str, ...] = ("key", "value")


def draw(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def factors(seed: int, bent: int, rank: int, widths: tuple[int, int]) -> Bend:
    up = dict(zip(NAMES, draw(seed, (bent, rank), (bent, rank)), strict=True))
    down = dict(zip(NAMES, draw(seed + 1, *((rank, width) for width in widths)), strict=True))
    return Bend(up, down)


@given(
    st.integers(1, 30), st.integers(1, 12), st.integers(1, 12), st.data(), st.integers(0, 5), st.integers(0, 2**31 - 2)
)
@settings(max_examples=60, deadline=None)
def test_it_is_pattention_of_the_changed_rows(
    tokens: int, d_in: int, d_out: int, data: st.DataObject, own: int, seed: int
):
    shared = data.draw(st.integers(1, 20))
    bent, rank = data.draw(st.integers(1, shared)), data.draw(st.integers(1, 4))
    bend = factors(seed, bent, rank, (d_in, d_out))
    x, key, value, own_key, own_value, grad = draw(
        seed, (tokens, d_in), (shared, d_in), (shared, d_out), (own, d_in), (own, d_out), (tokens, d_out)
    )
    learning = [x, own_key, own_value, *bend.parameters()]
    for one in learning:
        one.requires_grad_()
    changed_key = torch.cat([bend("key", key), own_key])
    changed_value = torch.cat([bend("value", value), own_value])
    expected = pattention.pattention(x, changed_key, changed_value, 2.0)
    result = bent_pattention(x, (key, value), (own_key, own_value) if own else None, bend.up, bend.down, 2.0)
    torch.testing.assert_close(result, expected)
    chosen = learning if own else [one for one in learning if one is not own_key and one is not own_value]
    for mine, other in zip(
        torch.autograd.grad(result, chosen, grad), torch.autograd.grad(expected, chosen, grad), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-7)


def gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    layer.zero_grad()
    layer(x).square().sum().backward()
    return [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("kind", ["T2S", "LoRA"])
def test_numba_goes_by_factors_and_torch_does_not(kind: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("numba", reason="the extra fast is not installed")
    generator = torch.Generator().manual_seed(0)
    base = Pattention(32, 16, 24, generator).requires_grad_(False)
    bend = factors(0, 32, 2, (16, 24)).float()
    if kind == "T2S":
        own = torch.randn(3, 16, generator=generator), torch.randn(3, 24, generator=generator)
        layer: nn.Module = GrownPattention(base, base.key, base.value, *own, bend=bend)
    else:
        layer = LowRank(base, dict(bend.up.items()), dict(bend.down.items()))
    calls: list[str] = []
    for module in (pattention, lowrank):
        monkeypatch.setattr(
            module, "bent_pattention", lambda *given: calls.append("factors") or bent_pattention(*given)
        )
    x = torch.randn(40, 16, generator=generator)
    reference = gradients(layer, x)
    assert not calls
    with computing_by("numba"):
        mine = gradients(layer, x)
        assert calls == ["factors"]
        with torch.no_grad():
            layer(x)  # acting is torch's affair
        assert not by_factors(x.double())
    assert calls == ["factors"]
    assert len(mine) == len(reference) >= 4
    for one, other in zip(mine, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
