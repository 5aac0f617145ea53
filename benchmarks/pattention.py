"""Pattention against two plain products with GeLU between them, forward and backward, over 24 shapes.

The reference is what a linear twin has in its place: two linear maps without bias, torch's GeLU, autograd. Both train
all of their rows, on the same numbers. Good: below 1.15; what is above is the norm over the rows, one pass more each
way, and at small shapes Python. Of each form the middle shape and the worst are shown. A last row has a skill's map
whose base is ten times as large as what is active of it, against one whose base has only that: rows that are not active
cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.setting import Bench
from benchmarks.timing import Effort, Row, row, take_turns
from skilltokens.model.kernels import computing_by
from skilltokens.model.pattention import GrownPattention, Pattention

WIDTHS = (64, 128, 256, 512)
TOKENS = (320, 640, 4096)
SHAPES = [(width, rows, tokens) for width in WIDTHS for rows in (width, 4 * width) for tokens in TOKENS]
KERNELS = ("numba", "torch")
Call = Callable[[], object]


def run(bench: Bench) -> list[Row]:
    """The middle and the worst of all shapes for each form, and a map with rows that are not active."""
    rows: dict[str, list[Row]] = {name: [] for name in KERNELS}
    for shape in SHAPES[:2] if bench.quick else SHAPES:
        for name, measured in _against_products(shape, bench.effort).items():
            rows[name].append(measured)
    chosen: list[Row] = []
    for name in KERNELS:
        ordered = sorted(rows[name], key=lambda one: one.ratio)
        chosen += [ordered[(len(ordered) - 1) // 2], ordered[-1]]
    return [*chosen, _inactive(bench.effort)]


def _against_products(shape: tuple[int, int, int], effort: Effort) -> dict[str, Row]:
    """Each form of one shape, and the products with GeLU, in turns."""
    width, count, tokens = shape
    rows = Pattention(count, width, width)
    up, down = nn.Linear(width, count, bias=False), nn.Linear(count, width, bias=False)
    x, upstream = torch.randn(tokens, width, requires_grad=True), torch.randn(tokens, width)
    where = f"{width} x {count}, {tokens} tokens"
    reference = f"products with GeLU, {where}"
    plain = both_ways(lambda: down(F.gelu(up(x))), [x, up.weight, down.weight], upstream)
    sides: dict[str, Call] = {reference: plain}
    for name in KERNELS:
        ours = both_ways(lambda: rows(x), [x, rows.key, rows.value], upstream)
        sides[f"Pattention by {name}, {where}"] = by(name, ours)
    times = take_turns(sides, effort)
    good = {"numba": "below 1.15", "torch": "below 1.5"}
    return {name: row("pattention", times, f"Pattention by {name}, {where}", reference, good[name]) for name in KERNELS}


def _inactive(effort: Effort) -> Row:
    """A skill's map of 384 shared rows and 63 of its own: from a base of 3,840 rows, and from one of these alone."""
    width, active, own = 96, 384, 63
    x, upstream = torch.randn(640, width, requires_grad=True), torch.randn(640, width)
    sides: dict[str, Call] = {}
    some, every = "map, 9 in 10 rows not active", "map, all rows active"
    for name, count in ((some, 10 * active), (every, active)):
        base, at = Pattention(count, width, width), torch.randperm(count)[:active]
        new = torch.zeros(own, width), torch.randn(own, width)
        grown = GrownPattention(base, base.key[at], base.value[at], *new)
        sides[name] = by("numba", both_ways(lambda grown=grown: grown(x), [x, grown.key, grown.value], upstream))
    return row("pattention", take_turns(sides, effort), some, every, "1")


def both_ways(forward: Callable[[], Tensor], leaves: list[Tensor], upstream: Tensor) -> Call:
    """A function that goes forward and backward once, with fresh gradients of the leaves."""

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().backward(upstream)

    return call


def by(name: str, call: Call) -> Call:
    """The same call, with a form of the element-wise part in use."""

    def within() -> None:
        with computing_by(name):
            call()

    return within
