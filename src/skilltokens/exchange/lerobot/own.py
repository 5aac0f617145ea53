"""meta/skilltokens.json of our exports: all that LeRobot's layout cannot express, and the digest of every file.

So an import gives the same stores back, down to their digests, and no byte of an export changes without a word. A data
set that LeRobot's tools made out of an export has no such file: it is read as anybody's.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from skilltokens.demos.header import feature_from, task_from
from skilltokens.demos.rules import check_features, check_task
from skilltokens.demos.store import DemonstrationStore
from skilltokens.exchange.lerobot.features import Choice, Kind, Source
from skilltokens.exchange.lerobot.info import INFO, Info
from skilltokens.files import check_seal, depth, digest, read_json, sealed, write_json
from skilltokens.types import DemonstrationError, Feature, Progress, Report, Task, silent

OWN = "meta/skilltokens.json"
SCHEMA = "skilltokens.lerobot/1"
_DEEPEST = 25
AGAIN = "export it again, or take it as it is now (--changed)"

_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Size = Annotated[int, msgspec.Meta(ge=1)]


class _Feature(msgspec.Struct, forbid_unknown_fields=True):
    shape: list[_Size]
    dtype: str
    column: str


class _Private(msgspec.Struct, forbid_unknown_fields=True):
    shape: list[_Size]
    dtype: str


class _Task(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    instruction: str
    wordings: list[str]
    held_out: list[str]


class _Store(msgspec.Struct, forbid_unknown_fields=True):
    task: _Task
    suite: str
    source: str
    settings: dict[str, Any]
    versions: dict[str, str | None]
    private: dict[str, _Private]
    digest: _Digest


class _Own(msgspec.Struct, forbid_unknown_fields=True):
    schema: str
    features: dict[str, _Feature]
    stores: list[_Store]
    files: dict[str, _Digest]
    digest: str


@dataclass(frozen=True)
class OwnStore:
    """A store as it was exported; `number` is that of its task."""

    number: int
    task: Task
    suite: str
    source: str
    settings: dict[str, Any]
    versions: dict[str, Any]
    private: dict[str, Feature]
    digest: str


@dataclass(frozen=True)
class Own:
    """What we wrote beside LeRobot's files."""

    choice: Choice
    stores: tuple[OwnStore, ...]


def read_own(info: Info, report: Report = silent) -> Own | None:
    """The file of our own, once every file that it names has its digest; None where there is none.

    Raises:
        DemonstrationError: a byte was altered since the export, or a file is missing.
    """
    path = info.folder / OWN
    if not os.path.lexists(path):
        return None
    content = read_json(path, SCHEMA, DemonstrationError)
    check_seal(content, path, DemonstrationError)
    try:
        said = msgspec.convert(content, _Own)
        if depth(content) > _DEEPEST:
            raise ValueError("nested too deep")
        if INFO not in said.files:
            raise ValueError(f"the digest of {INFO} is missing")
        features = {name: feature_from(msgspec.to_builtins(entry)) for name, entry in said.features.items()}
        stores = tuple(_store(number, entry) for number, entry in enumerate(said.stores))
        columns = {name: info.columns[entry.column] for name, entry in said.features.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        reason = str(problem).replace("`", "").replace("$.", "")[:200]
        raise DemonstrationError(f"{path} breaks a rule of this format ({reason}): {AGAIN}") from problem
    check_features(str(path), features)
    for store in stores:
        check_task(str(path), store.task)
        check_features(str(path), {**features, **store.private})
    _check_files(info.folder, said.files, report)
    sources: dict[str, Source] = {}
    for name, column in columns.items():
        kind: Kind = "video" if column.dtype == "video" else "image" if column.dtype == "image" else "numbers"
        sources[name] = Source(said.features[name].column, kind, features[name])
    return Own(Choice(sources, ()), stores)


def write_own(folder: Path, stores: Sequence[DemonstrationStore], columns: Mapping[str, str]) -> None:
    """Writes the file, when all others are written."""
    entries = {
        name: {"shape": list(feature.shape), "dtype": feature.dtype, "column": columns[name]}
        for name, feature in stores[0].features.items()
    }
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {
        "schema": SCHEMA,
        "features": entries,
        "stores": [
            {
                "task": dataclasses.asdict(store.task),
                "suite": store.suite,
                "source": store.source,
                "settings": store.settings,
                "versions": store.versions,
                "private": {name: dataclasses.asdict(feature) for name, feature in store.private.items()},
                "digest": store.digest,
            }
            for store in stores
        ],
        "files": {path.relative_to(folder).as_posix(): digest(path) for path in paths},
    }
    write_json(folder / OWN, sealed(content), DemonstrationError)


def _store(number: int, entry: _Store) -> OwnStore:
    return OwnStore(
        number, task_from(msgspec.to_builtins(entry.task)), entry.suite, entry.source, entry.settings, entry.versions,
        {name: feature_from(msgspec.to_builtins(feature)) for name, feature in entry.private.items()}, entry.digest,
    )  # fmt: skip


def _check_files(folder: Path, digests: Mapping[str, str], report: Report) -> None:
    for number, (name, right) in enumerate(digests.items()):
        report(Progress("check", number, len(digests), name))
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
            raise DemonstrationError(f"{folder / OWN} names a file out of its folder: do not trust it")
        if digest(folder / name, DemonstrationError) != right:
            raise DemonstrationError(
                f"{folder / name} was altered since `skilltokens demos export` wrote it (its digest differs): {AGAIN}"
            )
    for name in ("data", "meta", "videos"):  # what LeRobot's recording adds is not ours
        for path in (folder / name).rglob("*.*"):
            file = path.relative_to(folder).as_posix()
            if os.path.isfile(path) and file not in digests and file != OWN and path.suffix in (".parquet", ".mp4"):
                raise DemonstrationError(f"{path} was added since `skilltokens demos export`: {AGAIN}")
