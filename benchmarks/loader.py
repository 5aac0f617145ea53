"""The loader: its share of a training step, and its distance from plain memory.

"draw / step" is the share of a step that drawing a batch takes (windows, wordings, conversion to tensors). Good: below
0.1, so that a faster loader could not make training noticeably faster.

"gather" compares `Windows.gather` on the memory-mapped store with a plain NumPy fancy index of the same rows in
arrays that lie in memory: what is left is the look-up of episodes and the padding. Good: below 2 for state vectors,
where those few small operations are most of the work, and about 1 with images, where bytes are.
"""

from __future__ import annotations

import numpy as np

from benchmarks.setting import Bench, make_lesson, make_store, make_training
from benchmarks.timing import Row, row, take_turns
from benchmarks.training import BLOCK, steps_of
from skilltokens.demos.store import DemonstrationStore
from skilltokens.demos.windows import Windows
from skilltokens.methods.examples import Source
from skilltokens.settings import TrainSettings
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import Feature

CAMERA = "observation.images.front"


def run(bench: Bench) -> list[Row]:
    """One row for the share of a step, one for each kind of store."""
    train = TrainSettings(log_every=10**9)
    episodes = 2 if bench.quick else 30
    states = make_store(bench.folder / "states", episodes)
    camera = Feature((64, 64, 3), "uint8")
    images = make_store(bench.folder / "images", episodes, {**MetaWorld().features, CAMERA: camera})
    return [
        _share(bench, states, train),
        _gather(bench, states, train, "states", "below 2"),
        _gather(bench, images, train, "64 px images", "about 1"),
    ]


def _share(bench: Bench, store: DemonstrationStore, train: TrainSettings) -> Row:
    source, rng = Source(make_lesson(0, store), train), np.random.default_rng(0)

    sides = {
        "draw a batch": lambda: source.draw(rng),
        "step, T2S skill": steps_of(make_training("T2S skill", store, train), train),
    }
    times = take_turns(sides, bench.effort)
    return row("loader", times, "draw a batch", "step, T2S skill", "below 0.1", units=(1, BLOCK))


def _gather(bench: Bench, store: DemonstrationStore, train: TrainSettings, kind: str, good: str) -> Row:
    windows = Windows([store], train.window)
    which = np.zeros(train.batch, np.int64)
    ends = np.random.default_rng(0).integers(store.steps, size=train.batch)
    starts = np.asarray(store.offsets)[np.searchsorted(store.offsets, ends, side="right") - 1]
    rows = np.maximum(ends[:, None] + np.arange(1 - train.window, 1), starts[:, None])
    memory = {name: np.array(store[name]) for name in store.features}

    def plain() -> dict[str, np.ndarray]:
        return {name: array[rows] for name, array in memory.items()}

    gathered = windows.gather(which, ends).features
    for name, array in plain().items():  # a comparison of two different things would be worth nothing
        np.testing.assert_array_equal(array, gathered[name])
    ours, reference = f"gather, {kind}", f"fancy index, {kind}"
    times = take_turns({ours: lambda: windows.gather(which, ends), reference: plain}, bench.effort)
    return row("loader", times, ours, reference, good)
