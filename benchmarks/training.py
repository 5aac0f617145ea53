"""A training step against its matrix products alone.

The ratio says how many times as long one step of fit() (batch, loss, gradients, clipping, AdamW, running average)
takes as the products in it, done one after another into outputs that are allocated beforehand. 1 is the limit of this
machine. Good: below 3 for T2S, and T2S no further from its products than ordinary linear layers are from theirs;
the policy is so small that norms, activations and softmax, which are bound by memory, and torch's cost of calling an
operation weigh as much as the products. Further rows compare the step of a new skill (as usual, with rows and a bend,
or by rows alone, which leaves out the gradients of all shared rows) with that of the linear twin, and the two kernels
with each other. The last row bounds what several skills trained side by side in one process could gain: one step with
as many batches of a single skill, which has less to do than as many skills. Two processes on two cores come to 0.5 of
the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import benchmarks.products as products
from benchmarks.setting import Bench, make_store, make_training
from benchmarks.timing import Row, row, take_turns
from skilltokens.methods.base import Training
from skilltokens.settings import TrainSettings
from skilltokens.train import fit

BLOCK = 5
"""Optimizer steps in one call."""
KINDS = ("T2S skill", "T2S rows skill", "T2S base", "linear")
BY_NUMBA = ", numba"
"""Behind the kind of a training whose kernel is numba."""
SIDE_BY_SIDE = 8
"""Batches that one step takes at once, for what training as many skills in one process could gain at most."""
_WIDE = f"a batch's share of a step with {SIDE_BY_SIDE} batches, T2S skill, numba"


def run(bench: Bench) -> list[Row]:
    """Three trainings, each against its own products; and what several batches at once could gain."""
    train = TrainSettings(log_every=10**9)
    compiled = dataclasses.replace(train, kernel="numba")
    store = make_store(bench.folder / "training", episodes=2 if bench.quick else 30)
    sides: dict[str, Callable[[], object]] = {}
    for kind in KINDS:
        training = make_training(kind, store, train)
        alone = products.Alone(products.of_training(training.policy, train.batch, train.window))
        sides[f"step, {kind}"] = steps_of(training, train)
        if kind != "linear":
            sides[f"step, {kind}{BY_NUMBA}"] = steps_of(make_training(kind, store, train), compiled)
        sides[f"products, {kind}"] = lambda alone=alone: [alone() for _ in range(BLOCK)]
    wide = dataclasses.replace(compiled, batch=compiled.batch * SIDE_BY_SIDE)
    sides[_WIDE] = steps_of(make_training("T2S skill", store, wide), wide)
    times = take_turns(sides, bench.effort)
    units = (BLOCK, BLOCK)
    pairs = [(f"step, {kind}", f"products, {kind}", "below 3") for kind in KINDS]
    pairs += [
        ("step, T2S skill", "step, linear", "below 1.5"),
        ("step, T2S skill, numba", "step, linear", "below 1.3"),
        ("step, T2S rows skill, numba", "step, linear", "below 1.05"),
        ("step, T2S base, numba", "step, linear", "below 1.3"),
        ("step, T2S skill, numba", "products, T2S skill", "below 1.5"),
        ("step, T2S rows skill, numba", "products, T2S rows skill", "below 1.5"),
        ("step, T2S base, numba", "products, T2S base", "below 1.5"),
        ("step, T2S skill, numba", "step, T2S skill", "below 0.9"),
    ]
    bound = row("training", times, _WIDE, "step, T2S skill, numba", "0.5", units=(BLOCK * SIDE_BY_SIDE, BLOCK))
    return [*(row("training", times, *pair, units=units) for pair in pairs), bound]


def steps_of(training: Training, train: TrainSettings) -> Callable[[], object]:
    """A function that takes `BLOCK` steps of the real training loop at a time."""
    blocks = 100_000  # more than will be asked for, and the rate hardly falls meanwhile
    points = [(i + 1) / blocks for i in range(blocks)]
    loop = fit(training, train, blocks * BLOCK, points, seed=0)
    return lambda: next(loop)
