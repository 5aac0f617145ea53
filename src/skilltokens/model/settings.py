"""Settings of the policy. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.configuration import Count
from skilltokens.types import SettingError


@dataclass(frozen=True)
class PolicySettings:
    """The transformer that every method learns in."""

    width: Count = 96
    """Width of a token."""
    layers: Count = 2
    """Number of transformer layers."""
    heads: Count = 4
    """Attention heads; must divide the width."""
    history: Count = 10
    """Time steps that a layer attends to, the current one included."""
    maps: Literal["pattention", "linear"] = "pattention"
    """Linear maps of the transformer: parameter tokens (TPST), or ordinary linear layers for comparisons."""
    step: Literal["joint", "separate"] = "joint"
    """Tokens of a time step: one, the sum of its features' encodings, or one a feature, which costs more."""
    head: Literal["regression", "mixture"] = "regression"
    """Action head: deterministic regression, or a Gaussian mixture that acts by its mode."""
    modes: Count = 5
    """Modes of the mixture head."""

    def check(self, name: str = "policy") -> None:
        """Raises SettingError where the heads do not divide the width."""
        if self.width % self.heads:
            raise SettingError(f"{name}.width {self.width} is no multiple of {name}.heads {self.heads}")
