"""Acting: one action with the cache, against the whole window anew and against its matrix products alone.

"uncached" runs the policy over the window that an action depends on (layers * (history - 1) + 1 steps), as a policy
without a cache must for every action; the ratio is the share of that time that the cache leaves. Good: below 0.5
at one episode, below 0.2 at 32. "products" is the limit: good is below 15 at one episode, where the time is torch's
cost of calling about a hundred operations rather than arithmetic, and below 4 at 32. A step of a chunk of eight actions
is held against a step with a look of its own: below 0.2 is good, and 0.125 the limit.
"""

from __future__ import annotations

import numpy as np
import torch

import benchmarks.products as products
from benchmarks.setting import Bench, embedding, make_policy
from benchmarks.timing import Row, row, take_turns
from skilltokens.model.actor import PolicyActor
from skilltokens.model.settings import PolicySettings
from skilltokens.types import ACTION, Array

CHUNK = 8
"""Actions a look."""
GOOD = {1: ("below 0.5", "below 15"), 32: ("below 0.2", "below 4")}


def run(bench: Bench) -> list[Row]:
    """Two rows for each size of batch, and one of acting ahead."""
    return [*(result for batch in GOOD for result in _at(bench, batch)), _ahead(bench)]


def _ahead(bench: Bench) -> Row:
    """A step of a chunk of CHUNK actions against one with a look of its own, by the same policy."""
    actor = PolicyActor(make_policy(PolicySettings(chunk=CHUNK)), embedding(0)[0])
    seen = {name: np.zeros((1, len(scale.unit)), np.float32) for name, scale in actor.policy.shape.scales.items()}
    one, ahead = actor.start(1), actor.start(1)
    ours, other = f"a chunk of {CHUNK}", "act, one by one"
    sides = {ours: lambda: actor.chunk(seen, ahead, CHUNK), other: lambda: actor.act(seen, one)}
    return row("acting", take_turns(sides, bench.effort), ours, other, "below 0.2", units=(CHUNK, 1))


def _at(bench: Bench, batch: int) -> list[Row]:
    actor = PolicyActor(make_policy(), embedding(0)[0])
    policy, settings = actor.policy, actor.policy.settings
    steps = settings.layers * (settings.history - 1) + 1
    rng = np.random.default_rng(0)
    window: dict[str, Array] = {
        name: rng.uniform(-0.1, 0.1, (batch, steps, len(scale.unit))).astype(np.float32)
        for name, scale in policy.shape.scales.items()
        if name != ACTION
    }
    now = {name: values[:, -1] for name, values in window.items()}
    words = actor.embedding.expand(batch, -1)
    memory = actor.start(batch)

    @torch.inference_mode()
    def uncached() -> Array:
        seen = {name: torch.from_numpy(values) for name, values in window.items()}
        return policy.head(policy(seen, words)[:, -1]).clamp(-1.0, 1.0).numpy()

    for t in range(steps - 1):
        actor.act({name: values[:, t] for name, values in window.items()}, memory)
    np.testing.assert_allclose(actor.act(now, memory), uncached(), atol=1e-4)  # both sides give the same actions
    ours, anew, alone = f"act, batch {batch}", f"uncached, batch {batch}", f"products, batch {batch}"
    sides = {
        ours: lambda: actor.act(now, memory),
        anew: uncached,
        alone: products.Alone(products.of_acting(policy, batch)),
    }
    times = take_turns(sides, bench.effort)
    return [row("acting", times, ours, other, good) for other, good in zip((anew, alone), GOOD[batch], strict=True)]
