"""Files that are whole or not there: atomic writes, seals, and readers that say what is wrong with a file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from skilltokens.types import SkilltokensError

RUN_SCHEMA = "skilltokens.run/2"
"""What run.json of a lifelong run begins with; here, since those who read it do without torch."""
REWARD_SCHEMA = "skilltokens.reward/2"
"""The same of a run that learns from reward."""
UNSEALED_RUN_SCHEMA, UNSEALED_REWARD_SCHEMA = "skilltokens.run/1", "skilltokens.reward/1"
"""The same of files without a seal: published before there were seals, or written by hand."""
COMPARISON_SCHEMA = "skilltokens.comparison/1"
"""What the JSON of a comparison begins with, which holds all its runs."""
LIBRARY_SCHEMA = "skilltokens.library/2"
"""What library.json of a skill library begins with."""
ATTACHED_SCHEMA = "skilltokens.attached/1"
"""The same of a library beside a policy of another make."""
SEAL = "digest"
"""The key of a sealed JSON object's seal."""

try:
    import fcntl
except ImportError:  # Windows: strays of killed processes stay until they are removed by hand
    fcntl = None


# ---------------------------------------------------------------- writing


@contextlib.contextmanager
def replacing(
    path: Path, error: type[SkilltokensError] = SkilltokensError, beside: Path | None = None, over: bool = True
) -> Iterator[Path]:
    """Yields a temporary path to write to; on success it takes the place of `path` at once.

    Works for a file or a folder (make the folder at the yielded path). On any failure `path` is as it was.
    A folder is replaced by two renames: a reader sees the old one, none for an instant, or the new one. What killed
    processes left of the same file or folder is removed first, and a folder that they had moved away is put back.

    Args:
        path: what to write.
        error: what to raise.
        beside: an existing folder on the same disk for the temporary files; None: that of `path`.
        over: whether a folder that is there may be replaced; if not, one with anything in it is an error.

    Raises:
        error: one sentence, where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(beside or path.parent, path.name, home=path.parent)
        with working(beside or path.parent, path.name) as holder:
            fresh, old = holder / path.name, holder / f"{path.name}.old"
            try:
                yield fresh
                _sync(fresh)
                if over and os.path.isdir(path):
                    path.rename(old)
                fresh.replace(path)
                _sync_folder(path.parent)
            finally:
                if os.path.exists(old) and not os.path.exists(path):  # stopped between the two renames
                    old.rename(path)  # where this fails too, the old folder is left in `holder`
                shutil.rmtree(holder, ignore_errors=True)
    except OSError as problem:
        raise error(f"{path} could not be written ({problem.strerror or problem}): {_remedy(problem)}") from problem


def write_bytes(
    path: Path, content: bytes, error: type[SkilltokensError] = SkilltokensError, beside: Path | None = None
) -> None:
    """Writes one file atomically. Raises `error` where there is a folder of that name: nothing of it is lost."""
    if os.path.isdir(path):
        raise error(f"{path} is a folder: name a file")
    with replacing(Path(path), error, beside) as fresh:
        fresh.write_bytes(content)


def write_json(path: Path, content: Any, error: type[SkilltokensError] = SkilltokensError) -> None:
    """Writes JSON atomically, indented by one space so that versions of it can be compared line by line."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(), error)


def sweep(folder: Path, name: str = "", home: Path | None = None) -> None:
    """Removes what killed processes left in a folder while they wrote: `.NAME.tmp-...`.

    A process that is at work holds its temporary folder by a lock, which ends with it. A folder that a killed process
    had moved away and not yet replaced is put back.

    Args:
        folder: where the temporary folders lie.
        name: of the file or folder that was written; empty: of any.
        home: where what is put back belongs; None: `folder`.
    """
    if fcntl is None:
        return
    pattern = f".{_literal(name) if name else '*'}.tmp-*"
    for stray in Path(folder).glob(pattern) if os.path.isdir(folder) else ():
        with contextlib.suppress(OSError), held(stray):
            target = (home or folder) / stray.name[1:].rpartition(".tmp-")[0]
            old = stray / f"{target.name}.old"
            if os.path.exists(old) and not os.path.exists(target):
                old.rename(target)
            shutil.rmtree(stray, ignore_errors=True)


@contextlib.contextmanager
def working(folder: Path, name: str) -> Iterator[Path]:
    """A temporary folder in another one, `.NAME.tmp-...`: `sweep` leaves it alone while this process is at work in it.

    It is the caller's to remove; what a killed process left is swept by the next.
    """
    while True:
        holder = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=folder))
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(held(holder, wait=True))
            except FileNotFoundError:  # swept in the instant before it was locked
                continue
            if not os.path.exists(holder):
                continue
            yield holder
            return


@contextlib.contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[None]:
    """Holds a lock on a folder, which ends with this process however that ends. Raises OSError where another has it."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError) if wait else contextlib.nullcontext():  # some network disks have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _literal(name: str) -> str:
    """A name as a pattern that means it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sync(path: Path) -> None:
    """Forces a file, or every file of a folder, to the disk before it takes its name."""
    for file in [path] if os.path.isfile(path) else path.rglob("*"):
        if os.path.isfile(file):
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Forces a folder's names to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remedy(problem: OSError) -> str:
    if problem.errno == errno.ENOSPC:
        return "free some space on that disk and run the same command again"
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that you may write to"
    return "check the path and the disk"


# ---------------------------------------------------------------- reading


@contextlib.contextmanager
def reading(path: Path, error: type[SkilltokensError] = SkilltokensError) -> Iterator[BufferedReader]:
    """Opens a regular file, or a link to one, to be read; never waits, as for the other end of a pipe.

    Raises:
        error: there is none, it may not be read, or it is a folder, a pipe or a device; also where reading fails.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise error(f"{shown(path)} is {_kind(os.fstat(descriptor).st_mode)} where a file is needed: check it")
            yield file
    except FileNotFoundError as problem:
        if os.path.islink(path):
            away = f"a link to {shown(Path(os.readlink(path)))}, which is not there"
            raise error(f"{shown(path)} is {away}: fetch that file too (dvc pull, git annex get, ...)") from problem
        raise error(f"{shown(path)} does not exist: check the path") from problem
    except IsADirectoryError as problem:
        raise error(f"{shown(path)} is a folder where a file is needed: check the path") from problem
    except OSError as problem:
        raise error(f"{shown(path)} could not be read ({problem.strerror or problem}): check it") from problem
    except ValueError as problem:
        if "null byte" not in str(problem):
            raise
        raise error(f"{shown(path)} is no path (it holds a null character): check it") from problem


def read_bytes(path: Path, error: type[SkilltokensError] = SkilltokensError) -> bytes:
    """The content of a regular file. Raises `error` as `reading` does."""
    with reading(path, error) as file:
        return file.read()


def read_json(
    path: Path, schema: str | tuple[str, ...], error: type[SkilltokensError] = SkilltokensError
) -> dict[str, Any]:
    """Reads a JSON object whose `schema` field must be `schema`, or one of several.

    Raises:
        error: the file is missing, no regular file, truncated, not JSON, nested too deep, or of another schema.
    """
    content = parse_json(read_bytes(path, error), path, error)
    known = (schema,) if isinstance(schema, str) else schema
    actual = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(actual, str) or actual not in known:
        needed = " or ".join(map(repr, known))
        raise error(
            f"{shown(path)} has schema {shown(actual)} where {needed} is needed: is it the right file and version?"
        )
    return content


def parse_json(content: bytes, path: Path, error: type[SkilltokensError] = SkilltokensError) -> Any:
    """The value that JSON text holds; `path` is for messages.

    Raises:
        error: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except ValueError as problem:
        raise error(
            f"{shown(path)} is truncated or altered (not JSON: {problem}): restore it or make it again"
        ) from problem
    except RecursionError as problem:
        raise error(f"{shown(path)} is altered (nested too deep): restore it or make it again") from problem


def depth(value: Any) -> int:
    """How deep values lie in the lists and objects of a JSON value; 0 where it holds none."""
    levels, rest = 0, [value]
    while rest := [item for part in rest if isinstance(part, dict | list) for item in _items(part)]:
        levels += 1
    return levels


def _items(part: dict[str, Any] | list[Any]) -> Iterator[Any]:
    return iter(part.values() if isinstance(part, dict) else part)


def shown(value: object) -> str:
    """A path, or a value out of a file, as a message quotes it: shortened."""
    text = str(value) if isinstance(value, Path) else repr(value)
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


# ---------------------------------------------------------------- seals


def digest(path: Path, error: type[SkilltokensError] = SkilltokensError) -> str:
    """SHA-256 of a file, in hex. Raises `error` as `reading` does."""
    with reading(path, error) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(content: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object without its own seal: of its text with sorted keys and Python's other defaults."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object with its seal, as the last key."""
    return {**{key: value for key, value in content.items() if key != SEAL}, SEAL: seal(content)}


def check_seal(content: Mapping[str, Any], path: Path, error: type[SkilltokensError] = SkilltokensError) -> None:
    """Raises `error` unless a JSON object bears the seal of what it says."""
    try:
        right = content.get(SEAL) == seal(content)
    except RecursionError:
        right = False
    if not right:
        raise error(f"{shown(path)} is truncated or altered (its digest differs): restore it from a copy")


def with_seal(label: str, payload: bytes) -> bytes:
    """Bytes behind 32 bytes of SHA-256 over a label and them: a kept result that is made again where it is damaged."""
    return hashlib.sha256(label.encode() + b"\0" + payload).digest() + payload


def payload_of(label: str, content: bytes) -> bytes | None:
    """What `with_seal` was given with the same label; None where a single byte is wrong."""
    payload = content[32:]
    return payload if with_seal(label, payload) == content else None
