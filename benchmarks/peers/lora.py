"""A skill's training step: T2S, and our LoRA, against PEFT's LoRA on a plain transformer of torch.

The plain transformer has our default width, depth and heads, reads the same and has as many parameters; PEFT trains
low-rank matrices in all of its maps, and copies of its encoders and head, as a T2S skill does. The rank is the one
whose number of trained parameters is nearest to T2S's. PEFT's side is a loop as its users write it: AdamW, clipped
gradients, a batch that lies ready. Ours is `fit()`, which draws a batch in each step and averages what it trains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.sizes import Size, beside, count, nearest
from benchmarks.peers.sources import load, load_torchvision
from benchmarks.setting import LANGUAGE, Bench, make_policy, make_skill, make_store
from benchmarks.timing import Row, row, take_turns
from benchmarks.training import BLOCK, steps_of
from skilltokens.methods.base import Training
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import ACTION

TRAIN = TrainSettings(log_every=10**9)
RANKS = range(1, 65)
HIDDEN = range(96, 1537, 4)
"""Widths of feed-forward networks that are tried, to meet our number of parameters."""
MAPS = ["q", "k", "v", "o", "up", "down"]


class Layer(nn.Module):
    """A pre-norm transformer layer of ordinary maps."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        q, k, v = (m(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (self.q, self.k, self.v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.second(x))))


class Plain(nn.Module):
    """A causal transformer from a sentence's vector and vectors of observations to actions."""

    def __init__(self, widths: dict[str, int], actions: int, settings: PolicySettings, steps: int, hidden: int) -> None:
        super().__init__()
        width, self.names = settings.width, list(widths)
        self.encoders = nn.ModuleList(nn.Linear(size, width) for size in widths.values())
        self.instruction = nn.Linear(LANGUAGE, width)
        self.positions = nn.Parameter(torch.zeros(steps + 1, width))
        self.layers = nn.ModuleList(Layer(width, settings.heads, hidden) for _ in range(settings.layers))
        self.head = nn.Linear(width, actions)

    def forward(self, seen: dict[str, Tensor], words: Tensor) -> Tensor:
        """Actions (B, T, A) for observations, each (B, T, width), and sentences' vectors (B, LANGUAGE)."""
        steps = torch.stack([e(seen[name]) for name, e in zip(self.names, self.encoders, strict=True)]).sum(0)
        x = torch.cat([self.instruction(words)[:, None], steps], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(F.layer_norm(x[:, 1:], x.shape[-1:]))


def run(bench: Bench) -> list[Row]:
    """T2S, as usual and by rows alone, and our LoRA, by torch and by numba, against PEFT; and T2S against our LoRA."""
    store = make_store(bench.folder / "peft", episodes=2 if bench.quick else 30)
    size = {method: size_of(make_skill(method, store, TRAIN)) for method in SKILLS}
    peft = Peft(size["t2s"])
    sides: dict[str, Callable[[], object]] = {PEFT: lambda: [peft.step() for _ in range(BLOCK)]}
    rows: list[tuple[str, str]] = []
    for method, name in SKILLS.items():
        for kernel in ("torch", "numba"):
            side = f"step, {name}" + (", numba" if kernel == "numba" else "")
            sides[side] = steps_of(make_skill(method, store, TRAIN), dataclasses.replace(TRAIN, kernel=kernel))
            rows.append((side, method))
    times, units = take_turns(sides, bench.effort), (BLOCK, BLOCK)
    against = [
        row("PEFT", times, side, PEFT, "below 1", units=units, sizes=beside(size[method], peft.size))
        for side, method in rows
    ]
    sizes = beside(size["t2s"], size["lora"])
    return [*against, row("PEFT", times, "step, T2S skill", "step, our LoRA", "below 1", units=units, sizes=sizes)]


PEFT = "step, PEFT's LoRA on a plain transformer"
SKILLS = {"t2s": "T2S skill", "t2s-rows": "T2S rows skill", "lora": "our LoRA"}
"""What the methods' steps are called."""


def size_of(skill: Training) -> Size:
    """Of the policy that acts, in which rows that were frozen and rows that are new stand side by side."""
    return Size(count(skill.ours.fused().parameters()), count(skill.parameters()))


class Peft:
    """PEFT's LoRA on a plain transformer as large as a policy of ours, which trains as much."""

    def __init__(self, ours: Size) -> None:
        base = count(make_policy().parameters())
        hidden = nearest(HIDDEN, base, lambda hidden: Size.of(_plain(hidden)).total)
        load_torchvision()
        self._peft, self._hidden = load("peft"), hidden
        one, two = (Size.of(self._adapted(rank)).trained for rank in (1, 2))
        self.rank = nearest(RANKS, ours.trained, lambda rank: one + (rank - 1) * (two - one))
        self.model = self._adapted(self.rank)
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=TRAIN.rate, weight_decay=TRAIN.weight_decay)
        widths, actions = _shapes()
        shape = TRAIN.batch, TRAIN.window
        self.seen = {name: torch.rand(*shape, width) for name, width in widths.items()}
        self.words, self.target = torch.randn(TRAIN.batch, LANGUAGE), torch.rand(*shape, actions)

    @property
    def size(self) -> Size:
        """Of what acts: the transformer with its adapters, and copies of encoders and head in the originals' place."""
        adapters = count(p for name, p in self.model.named_parameters() if "lora_" in name)
        return Size(Size.of(_plain(self._hidden)).total + adapters, count(self.trained))

    def step(self) -> None:
        """One step of training."""
        self.optimizer.zero_grad()
        F.mse_loss(self.model(self.seen, self.words), self.target).backward()
        nn.utils.clip_grad_norm_(self.trained, TRAIN.clip)
        self.optimizer.step()

    def _adapted(self, rank: int) -> Any:
        copied = ["encoders.0", "encoders.1", "head"]
        config = self._peft.LoraConfig(r=rank, target_modules=MAPS, modules_to_save=copied)
        return self._peft.get_peft_model(_plain(self._hidden), config)


def _shapes() -> tuple[dict[str, int], int]:
    """The widths of Meta-World's features, and of its action."""
    features = MetaWorld().features
    return {n: f.shape[0] for n, f in features.items() if n != ACTION}, features[ACTION].shape[0]


def _plain(hidden: int) -> Plain:
    return Plain(*_shapes(), PolicySettings(), TRAIN.window, hidden)
