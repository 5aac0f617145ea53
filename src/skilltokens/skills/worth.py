"""A skill's worth without a simulator: how far its actions are from those that were demonstrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.types import ACTION, Actor, Array

GROUP = 10
"""Demonstrations that are replayed side by side."""


@dataclass(frozen=True)
class ActionError:
    """The mean distance of a skill's actions from demonstrated ones, number by number, in the actions' own units."""

    error: float
    still: float
    """The same of a policy that always gives the demonstrations' mean action: what is easily reached."""
    episodes: int
    steps: int


def action_error(actor: Actor, store: DemonstrationStore, episodes: Sequence[int]) -> ActionError:
    """Replays demonstrations: the skill sees what was observed, and its actions are compared with those taken.

    Args:
        actor: acts on batches of `GROUP` rows.
        store: has the features that the actor reads.
        episodes: which to replay.
    """
    distances: list[Array] = []
    demonstrated = np.concatenate([np.asarray(store.episode(index).features[ACTION]) for index in episodes])
    for start in range(0, len(episodes), GROUP):
        group = [store.episode(index).features for index in episodes[start : start + GROUP]]
        memory = actor.start(GROUP)
        for step in range(max(len(features[ACTION]) for features in group)):
            rows = [features[ACTION].shape[0] - 1 for features in group]
            places = [min(step, last) for last in rows]
            filled = [*range(len(group)), *[0] * (GROUP - len(group))]  # the batch has a fixed shape
            seen = {
                name: np.stack([np.asarray(group[i][name][places[i]]) for i in filled])
                for name in store.features
                if name != ACTION
            }
            actions = actor.act(seen, memory)
            distances += [np.abs(actions[i] - group[i][ACTION][step]) for i in range(len(group)) if step <= rows[i]]
    error = float(np.mean(np.stack(distances)))
    still = float(np.abs(demonstrated - demonstrated.mean(0)).mean())
    return ActionError(round(error, 5), round(still, 5), len(episodes), len(distances))
