"""Settings of the policy. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from skilltokens.configuration import Count, repr_as_before
from skilltokens.model.trunks.naming import check_name
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
    chunk: Count = 1
    """Actions that the head predicts at each step: its own and those of the next steps, to act ahead without a look."""

    trunk: str = "none"
    """What pictures are seen through: none, a small trunk that the first lesson trains; or a frozen one for all skills:
    lite0, lite0-random (the control), timm:NAME or OWNER/NAME of a timm model at the Hub. See docs/pictures.md."""
    neck: Count = 24
    """With a frozen trunk: channels that a skill's own head makes of the trunk's features."""
    points: Count = 8
    """With a frozen trunk: places that a skill's own head finds in each picture."""
    levels: Literal["both", "fine", "coarse"] = "both"
    """With a frozen trunk: the levels of its features that a head reads, an eighth and a sixteenth of the picture."""
    pixels: bool = True
    """With a frozen trunk: a head also reads the picture itself, at half its size."""

    ADDED: ClassVar[tuple[str, ...]] = ("chunk", "trunk", "neck", "points", "levels", "pixels")
    """See `configuration.plain_as_before`: libraries keep these settings, and fingerprints are made of them."""
    __repr__ = repr_as_before

    def check(self, name: str = "policy") -> None:
        """Raises SettingError where the heads do not divide the width, or there is no trunk of such a name."""
        check_name(self.trunk, f"{name}.trunk")
        if self.width % self.heads:
            raise SettingError(f"{name}.width {self.width} is no multiple of {name}.heads {self.heads}")
