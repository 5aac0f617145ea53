"""PackNet: one policy, of whose weights each task owns an equal share that never moves again.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from skilltokens.configuration import Positive, Share
from skilltokens.methods.registration import Registration

MOST = 127
"""The most tasks that can share the weights: the owner of each is kept in a byte."""


@dataclass(frozen=True)
class PackNetSettings:
    """PackNet: each task trains the weights that are free, keeps an equal share of them, and leaves the others."""

    rate: Positive = 2e-3
    """Peak learning rate after the first task."""
    tasks: Annotated[int, Ge(0), Le(MOST)] = 0
    """How many lessons share the weights equally; 0: as many as the run has. More leave weights for later ones."""
    retrain: Annotated[float, Gt(0), Lt(1)] = 0.4
    """Share of a lesson's steps that come after pruning, for the weights that are kept."""
    own_head: bool = True
    """A skill has its own action head, which is not pruned, as in Continual World; else the head is shared as well."""
    freed: Share = 0.5
    """Protocol A+: share of each matrix of the base, its smallest weights, that the new tasks share."""


REGISTRATION = Registration(
    "a share of the weights for each task, frozen for ever",
    "skilltokens.methods.packnet.method:PackNet",
    PackNetSettings,
    trials=({"rate": 1e-3}, {"rate": 4e-3}, {"retrain": 0.25}),
)
