"""Bottleneck adapters: small networks at the end of each residual branch of the frozen base.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class AdaptersSettings:
    """Bottleneck adapters: small networks a skill at the end of each residual branch of the frozen base."""

    share: Positive = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy, head and encoders included."""
    rate: Positive = 5e-3
    """Peak learning rate of the adapters."""
    own_rate: Positive = 5e-3
    """Peak learning rate of the skill's own head and encoders."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""


REGISTRATION = Registration(
    "bottleneck adapters a skill, the rest frozen",
    "skilltokens.methods.adapters.method:Adapters",
    AdaptersSettings,
)
