"""How a skill beside a policy of another make is learned; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import CountFrom0, Positive


@dataclass(frozen=True)
class AttachedSettings:
    """A skill beside a foreign policy: its form and its learning rates. Nothing of it decays."""

    kind: Literal["rows", "lora"] = "rows"
    """What stands beside the policy's maps: rows, or a low-rank adapter of the same size."""
    rows: CountFrom0 = 0
    """Rows beside each map (the rank of lora); 0: 16, or as many as fit under the library's share."""
    rate: Positive = 1e-2
    """Peak learning rate of rows and adapters."""
    own_rate: Positive = 2e-3
    """Peak learning rate of the skill's own copies."""
    start: str = ""
    """The skill whose numbers it begins with, of the same kind and size; empty: none."""
