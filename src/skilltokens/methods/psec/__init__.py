"""PSEC: earlier skills' low-rank adapters, weighted by the state, beside the new skill's own.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Count, CountFrom0, NotNegative, Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class PsecSettings:
    """PSEC: a low-rank adapter a skill, and the adapters of earlier skills weighted by a small state network."""

    share: Positive = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy: its adapter, its state network, its head
    and its encoders."""
    most: CountFrom0 = 3
    """Earlier skills whose adapters a new skill may use: those whose instructions are nearest to its own; 0 is LoRA."""
    hidden: Count = 8
    """Hidden units of the state network of each layer, which weighs the earlier adapters."""
    hold: NotNegative = 0.1
    """Weight of the penalty that holds the mean weight of the earlier adapters at 1 / their number; 0: none."""
    rate: Positive = 1e-2
    """Peak learning rate of the adapter and the state network."""
    own_rate: Positive = 5e-3
    """Peak learning rate of the skill's own head and encoders."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""


REGISTRATION = Registration(
    "earlier low-rank adapters weighted by the state",
    "skilltokens.methods.psec.method:Psec",
    PsecSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"hold": 0.0}),
)
