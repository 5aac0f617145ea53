"""A training step: our `fit()` with the method `sequential` against LIBERO's sequential training, both with loading.

Both take windows of ten steps, 32 at a time, of the same demonstrations, train all of their parameters with AdamW and
learn a mixture of five Gaussians, LIBERO's only head that can be built. Rows compare

- policies of our default width and depth, LIBERO's with as many parameters: with Pattention, with linear maps, and with
  as many tokens a step as LIBERO has but for one (ours has one a step by default);
- the policy of LIBERO's configs, and ours made as large, four layers deep as that is.

"observe alone" leaves LIBERO's loading out: a batch lies ready, where ours is drawn within the step. "products" are the
matrix products of our step alone: the least that it could take on this machine, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import benchmarks.products as products
from benchmarks.peers import libero
from benchmarks.peers.libero import Form, Libero, like, our_policy
from benchmarks.peers.sizes import Size, beside, nearest
from benchmarks.setting import Bench, make_lesson, make_store
from benchmarks.timing import Effort, Row, row, take_turns
from benchmarks.training import BLOCK, steps_of
from skilltokens.demos import DemonstrationStore
from skilltokens.methods import load_method, method_settings
from skilltokens.methods.base import Training
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.types import Feature

TRAIN = TrainSettings(log_every=10**9, batch=libero.BATCH, window=libero.WINDOW)
OURS = {
    "Pattention": PolicySettings(head="mixture"),
    "linear maps": PolicySettings(head="mixture", maps="linear"),
    "three tokens a step": PolicySettings(head="mixture", maps="linear", step="separate"),
}
"""Policies of our default width and depth."""
HIDDEN = range(16, 2049, 4)
"""Widths of LIBERO's feed-forward networks that are tried, to meet our number of parameters."""
WIDTHS = range(48, 481, 6)
"""Our widths that are tried, to meet LIBERO's."""
GOOD = "below 0.1"
LARGE = "at LIBERO's size"
SIZED = {LARGE: "as it is"}
"""What LIBERO's policy is called where it is not made as large as ours."""


def run(bench: Bench) -> list[Row]:
    """Two rows for each of our policies, and two at LIBERO's own size."""
    store, file = data(bench.folder, libero.STATES, bench.quick)
    rows: list[Row] = []
    for name, theirs, settings in pairs(file):
        ours, names = training_of(settings, store, libero.STATES), (name, SIZED.get(name, "at our size"))
        alone = products.Alone(products.of_training(ours.ours, TRAIN.batch, TRAIN.window))
        rows += stepping("LIBERO training", ours, TRAIN, theirs, names, bench.effort, alone)
    return rows


def pairs(file: Path) -> Iterator[tuple[str, Libero, PolicySettings]]:
    """The policies that are compared: a name, LIBERO's, and the settings of ours."""
    for name, settings in OURS.items():
        yield name, Libero(matched_form(settings, file), file), settings
    default = Libero(Form(), file)
    yield LARGE, default, matched_settings(default.size, libero.STATES)


def data(folder: Path, features: dict[str, Feature], quick: bool, number: int = 30) -> tuple[DemonstrationStore, Path]:
    """The same random demonstrations as a store of ours and as a file of LIBERO's."""
    store = make_store(folder / "demonstrations", 2 if quick else number, features)
    return store, libero.write_file(folder / "demonstrations.hdf5", store)


def matched_form(settings: PolicySettings, file: Path) -> Form:
    """LIBERO's policy as wide and deep as ours, with feed-forward networks that give it as many parameters."""
    ours = Size.of(our_policy(settings, libero.STATES)).total
    few, more = (Libero(like(settings, hidden), file).size.total for hidden in (0, 1))
    hidden = nearest(HIDDEN, ours, lambda hidden: few + hidden * (more - few))
    return like(settings, hidden)


def matched_settings(theirs: Size, features: dict[str, Feature]) -> PolicySettings:
    """Our policy with four layers and six heads, as wide as makes it as large as LIBERO's."""

    def settings(width: int) -> PolicySettings:
        return PolicySettings(width=width, layers=4, heads=6, head="mixture", maps="linear")

    def total(width: int) -> int:
        return Size.of(our_policy(settings(width), features)).total

    return settings(nearest(WIDTHS, theirs.total, total))


def training_of(settings: PolicySettings, store: DemonstrationStore, features: dict[str, Feature]) -> Training:
    """What fit() trains: all of a fresh policy."""
    method = load_method("sequential")(our_policy(settings, features), method_settings("sequential")(), TRAIN, seed=0)
    return method.begin(make_lesson(0, store))


def stepping(
    benchmark: str,
    training: Training,
    train: TrainSettings,
    theirs: Libero,
    names: tuple[str, str],
    effort: Effort,
    alone: Callable[[], object] | None = None,
) -> list[Row]:
    """Our step against LIBERO's, with its loading and without, and the products of ours where they are given; `names`
    says which policies these are."""
    batch, ours, bound = theirs.ready(), f"step, {names[0]}", f"products, {names[0]}"
    loop, observe = f"LIBERO's loop, {names[1]}", f"LIBERO's observe alone, {names[1]}"
    sides: dict[str, Callable[[], object]] = {
        ours: steps_of(training, train),
        loop: taking(theirs.steps()),
        observe: lambda: theirs.algorithm.observe(batch),
    }
    if alone is not None:
        sides[bound] = alone
    times = take_turns(sides, effort)
    sizes = beside(Size.of(training.policy, training.parameters()), theirs.size)
    rows = [
        row(benchmark, times, ours, loop, GOOD, units=(BLOCK, BLOCK), sizes=sizes),
        row(benchmark, times, ours, observe, GOOD, units=(BLOCK, 1), sizes=sizes),
    ]
    if alone is not None:
        rows.append(row(benchmark, times, bound, loop, "what bounds it", units=(1, BLOCK), sizes=sizes))
    return rows


def taking(steps: Iterator[float]) -> Callable[[], object]:
    """A function that takes `BLOCK` steps of a loop at a time."""
    return lambda: [next(steps) for _ in range(BLOCK)]
