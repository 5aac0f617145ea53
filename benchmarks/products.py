"""The matrix products that a policy cannot do without, and how long they alone take.

They are counted from the policy's maps, not recorded from its run: work that the code could spare is not among them.
Everything else in a step (norms, activations, softmax, the optimizer, Python) counts as overhead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from skilltokens.model.pattention import Bend, GrownPattention, Pattention
from skilltokens.model.policy import Policy


@dataclass(frozen=True)
class Product:
    """`times` products (m, k) @ (k, n); `form` says which operand lies transposed in memory (as x @ K.T does)."""

    m: int
    k: int
    n: int
    form: Literal["nn", "nt", "tn"] = "nn"
    times: int = 1
    part: Literal["map", "attention"] = "map"

    @property
    def operations(self) -> int:
        """Floating-point operations."""
        return 2 * self.m * self.k * self.n * self.times


def of_training(policy: Policy, batch: int, steps: int) -> list[Product]:
    """Forward and backward products of one loss over (batch, steps) windows.

    Gradients of weights are counted for trained parameters alone; gradients of inputs for every map but the encoders.
    """
    tokens = 1 + steps * policy.per_step
    products: list[Product] = []
    for encoder in policy.encoders.values():
        products += _linear(encoder.map, batch * steps, inputs=False)  # type: ignore[union-attr]
    products += _linear(policy.instruction.map, batch, inputs=False)
    for i, layer in enumerate(policy.layers):
        queries = steps if i == len(policy.layers) - 1 else tokens  # the last layer computes action tokens only
        for name, rows in {"q": queries, "k": tokens, "v": tokens, "o": queries, "ffn": queries}.items():
            products += _both_ways(getattr(layer, name), batch * rows)
        products += _attention(policy, batch, queries, tokens, backward=True)
    return products + _linear(policy.head.map, batch * steps)  # type: ignore[arg-type]


def of_acting(policy: Policy, batch: int) -> list[Product]:
    """Products of one cached action for `batch` episodes."""
    n, keys = policy.per_step, 1 + policy.settings.history * policy.per_step
    products: list[Product] = []
    for encoder in policy.encoders.values():
        products += _linear(encoder.map, batch, backward=False)  # type: ignore[union-attr]
    for i, layer in enumerate(policy.layers):
        queries = 1 if i == len(policy.layers) - 1 else n
        for name, rows in {"q": queries, "k": n, "v": n, "o": queries, "ffn": queries}.items():
            products += _both_ways(getattr(layer, name), batch * rows, backward=False)
        products += _attention(policy, batch, queries, keys, backward=False)
    return products + _linear(policy.head.map, batch, backward=False)  # type: ignore[arg-type]


class Alone:
    """Does nothing but the products, on random numbers, into outputs that are allocated beforehand."""

    def __init__(self, products: list[Product]) -> None:
        self._work = [_prepared(product) for product in products]

    @torch.inference_mode()
    def __call__(self) -> None:
        for multiply, a, b, out in self._work:
            multiply(a, b, out=out)


def _both_ways(layer: nn.Module, tokens: int, backward: bool = True) -> list[Product]:
    """The products of one map of the transformer for so many tokens."""
    if isinstance(layer, nn.Linear):
        return _linear(layer, tokens, backward=backward)
    if isinstance(layer, nn.Sequential):
        return [p for part in layer if isinstance(part, nn.Linear) for p in _linear(part, tokens, backward=backward)]
    assert isinstance(layer, Pattention | GrownPattention)
    shared = len(layer.frozen_key) if isinstance(layer, GrownPattention) else 0
    rows, width_in, width_out = shared + len(layer.key), layer.key.shape[1], layer.value.shape[1]
    products = [Product(tokens, width_in, rows, "nt"), Product(tokens, rows, width_out)]
    if backward:
        products += [Product(tokens, width_out, rows, "nt"), Product(tokens, rows, width_in)]
        bend = layer.bend if isinstance(layer, GrownPattention) else None
        trained = len(layer.key) + (len(bend.up["key"]) if bend is not None else 0)
        if layer.key.requires_grad:
            products += [Product(trained, tokens, width_out, "tn"), Product(trained, tokens, width_in, "tn")]
            products += [] if bend is None else _bend(bend)
    return products


def _bend(bend: Bend) -> list[Product]:
    """The change up @ down of keys and values, and the gradients of both factors."""
    products = []
    for name, up in bend.up.items():
        (rows, rank), width = up.shape, bend.down[name].shape[1]
        products += [Product(rows, rank, width), Product(rows, width, rank, "nt"), Product(rank, rows, width, "tn")]
    return products


def _linear(layer: nn.Linear, tokens: int, inputs: bool = True, backward: bool = True) -> list[Product]:
    products = [Product(tokens, layer.in_features, layer.out_features, "nt")]
    if backward and layer.weight.requires_grad:
        products.append(Product(layer.out_features, tokens, layer.in_features, "tn"))
    if backward and inputs:
        products.append(Product(tokens, layer.out_features, layer.in_features))
    return products


def _attention(policy: Policy, batch: int, queries: int, keys: int, backward: bool) -> list[Product]:
    """Scores and their mixture of values, a product for every head of every window."""
    heads = policy.settings.heads
    wide, many = policy.settings.width // heads, batch * heads
    products = [
        Product(queries, wide, keys, "nt", many, "attention"),
        Product(queries, keys, wide, "nn", many, "attention"),
    ]
    if backward:
        products += [
            Product(keys, queries, wide, "tn", many, "attention"),
            Product(queries, wide, keys, "nt", many, "attention"),
            Product(queries, keys, wide, "nn", many, "attention"),
            Product(keys, queries, wide, "tn", many, "attention"),
        ]
    return products


def _prepared(product: Product) -> tuple[Callable[..., Tensor], Tensor, Tensor, Tensor]:
    lead = (product.times,) if product.times > 1 else ()
    multiply = torch.bmm if lead else torch.mm
    a = _random(lead, product.m, product.k, product.form[0] == "t")
    b = _random(lead, product.k, product.n, product.form[1] == "t")
    return multiply, a, b, torch.empty(*lead, product.m, product.n)


def _random(lead: tuple[int, ...], rows: int, columns: int, transposed: bool) -> Tensor:
    return torch.randn(*lead, columns, rows).mT if transposed else torch.randn(*lead, rows, columns)
