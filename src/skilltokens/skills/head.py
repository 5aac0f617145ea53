"""library.json, the head of a library: sealed, and whatever it says is valid."""

from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from skilltokens.files import ATTACHED_SCHEMA, LIBRARY_SCHEMA, SEAL, check_seal, read_json, sealed, write_bytes
from skilltokens.model.trunks.naming import NONE
from skilltokens.model.trunks.reference import Reference
from skilltokens.types import LibraryError

__all__ = [
    "ATTACHED_SCHEMA",
    "HEAD",
    "LIBRARY_SCHEMA",
    "OLD_SCHEMA",
    "BaseFile",
    "Head",
    "Sealed",
    "Source",
    "damaged",
    "encoded",
    "is_attached",
    "read_head",
    "trunk_of",
    "write_head",
]

HEAD = "library.json"
OLD_SCHEMA = "skilltokens.library/1"
"""Of libraries that `older.upgrade` makes into ones of this version."""


class Sealed(Struct, frozen=True, forbid_unknown_fields=True):
    """The valid part of a file."""

    bytes: int
    sha256: str


class BaseFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The base's file, the fingerprint of its numbers, by which skills name it, and how many parameters they are."""

    bytes: int
    sha256: str
    fingerprint: str
    parameters: int


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """A base of another make, which lies elsewhere: a library refers to it and never copies it."""

    path: str
    """A file or folder, or OWNER/NAME at the Hub."""
    revision: str
    """At the Hub, the commit; else empty."""
    loader: str
    """Who makes a policy of it, as `skilltokens.attached.loading` knows it."""
    files: dict[str, str]
    """The files with its numbers: name -> SHA-256."""


class Head(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of library.json, see docs/formats.md."""

    schema: Literal["skilltokens.library/2", "skilltokens.attached/1"] = LIBRARY_SCHEMA
    encoder: str
    policy: dict[str, dict[str, Any]]
    """Its `settings` and its `shape`; where its pictures are seen through a frozen trunk, as `trunk` the reference."""
    features: dict[str, dict[str, Any]]
    base: BaseFile
    changes: Sealed
    wordings: int
    """How many rows of wordings.f32 are valid."""
    source: Source | UnsetType = UNSET
    """Of a library beside a policy of another make: where that is. `policy` then says where in it skills stand."""
    digest: str = ""


def read_head(folder: Path) -> Head:
    """The head of the library in a folder, its seal checked.

    Raises:
        LibraryError: there is none, or it is damaged or of another version.
    """
    path = folder / HEAD
    content = read_json(path, (LIBRARY_SCHEMA, ATTACHED_SCHEMA, OLD_SCHEMA), LibraryError)
    if content["schema"] == OLD_SCHEMA:
        raise LibraryError(
            f"{folder} was made by an older version: `skilltokens skills {shlex.quote(str(folder))} upgrade` makes it "
            "one of this version, and its skills keep their bits"
        )
    check_seal(content, path, LibraryError)
    try:
        head = msgspec.convert(content, Head)
    except msgspec.ValidationError as problem:
        raise damaged(path, str(problem)) from problem
    width = head.policy.get("shape", {}).get("language")
    if head.policy.keys() - {"trunk"} != {"settings", "shape"} or type(width) is not int or width < 1:
        raise damaged(path, "it does not say what the policy is")
    if head.schema == LIBRARY_SCHEMA and _trunk(head, path) != head.policy["settings"].get("trunk", NONE):
        raise damaged(path, "it does not say what its pictures are seen through")
    if (head.schema == ATTACHED_SCHEMA) != isinstance(head.source, Source):
        raise damaged(path, "it does not say where its base is")
    if head.wordings < 1 or head.changes.bytes < 1 or head.base.bytes < 1:
        raise damaged(path, "a size is below 1")
    return head


def trunk_of(head: Head) -> Reference | None:
    """The frozen trunk that the base sees through. Raises msgspec.ValidationError where it says none that could be."""
    return msgspec.convert(head.policy["trunk"], Reference) if "trunk" in head.policy else None


def _trunk(head: Head, path: Path) -> str:
    try:
        trunk = trunk_of(head)
    except msgspec.ValidationError as problem:
        raise damaged(path, str(problem)) from problem
    return NONE if trunk is None else trunk.name


def is_attached(folder: Path) -> bool:
    """Whether the library in a folder stands beside a policy of another make; False where there is none."""
    with contextlib.suppress(LibraryError):
        return read_json(folder / HEAD, ATTACHED_SCHEMA, LibraryError)["schema"] == ATTACHED_SCHEMA
    return False


def write_head(folder: Path, head: Head) -> Head:
    """Replaces library.json: from this instant on, the library is what the head says."""
    head = msgspec.structs.replace(head, digest=sealed(msgspec.to_builtins(head))[SEAL])
    write_bytes(folder / HEAD, encoded(head), LibraryError)
    return head


def encoded(head: Head) -> bytes:
    """library.json of a head that bears its seal."""
    return (json.dumps(msgspec.to_builtins(head), indent=1, ensure_ascii=False) + "\n").encode()


def damaged(path: Path, problem: str) -> LibraryError:
    """What to raise for a file that cannot be trusted."""
    reason = problem.split("\n", 1)[0][:300]
    return LibraryError(f"{path} is truncated or altered ({reason}): restore it from a copy")
