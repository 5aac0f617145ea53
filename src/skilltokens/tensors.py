"""Tensors in files: safetensors, whole or not there, nothing pickled; beside them what JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from skilltokens.files import write_bytes
from skilltokens.types import RunError

State = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""What a training needs to resume: tensors, and a part that JSON can hold."""


def write_state(path: Path, tensors: Mapping[str, Tensor], rest: Mapping[str, Any] | None = None) -> None:
    """Keeps tensors, and what JSON can hold, in one file.

    Raises:
        RunError: it cannot be written.
    """
    metadata = None if rest is None else {"about": json.dumps(rest)}
    write_bytes(path, save(on_cpu(tensors), metadata), RunError)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_state` wrote; the second part is empty where nothing was kept beside the tensors.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("about", "{}"))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as problem:
        raise RunError(f"{path} is missing or damaged ({problem}): remove it, and it is made again") from problem


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as a file holds them."""
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
