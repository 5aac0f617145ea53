"""One action for one robot: ours with its cache, as it is and traced, against LIBERO's `get_action`.

Both begin with numbers as a simulator gives them and end with an action as numbers; LIBERO's side is what its
evaluation does in each step, `raw_obs_to_tensor_obs` and `get_action`. Both have seen more than ten steps before. The
sizes are those of training.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.peers import libero, training
from benchmarks.peers.libero import Libero, our_policy
from benchmarks.peers.sizes import Size, beside
from benchmarks.setting import Bench, embedding
from benchmarks.timing import Effort, Row, row, take_turns
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.traced import TracedActor
from skilltokens.types import Array

EAGER, TRACED = "act", "act, traced"


def run(bench: Bench) -> list[Row]:
    """Two rows for each of our policies, and two at LIBERO's own size."""
    _, file = training.data(bench.folder, libero.STATES, bench.quick)
    rows: list[Row] = []
    for name, theirs, settings in training.pairs(file):
        names = (name, training.SIZED.get(name, "at our size"))
        rows += against(our_policy(settings, libero.STATES), theirs, names, bench.effort)
    return rows


def against(
    policy: Policy, theirs: Libero, names: tuple[str, str], effort: Effort, benchmark: str = "LIBERO acting"
) -> list[Row]:
    """Both ways of ours against theirs; `names` says which policies of ours and of LIBERO's these are."""
    other, seen = f"LIBERO's get_action, {names[1]}", theirs.seen(np.random.default_rng(0))
    read = {name: seen[libero.SEEN_BY[name.rsplit(".", 1)[-1]]][None] for name in policy.seen}
    theirs.algorithm.reset()
    for _ in range(2 * libero.WINDOW):
        theirs.act(seen)
    sides = {other: lambda: theirs.act(seen)}
    for form, kind in ((EAGER, PolicyActor), (TRACED, TracedActor)):
        sides[f"{form}, {names[0]}"] = _acting(kind(policy, embedding(0)[0]), read)
    times = take_turns(sides, effort)
    size = Size.of(policy)
    sizes = beside(dataclasses.replace(size, trained=size.total), theirs.size).removesuffix(", all trained")
    return [row(benchmark, times, f"{form}, {names[0]}", other, "below 1", sizes=sizes) for form in (EAGER, TRACED)]


def _acting(actor: PolicyActor, seen: dict[str, Array]):
    """A function that acts once, after an episode's first steps."""
    memory = actor.start(1)
    for _ in range(2 * libero.WINDOW):
        actor.act(seen, memory)
    return lambda: actor.act(seen, memory)
