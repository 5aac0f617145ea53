"""Tensors in files: safetensors, whole or not there, sealed, nothing pickled; beside them what JSON can hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from skilltokens.files import read_bytes, seal, shown, write_bytes
from skilltokens.types import RunError, SkilltokensError

State = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""What a training needs to resume: tensors, and a part that JSON can hold."""


def fingerprint(tensors: Mapping[str, Tensor], rest: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of tensors, by name, kind, shape and every bit, and of what JSON holds beside them.

    A tensor on the device "meta" has no bits.
    """
    total = hashlib.sha256(seal(dict(rest or {})).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if not tensor.is_meta and tensor.numel():
            total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def pack(tensors: Mapping[str, Tensor], rest: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a safetensors file with tensors, what JSON holds beside them, and a seal over both."""
    plain = on_cpu(tensors)
    about = {} if rest is None else dict(rest)
    # one key alone: safetensors writes several in no fixed order, and equal content shall give equal bytes
    return save(plain, {"sealed": json.dumps({"about": about, "digest": fingerprint(plain, about)})})


def unpack(
    content: bytes,
    path: Path,
    error: type[SkilltokensError] = SkilltokensError,
    unsealed: Callable[[str], None] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `pack` wrote; takes no memory before the sizes are known to be those of the file.

    Args:
        path: for messages.
        unsealed: told in a sentence where a file of before there were seals is taken as it is; None: it is refused.

    Raises:
        error: it is truncated or altered.
    """
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__") or {}
        if unsealed is not None and metadata.keys() <= {"about"}:
            about = json.loads(metadata.get("about", "{}"))
            unsealed(f"{shown(path)} was written before files were sealed: it is taken as it is")
        else:
            sealed_part = json.loads(metadata["sealed"])
            about = sealed_part["about"]
            if metadata.keys() != {"sealed"} or sealed_part.keys() != {"about", "digest"}:
                raise ValueError("it has more than its seal covers")
            if sealed_part["digest"] != fingerprint(tensors, about):
                raise ValueError("its digest differs")
        if not isinstance(about, dict):
            raise ValueError("beside its tensors is no object")
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        reason = "it bears no digest" if isinstance(problem, KeyError) else str(problem).split("\n", 1)[0][:200]
        raise error(f"{shown(path)} is truncated or altered ({reason}): restore it from a copy") from problem
    return tensors, about


def write_state(path: Path, tensors: Mapping[str, Tensor], rest: Mapping[str, Any] | None = None) -> None:
    """Keeps tensors, and what JSON can hold, in one file.

    Raises:
        RunError: it cannot be written.
    """
    write_bytes(path, pack(tensors, rest), RunError)


def read_state(path: Path, unsealed: Callable[[str], None] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_state` wrote; the second part is empty where nothing was kept beside the tensors; see `unpack`.

    Raises:
        RunError: it is missing, truncated or altered.
    """
    return unpack(read_bytes(path, RunError), path, RunError, unsealed)


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raises RunError where one of the tensors holds a number that is not finite; `what` they are, for the message."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise RunError(f"{what}: {shown(name)} holds a number that is not finite: restore it from a copy")


def check_like(tensors: Mapping[str, Tensor], needed: Mapping[str, Tensor], what: str) -> None:
    """Checks that tensors have the names, shapes and kinds of those that they shall replace, and are finite.

    Raises:
        RunError: they have not; `what` they are, for the message.
    """
    for name in sorted(tensors.keys() | needed.keys()):
        own, other = tensors.get(name), needed.get(name)
        if own is None or other is None or own.shape != other.shape or own.dtype != other.dtype:
            has, needs = (None if t is None else f"{t.dtype} {tuple(t.shape)}" for t in (own, other))
            raise RunError(f"{what}: {shown(name)} is {has} where {needs} is needed: it is of another training")
    check_finite(tensors, what)


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as a file holds them."""
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
