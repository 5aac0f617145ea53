"""The door to the models of the package timm, by name or from the Hugging Face Hub.

timm is not one of this project's dependencies: it needs torchvision, of which there is no build for the CPU alone at
PyPI. Its weights are downloaded by its own means, as safetensors where there are such; versions that would unpickle
others without `weights_only` are refused.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skilltokens.model.trunks.naming import TIMM, not_installed
from skilltokens.model.trunks.reference import Reference
from skilltokens.model.trunks.trunk import CELL, FORM, FrozenTrunk, Maps
from skilltokens.tensors import fingerprint
from skilltokens.types import TrunkError


class TimmNetwork(nn.Module):
    """Pictures (n, 3, height, width) from 0 to 255 -> a fine map and a coarse one, at an eighth and a sixteenth.

    Args:
        body: gives the maps of several levels.
        reductions: of each level how much smaller than the picture it is, the last level last.
        mean, deviation: of the colours, from 0 to 1, as the model was trained with.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, body: nn.Module, reductions: Sequence[int], mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        super().__init__()
        self.body, self.levels = body, levels_of(reductions)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None])

    def forward(self, pictures: Tensor) -> Maps:
        maps = self.body((pictures / 255 - self.mean) / self.deviation)
        high, wide = (size // CELL for size in pictures.shape[2:])
        fine, coarse = (maps[level] for level in self.levels)
        return _sized(fine, 2 * high, 2 * wide), _sized(coarse, high, wide)


def levels_of(reductions: Sequence[int]) -> tuple[int, int]:
    """Which levels are used: the last ones of an eighth and of a sixteenth. Where all levels are of one size, as in a
    vision transformer, the middle one and the last; else the nearest smaller reductions."""
    if len(set(reductions)) == 1:
        return (len(reductions) - 1) // 2, len(reductions) - 1
    fine, coarse = (
        max((i for i, size in enumerate(reductions) if size <= most), default=0) for most in (CELL // 2, CELL)
    )
    return fine, coarse


def _sized(level: Tensor, high: int, wide: int) -> Tensor:
    if level.shape[2:] == (high, wide):
        return level
    return F.interpolate(level, size=(high, wide), mode="bilinear", align_corners=False)


def timm_trunk(name: str) -> FrozenTrunk:
    """A model of timm as a trunk.

    Args:
        name: timm:NAME, or OWNER/NAME at the Hub.

    Raises:
        TrunkError: timm is not installed or too old; there is no such model; it cannot be downloaded or read safely; or
            it gives no maps.
    """
    package, model = _timm(name), name.removeprefix(TIMM) if name.startswith(TIMM) else f"hf-hub:{name}"
    try:
        network = _network(package, model)
    except Exception as problem:  # whatever a stranger's package raises for a name or a file that it cannot use
        reason = str(problem).strip().split("\n", 1)[0][:200]
        raise TrunkError(
            f"the trunk {name!r} could not be loaded ({type(problem).__name__}: {reason}): check the name, the network "
            "and that the model gives feature maps of any picture size (timm's features_only=True)"
        ) from problem
    tensors = network.state_dict()
    digest = fingerprint(tensors, {"form": FORM, "network": name, "levels": list(network.levels)})
    size = sum(parameter.numel() for parameter in network.parameters())
    return FrozenTrunk(Reference(name, digest, f"timm {package.__version__}, {model}", size), network)


def _network(package: Any, model: str) -> TimmNetwork:
    """A model with its trained weights; a vision transformer is asked to take pictures of any size."""
    for more in ({}, {"dynamic_img_size": True}):
        body: Any = package.create_model(model, pretrained=True, features_only=True, **more)
        settings = body.pretrained_cfg
        network = TimmNetwork(body, body.feature_info.reduction(), settings["mean"], settings["std"]).eval()
        with contextlib.suppress(AssertionError):  # of a size of its own
            network(torch.zeros(1, 3, 128, 128))
            return network
    raise ValueError("it takes pictures of one size alone")


def _timm(name: str) -> Any:
    try:
        package: Any = importlib.import_module("timm")
    except ImportError as problem:
        raise not_installed(name) from problem
    try:
        reader = importlib.import_module("timm.models._hub").load_state_dict_from_hf
        safe = inspect.signature(reader).parameters["weights_only"].default is True
    except (ImportError, AttributeError, LookupError):
        safe = False
    if not safe:
        raise TrunkError(f"timm {package.__version__} may unpickle what it downloads: run `pip install --upgrade timm`")
    return package
