"""Pattention forward and backward against TokenFormer's published layer, over six shapes.

Both hold the same numbers and give the same outputs (checked), with the normalisation that TokenFormer's configs name.
The layer's module cannot be imported without DeepSpeed, flash-attn and compiled kernels of Megatron's, which the layer
does not use: its class alone is compiled, word for word, from the file in the clone.
"""

from __future__ import annotations

import ast
import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.pattention import KERNELS, Call, both_ways, by
from benchmarks.peers.sizes import Size, beside
from benchmarks.peers.sources import TOKENFORMER, PeerError, cloned
from benchmarks.setting import Bench
from benchmarks.timing import Effort, Row, row, take_turns
from skilltokens.model.pattention import Pattention

FILE = "megatron/model/tokenformer.py"
SHAPES = ((64, 64, 640), (96, 384, 640), (128, 512, 640), (256, 256, 320), (512, 2048, 640), (128, 128, 4096))
"""Width, rows and tokens."""
NORM = "l2_norm_gelu"
"""Of TokenFormer's configs, and ours."""


def run(bench: Bench) -> list[Row]:
    """A row for each shape and form of ours."""
    shapes = SHAPES[:2] if bench.quick else SHAPES
    return [measured for shape in shapes for measured in _against(shape, bench.effort)]


@cache
def published_layer() -> Any:
    """TokenFormer's class `Pattention`.

    Raises:
        PeerError: the clone is not there, or has no such class.
    """
    tree = ast.parse((cloned(TOKENFORMER) / FILE).read_text(encoding="utf-8"))
    layer: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Pattention"]
    if not layer:
        raise PeerError(f"TokenFormer's {FILE} has no class Pattention at the pinned commit: make .venv-peers again")
    names: dict[str, Any] = {"torch": torch, "nn": nn, "F": nn.functional, "math": math, "__name__": "tokenformer"}
    exec(compile(ast.Module(layer, []), FILE, "exec"), names)
    return names["Pattention"]


def _against(shape: tuple[int, int, int], effort: Effort) -> list[Row]:
    """Each form of ours for one shape, and TokenFormer's layer, in turns."""
    width, count, tokens = shape
    ours = Pattention(count, width, width)
    theirs = published_layer()(
        SimpleNamespace(norm_activation_type=NORM), width, width, count, _copying(ours.key), _copying(ours.value)
    )
    x, upstream = torch.randn(tokens, width, requires_grad=True), torch.randn(tokens, width)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x), rtol=1e-3, atol=1e-3)
    where = f"{width} x {count}, {tokens} tokens"
    reference = f"TokenFormer's layer, {where}"
    sides: dict[str, Call] = {reference: both_ways(lambda: theirs(x), [x, *theirs.parameters()], upstream)}
    for name in KERNELS:
        sides[f"Pattention by {name}, {where}"] = by(
            name, both_ways(lambda: ours(x), [x, ours.key, ours.value], upstream)
        )
    times = take_turns(sides, effort)
    sizes = beside(Size.of(ours), Size.of(theirs))
    return [
        row("TokenFormer", times, f"Pattention by {name}, {where}", reference, "below 1", sizes=sizes)
        for name in KERNELS
    ]


def _copying(source: Tensor) -> Any:
    """An initialiser that gives a parameter these numbers."""
    return lambda parameter: parameter.data.copy_(source.detach())
