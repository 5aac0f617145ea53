"""The nearest earlier skill, without any training: what the choice of a skill alone is worth.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class NearestSettings:
    """A new task is acted by the earlier skill whose instruction is nearest; only the first lesson trains."""


REGISTRATION = Registration(
    "the nearest earlier skill, without training",
    "skilltokens.methods.nearest.method:Nearest",
    NearestSettings,
)
