"""Files that are whole or not there: atomic writes, digests, and JSON that says what is wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skilltokens.types import SkilltokensError

RUN_SCHEMA = "skilltokens.run/1"
"""What run.json of a lifelong run begins with; here, since those who read it do without torch."""
REWARD_SCHEMA = "skilltokens.reward/1"
"""The same of a run that learns from reward."""
LIBRARY_SCHEMA = "skilltokens.library/1"
"""What library.json of a skill library begins with."""


@contextlib.contextmanager
def replacing(path: Path, error: type[SkilltokensError] = SkilltokensError) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write to; on success it takes the place of `path` at once.

    Works for a file or a folder (make the folder at the yielded path). On any failure `path` is as it was.
    A folder is replaced by two renames: a reader sees the old one, none for an instant, or the new one.

    Raises:
        error: one sentence, where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.tmp-", dir=path.parent))
        fresh, old = holder / path.name, holder / f"{path.name}.old"
        try:
            yield fresh
            _sync(fresh)
            if path.is_dir():
                path.rename(old)
            fresh.replace(path)
        finally:
            if old.exists() and not path.exists():  # stopped between the two renames
                old.rename(path)  # where this fails too, the old folder is left in `holder`
            shutil.rmtree(holder, ignore_errors=True)
    except OSError as problem:
        raise error(f"{path} could not be written ({problem.strerror or problem}): {_remedy(problem)}") from problem


def write_bytes(path: Path, content: bytes, error: type[SkilltokensError] = SkilltokensError) -> None:
    """Writes one file atomically. Raises `error` where there is a folder of that name: nothing of it is lost."""
    if Path(path).is_dir():
        raise error(f"{path} is a folder: name a file")
    with replacing(Path(path), error) as fresh:
        fresh.write_bytes(content)


def write_json(path: Path, content: Any, error: type[SkilltokensError] = SkilltokensError) -> None:
    """Writes JSON atomically, indented by one space so that versions of it can be compared line by line."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(), error)


def read_json(
    path: Path, schema: str | tuple[str, ...], error: type[SkilltokensError] = SkilltokensError
) -> dict[str, Any]:
    """Reads a JSON object whose `schema` field must be `schema`, or one of several.

    Raises:
        error: the file is missing, truncated, not JSON, or of another schema.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise error(f"{path} does not exist: check the path") from problem
    except OSError as problem:
        raise error(f"{path} could not be read ({problem.strerror}): check its permissions") from problem
    except ValueError as problem:
        raise error(f"{path} is truncated or altered (not JSON: {problem}): restore it or make it again") from problem
    known = (schema,) if isinstance(schema, str) else schema
    actual = content.get("schema") if isinstance(content, dict) else None
    if actual not in known:
        needed = " or ".join(map(repr, known))
        raise error(f"{path} has schema {actual!r} where {needed} is needed: is it the right file and version?")
    return content


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Forces a file, or every file of a folder, to the disk before it takes its name."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _remedy(problem: OSError) -> str:
    import errno

    if problem.errno == errno.ENOSPC:
        return "free some space on that disk and run the same command again"
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that you may write to"
    return "check the path and the disk"
