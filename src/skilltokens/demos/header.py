"""header.json of a demonstration store: what it must hold, and the seal that shows whether it was altered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skilltokens.demos.rules import check_features, check_task
from skilltokens.files import check_seal, read_json
from skilltokens.types import DemonstrationError, Feature, Task

SCHEMA = "skilltokens.demonstrations/1"
HEADER = "header.json"
OFFSETS = "offsets"


def read_header(path: Path) -> dict[str, Any]:
    """The header of the store in folder `path`.

    Raises:
        DemonstrationError: it is missing, of another schema, altered, or breaks the format's rules.
    """
    if not path.is_dir():
        raise DemonstrationError(f"{path} does not exist: check the path, or make the demonstrations first")
    header = read_json(path / HEADER, SCHEMA, DemonstrationError)
    check_seal(header, path / HEADER, DemonstrationError)
    try:
        _check_header(path, header)
    except (KeyError, TypeError, AttributeError) as problem:
        raise DemonstrationError(f"{path / HEADER} was not written by this format's rules ({problem!r})") from problem
    return header


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    check_task(str(path), task_from(header["task"]))
    check_features(str(path), {name: feature_from(entry) for name, entry in header["features"].items()})
    expected = {f"{name}.npy" for name in (*header["features"], OFFSETS)}
    if header["files"].keys() != expected or not {"suite", "source", "settings", "versions"} <= header.keys():
        raise DemonstrationError(f"{path / HEADER} does not list exactly its own files: make the store again")
    if header["episodes"] < 1 or header["steps"] < header["episodes"]:
        raise DemonstrationError(
            f"{path / HEADER} counts no episodes, or more of them than steps: make the store again"
        )


def task_from(entry: Mapping[str, Any]) -> Task:
    """A task from its JSON form, `dataclasses.asdict` of it."""
    return Task(entry["name"], entry["instruction"], tuple(entry["wordings"]), tuple(entry["held_out"]))


def feature_from(entry: Mapping[str, Any]) -> Feature:
    """A feature from its JSON form, `dataclasses.asdict` of it."""
    return Feature(tuple(entry["shape"]), entry["dtype"])
