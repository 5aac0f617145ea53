"""A frozen base with an action head of its own for each further skill: what the base's features alone are worth.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Positive
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class HeadOnlySettings:
    """A frozen base; a new skill trains an action head of its own, started as a copy of the base's."""

    rate: Positive = 5e-3
    """Peak learning rate of the skill's own head and encoders."""
    own_encoders: bool = False
    """A skill has its own observation encoders too, started as copies."""


REGISTRATION = Registration(
    "a frozen base, a head of its own for each skill",
    "skilltokens.methods.head_only.method:HeadOnly",
    HeadOnlySettings,
)
