"""A training step against its matrix products alone.

The ratio says how many times as long one step of fit() (batch, loss, gradients, clipping, AdamW, running average)
takes as the products in it, done one after another into outputs that are allocated beforehand. 1 is the limit of this
machine. Good: below 3 for T2S, and T2S no further from its products than ordinary linear layers are from theirs;
the policy is so small that norms, activations and softmax, which are bound by memory, and torch's cost of calling an
operation weigh as much as the products. A last row compares the step of a new skill with that of the linear twin.
"""

from __future__ import annotations

from collections.abc import Callable

import benchmarks.products as products
from benchmarks.setting import Bench, make_store, make_training
from benchmarks.timing import Row, row, take_turns
from skilltokens.methods.base import Training
from skilltokens.settings import TrainSettings
from skilltokens.train import fit

BLOCK = 5
"""Optimizer steps in one call."""
KINDS = ("T2S skill", "T2S base", "linear")


def run(bench: Bench) -> list[Row]:
    """Three trainings, each against its own products."""
    train = TrainSettings(log_every=10**9)
    store = make_store(bench.folder / "training", episodes=2 if bench.quick else 30)
    sides: dict[str, Callable[[], object]] = {}
    for kind in KINDS:
        training = make_training(kind, store, train)
        alone = products.Alone(products.of_training(training.policy, train.batch, train.window))
        sides[f"step, {kind}"] = steps_of(training, train)
        sides[f"products, {kind}"] = lambda alone=alone: [alone() for _ in range(BLOCK)]
    times = take_turns(sides, bench.effort)
    units = (BLOCK, BLOCK)
    rows = [row("training", times, f"step, {kind}", f"products, {kind}", "below 3", units=units) for kind in KINDS]
    return [*rows, row("training", times, "step, T2S skill", "step, linear", "below 1.5", units=units)]


def steps_of(training: Training, train: TrainSettings) -> Callable[[], object]:
    """A function that takes `BLOCK` steps of the real training loop at a time."""
    blocks = 100_000  # more than will be asked for, and the rate hardly falls meanwhile
    points = [(i + 1) / blocks for i in range(blocks)]
    loop = fit(training, train, blocks * BLOCK, points, seed=0)
    return lambda: next(loop)
