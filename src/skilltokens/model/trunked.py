"""What sees pictures through a frozen trunk (`trunks`): an encoder with a neck and a head, of which a skill has its
own, and the eye of a task token.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.images import Points
from skilltokens.model.scaled import Scaled
from skilltokens.model.settings import PolicySettings
from skilltokens.model.tpst import make_linear
from skilltokens.model.trunks.opening import open_trunk
from skilltokens.model.trunks.trunk import PIXELS, FrozenTrunk
from skilltokens.types import Scale, SettingError, TrunkError

COLOURS = 3
"""That every trunk sees."""


class Seeing(nn.Module):
    """What sees through a frozen trunk. The trunk is no part of its parameters and tensors, and never trained.

    The digest of the trunk is among the tensors: whatever keeps them refuses another trunk.
    """

    trunk: FrozenTrunk
    digest: Tensor

    def see_through(self, name: str) -> None:
        """Opens the trunk; called once, behind `nn.Module.__init__`.

        Raises:
            TrunkError: the trunk is not there, or cannot be loaded safely.
        """
        self.trunk = open_trunk(name)
        self.register_buffer("digest", torch.tensor(list(bytes.fromhex(self.trunk.digest)), dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_check_digest)

    def look(self, x: Tensor) -> Tensor:
        """Pictures or features (..., height or rows, width or columns, channels) -> features in float32."""
        if x.shape[-1] == COLOURS:
            x = self.trunk.look(x.flatten(0, -4)).unflatten(0, x.shape[:-3])
        return x.float()


class TrunkEncoder(Seeing, Scaled):
    """A picture (B, T, height, width, 3), or what the trunk made of it (B, T, rows, columns, channels), -> tokens
    (B, T, width).

    Args:
        settings: of the policy: width, trunk, and what a skill's head has.

    Raises:
        SettingError: the pictures have no three colours.
        TrunkError: the trunk is not there, or cannot be loaded safely.
    """

    own = ("head",)

    def __init__(self, name: str, scale: Scale, settings: PolicySettings, generator: torch.Generator | None) -> None:
        Scaled.__init__(self, scale)
        if len(scale.center) != COLOURS:
            raise SettingError(
                f"the trunk {settings.trunk!r} sees pictures of {COLOURS} colours, and {name!r} has "
                f"{len(scale.center)}: store it in three, or use policy.trunk none"
            )
        self.see_through(settings.trunk)
        self.film = make_linear(settings.width, 2 * settings.neck, generator, 0.3)
        self.head = TrunkHead(self.trunk, settings, generator)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None = None) -> Tensor:
        """`noise` is ignored: only vectors and sets get noise."""
        return self.head(self.look(x), self.film(instruction)[:, :, None, None])


class TrunkEye(Seeing):
    """A task token's eye: pictures (..., height, width, 3), or what the trunk made of them, -> (..., OUT). It is an
    encoder's neck and head without an instruction, since a token is of one task.

    Raises:
        TrunkError: the trunk is not there, or cannot be loaded safely.
    """

    OUT = 32

    def __init__(self, trunk: str, generator: torch.Generator | None) -> None:
        super().__init__()
        self.see_through(trunk)
        self.settings = PolicySettings(width=self.OUT)
        self.head = TrunkHead(self.trunk, self.settings, generator)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.look(picture)
        plain = x.new_zeros(1, 1, 1, 1, 2 * self.settings.neck)
        return self.head(x.flatten(0, -4)[:, None], plain)[:, 0].unflatten(0, x.shape[:-3])


def _check_digest(seeing: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Raises TrunkError where the numbers that it is about to take over were learned behind another trunk."""
    assert isinstance(seeing, Seeing)
    digest = state.get(f"{prefix}digest")
    if digest is None or digest.is_meta:
        return
    learned = bytes(digest.tolist()).hex()
    if learned != seeing.trunk.digest:
        raise TrunkError(
            f"these numbers were learned behind another trunk than {seeing.trunk.name!r} as it is installed (its "
            f"digest is {seeing.trunk.digest[:12]}, theirs {learned[:12]}): install the version that they were made "
            "with"
        )


class TrunkHead(nn.Module):
    """A linear map of each quarter cell's channels and of each cell's, added: the neck. On top of it are points.

    A linear map of the coarse features is enlarged, not the features themselves: the same numbers at a small part of
    the cost.
    """

    def __init__(self, trunk: FrozenTrunk, settings: PolicySettings, generator: torch.Generator | None) -> None:
        super().__init__()
        self.quarter = trunk.fine + PIXELS
        self.first = trunk.fine if settings.levels == "coarse" else 0
        self.last = self.quarter if settings.pixels else trunk.fine
        width = self.last - self.first
        self.near = make_linear(width, settings.neck, generator) if width else None
        self.far = (
            None if settings.levels == "fine" else make_linear(trunk.coarse, settings.neck, generator, bias=False)
        )
        self.points = Points(settings.width, generator, settings.neck, settings.points)

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """Features (B, T, rows, columns, channels) and FiLM's (B, 1, 1, 1, 2 * neck) -> tokens (B, T, width)."""
        maps = []
        if self.near is not None:
            quarters = x[..., : 4 * self.quarter].unflatten(-1, (4, self.quarter))[..., self.first : self.last]
            y = self.near(quarters).unflatten(-2, (2, 2))  # (B, T, rows, columns, 2, 2, neck)
            maps.append(y.transpose(3, 4).flatten(4, 5).flatten(2, 3))
        if self.far is not None:
            cells = self.far(x[..., 4 * self.quarter :]).flatten(0, 1).permute(0, 3, 1, 2)
            enlarged = F.interpolate(cells, scale_factor=2.0, mode="bilinear", align_corners=False)
            maps.append(enlarged.permute(0, 2, 3, 1).unflatten(0, x.shape[:2]))
        return self.points(sum(maps), film)
