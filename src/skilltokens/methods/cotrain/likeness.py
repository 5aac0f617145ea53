"""Which windows of earlier demonstrations look like those of a new task.

Steps are compared by what is seen and by the actions that follow, both in scaled units, and a window by the mean over
its steps, since all of them are learned from.

    nearest    distance of a step to the nearest new step, as in behaviour retrieval (arXiv 2304.08742) without a
               learned embedding
    density    log odds that a classifier gives a step of being a new one rather than an old one: the logarithm of the
               ratio of both densities, so that windows are drawn by importance (arXiv 2509.01657)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skilltokens.demos.kinds import kind_of
from skilltokens.demos.store import DemonstrationStore
from skilltokens.model.scaled import Scaled
from skilltokens.model.tpst import make_linear
from skilltokens.types import ACTION, Array, Scale, SettingError

Seen = Callable[[Mapping[str, Array]], Array]
"""What is compared of observations (n, *shape), in scaled units: (n, numbers)."""

PIECE = 4096
"""Old steps whose distances are computed at a time."""
HIDDEN, STEPS, BATCH, RATE, DECAY = 64, 300, 256, 3e-3, 1e-2
"""The classifier: hidden units, optimizer steps, steps of each kind in a batch, learning rate and weight decay."""
MOST = 10.0
"""The best window is drawn at most so many times as often as the last one that is drawn from at all."""


def scaled_numbers(scales: Mapping[str, Scale]) -> Seen:
    """All vectors that a policy sees, scaled as it sees them.

    Args:
        scales: constants of what is seen, pictures and sets left out.

    Raises:
        SettingError: there is none.
    """
    if not scales:
        raise SettingError('nothing that is seen is a vector of numbers to compare: set cotrain.score to "any"')

    def seen(observation: Mapping[str, Array]) -> Array:
        parts = [Scaled(scale).scaled(torch.from_numpy(observation[n]), None).numpy() for n, scale in scales.items()]
        return np.concatenate(parts, -1)

    return seen


def vectors(store: DemonstrationStore) -> list[str]:
    """The features of a store that are vectors of numbers."""
    return [name for name, f in store.features.items() if name != ACTION and kind_of(name, f) == "vector"]


def described(store: DemonstrationStore, seen: Seen, ahead: int, action: Scale | None) -> Tensor:
    """Every step of a store as what is compared: what is seen, and the next `ahead` actions, (steps, numbers).

    Each of the two parts is divided by the root of its numbers, so that both weigh the same. Actions past the end of
    the episode are its last one.

    Args:
        action: constants of actions in the robot's own units; None where they are in [-1, 1].

    Raises:
        SettingError: `seen` gives no finite numbers (steps, d).
    """
    observed = np.asarray(seen({name: np.array(store[name], np.float32) for name in vectors(store)}), np.float32)
    if observed.ndim != 2 or len(observed) != store.steps or not np.isfinite(observed).all():
        raise SettingError(
            f"what is compared of {store.path} is no table of finite numbers for its {store.steps} steps but "
            f'{observed.shape}: mend the suite\'s `from_hand`, or set cotrain.score to "any"'
        )
    offsets, steps = np.asarray(store.offsets), np.arange(store.steps)
    last = np.repeat(offsets[1:] - 1, np.diff(offsets))
    actions = torch.from_numpy(np.array(store[ACTION], np.float32))
    if action is not None:
        actions = Scaled(action).scaled(actions, None)
    following = actions[np.minimum(steps[:, None] + np.arange(ahead), last[:, None])].flatten(1)
    parts = (torch.from_numpy(observed), following)
    return torch.cat([part / part.shape[1] ** 0.5 for part in parts], 1)


def nearness(new: Tensor, old: Tensor) -> Tensor:
    """Minus the distance of each old step (n, d) to the nearest of the new ones (m, d): (n,)."""
    return torch.cat([-torch.cdist(piece, new).amin(1) for piece in old.split(PIECE)])


def log_odds(new: Tensor, old: Tensor, generator: torch.Generator) -> Tensor:
    """Logarithm of the density of the new steps (m, d) over that of the old ones (n, d) at each old step, (n,).

    A network with one hidden layer learns to tell both apart, from as many of each, so that its odds are the ratio.
    """
    both = torch.cat([new[torch.arange(len(old)) % len(new)], old])
    centre, size = both.mean(0), both.std(0).clamp_min(1e-6)
    new, old = (new - centre) / size, (old - centre) / size
    width = new.shape[1]
    network = nn.Sequential(make_linear(width, HIDDEN, generator), nn.ReLU(), make_linear(HIDDEN, 1, generator))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    target = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
    for _ in range(STEPS):
        rows = [part[torch.randint(len(part), (BATCH,), generator=generator)] for part in (new, old)]
        loss = nn.functional.binary_cross_entropy_with_logits(network(torch.cat(rows))[:, 0], target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network(old)[:, 0]


def over_windows(scores: Array, offsets: Sequence[int] | NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """The mean of the steps' scores (steps,) over each window, by the window's last step; offsets are the episodes'."""
    sums = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
    ends = np.arange(1, len(scores) + 1)
    first = np.maximum(ends - window, np.repeat(np.asarray(offsets)[:-1], np.diff(offsets)))
    return (sums[ends] - sums[first]) / (ends - first)


def best(scores: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """The numbers of the best share of windows, at least one, rising; of equal ones the first."""
    count = max(1, round(share * len(scores)))
    return np.sort(np.argsort(-scores, kind="stable")[:count])
