"""header.json of a demonstration store: what it must hold, and the seal that shows whether it was altered."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from skilltokens.demos.rules import check_features, check_task
from skilltokens.files import check_seal, depth, read_json, shown
from skilltokens.types import DemonstrationError, Feature, Task

SCHEMA = "skilltokens.demonstrations/1"
HEADER = "header.json"
OFFSETS = "offsets"
DEEPEST = 20
"""How deep values may lie in a header's settings."""
PREAMBLE = 1 << 16
"""Bytes that a .npy file may hold before its numbers."""

Size = Annotated[int, msgspec.Meta(ge=1)]


class _TaskEntry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    instruction: str
    wordings: list[str]
    held_out: list[str]


class _FeatureEntry(msgspec.Struct, forbid_unknown_fields=True):
    shape: list[Size]
    dtype: str


class _FileEntry(msgspec.Struct, forbid_unknown_fields=True):
    bytes: Size
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """The file; docs/formats.md says what the keys mean."""

    schema: str
    suite: str
    task: _TaskEntry
    source: str
    settings: dict[str, Any]
    versions: dict[str, str | None]
    features: dict[str, _FeatureEntry]
    episodes: Size
    steps: Size
    files: dict[str, _FileEntry]
    digest: str


def read_header(path: Path) -> dict[str, Any]:
    """The header of the store in folder `path`.

    Raises:
        DemonstrationError: it is missing, of another schema, altered, or breaks the format's rules.
    """
    if not os.path.isdir(path):
        raise DemonstrationError(f"{shown(path)} does not exist: check the path, or make the demonstrations first")
    content = read_json(path / HEADER, SCHEMA, DemonstrationError)
    check_seal(content, path / HEADER, DemonstrationError)
    try:
        header = msgspec.convert(content, _Header)
        if depth(content) > DEEPEST:
            raise ValueError("nested too deep")
        json.dumps(content, allow_nan=False)  # no JSON has other numbers, and none is equal to itself
    except ValueError as problem:
        reason = str(problem).replace("`", "").replace("$.", "")[:200]
        raise DemonstrationError(
            f"{path / HEADER} was not written by this format's rules ({reason}): make the store again"
        ) from problem
    check_task(str(path), task_from(content["task"]))
    check_features(str(path), {name: feature_from(entry) for name, entry in content["features"].items()})
    _check_counts(path / HEADER, header)
    return content


def _check_counts(path: Path, header: _Header) -> None:
    """Raises DemonstrationError unless the files are those of the features, of a size that holds so many steps."""
    sizes = {f"{OFFSETS}.npy": 8 * (header.episodes + 1)}
    for name, entry in header.features.items():
        sizes[f"{name}.npy"] = header.steps * math.prod(entry.shape) * np.dtype(entry.dtype).itemsize
    if header.files.keys() != sizes.keys():
        raise DemonstrationError(f"{path} does not list exactly its own files: make the store again")
    if header.steps < header.episodes:
        raise DemonstrationError(f"{path} counts more episodes than steps: make the store again")
    for name, size in sizes.items():
        if not size < header.files[name].bytes <= size + PREAMBLE:
            raise DemonstrationError(f"{path} says another size of {name} than its numbers need: make the store again")


def task_from(entry: Mapping[str, Any]) -> Task:
    """A task from its JSON form, `dataclasses.asdict` of it."""
    return Task(entry["name"], entry["instruction"], tuple(entry["wordings"]), tuple(entry["held_out"]))


def feature_from(entry: Mapping[str, Any]) -> Feature:
    """A feature from its JSON form, `dataclasses.asdict` of it."""
    return Feature(tuple(entry["shape"]), entry["dtype"])
