"""Downloads from the Hugging Face Hub. A file has its own name only when it is complete and its SHA-256 is right.

Until then it has a hidden name, which contains its digest; an interrupted download resumes from there.
(huggingface_hub's own download starts again after an interruption and checks no digests. It is used only to list the
repository and for the user's token.)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from skilltokens.exchange.hub import ENDING, Hub, Remote
from skilltokens.files import digest
from skilltokens.types import DemonstrationError, Progress, Report, silent

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait after each attempt in a row that brings no byte. One more such attempt, and the download fails."""
CHUNK, MB = 1 << 20, 1_000_000


def download(hub: Hub, files: Sequence[Remote], folder: str | Path, report: Report = silent) -> list[Path]:
    """Downloads `files` into FOLDER/SUITE/ and returns their paths. Files that exist already are checked and kept.

    Args:
        report: gets the progress of all files together, in megabytes (10^6 bytes).

    Raises:
        DemonstrationError: another file has that name, the disk has too little space, the connection failed too often
            (what has arrived is kept, and the same call resumes from there), or a file arrived altered.
    """
    folder = Path(folder).expanduser()
    paths = {file: path_of(file, folder) for file in files}
    existing = [file for file, path in paths.items() if path.exists()]
    for number, file in enumerate(existing):
        report(Progress("check", number, len(existing), file.task))
        _verify(file, paths[file])
    missing = [file for file in files if file not in existing]
    _check_space(folder, sum(file.size - _arrived(part_of(file, paths[file])) for file in missing))
    total, done = sum(file.size for file in missing), 0
    for file in missing:

        def on_arrival(size: int, task: str = file.task, before: int = done) -> None:
            report(Progress("download (MB)", (before + size) // MB, max(total // MB, 1), task))

        _fetch(hub, file, paths[file], on_arrival)
        done += file.size
    return list(paths.values())


def path_of(file: Remote, folder: Path) -> Path:
    """The path of a complete file: FOLDER/SUITE/TASK_demo.hdf5, as in LIBERO's own folders."""
    return folder / file.suite.replace("-", "_") / f"{file.task}{ENDING}"


def part_of(file: Remote, path: Path) -> Path:
    """The hidden path that a file has until it is complete; `path` is its final one."""
    return path.with_name(f".{file.sha256[:16]}.{path.name}.part")


def _fetch(hub: Hub, file: Remote, path: Path, on_arrival: Callable[[int], None]) -> None:
    """Downloads one file to `path`. `on_arrival` gets the number of its bytes that are here, now and then."""
    part = part_of(file, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part) as target:
            sha256 = _Transfer(hub, file, target, on_arrival).finish()
            os.fsync(target.fileno())
            if sha256 != file.sha256:
                part.unlink()
                raise DemonstrationError(
                    f"{file.path} arrived altered (SHA-256 {sha256[:16]}... where {hub.repository} says "
                    f"{file.sha256[:16]}...) and was thrown away: run the same command again"
                )
            part.replace(path)
    except OSError as problem:
        raise DemonstrationError(
            f"{path} could not be written ({problem.strerror or problem}): check the folder and the disk's space"
        ) from problem


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The unfinished file, open for reading and appending. It is locked: one process at a time can download to it."""
    with part.open("a+b") as target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise DemonstrationError(f"another process is downloading to {part}: wait for it") from problem
        yield target


class _Transfer:
    """The download of one file, over as many connections as it takes.

    Raises:
        DemonstrationError: attempt after attempt brings no byte, or the Hub refuses.
        OSError: `target` cannot be read or written.
    """

    def __init__(self, hub: Hub, file: Remote, target: BinaryIO, on_arrival: Callable[[int], None]) -> None:
        self._hub, self._file, self._target, self._on_arrival = hub, file, target, on_arrival
        self._sha, self._offset = hashlib.sha256(), 0
        target.seek(0)
        while chunk := target.read(CHUNK):  # what arrived before
            self._sha.update(chunk)
            self._offset += len(chunk)
        if self._offset > file.size:
            self._start_over()

    def finish(self) -> str:
        """Appends what is missing; returns the SHA-256 of the whole file in hex."""
        file, failures, furthest = self._file, 0, self._offset
        self._on_arrival(self._offset)
        while self._offset < file.size:
            problem = self._attempt()
            failures = 0 if self._offset > furthest else failures + 1
            furthest = max(furthest, self._offset)
            if failures > len(PAUSES):
                raise DemonstrationError(
                    f"{file.path} stopped arriving at {self._offset / MB:.1f} of {file.size / MB:.1f} MB ({problem}): "
                    "run the same command again to resume"
                )
            if self._offset < file.size:
                time.sleep(PAUSES[max(failures - 1, 0)])
        return self._sha.hexdigest()

    def _attempt(self) -> str:
        """Reads from one connection until it ends; returns why it ended, or "" if the file is complete."""
        try:
            response = self._hub.open(self._file, self._offset)
        except urllib.error.HTTPError as refusal:
            return self._refused(refusal)
        except (OSError, http.client.HTTPException) as broken:
            return _reason(broken)
        with response:
            if self._offset and not _resumes(response, self._offset):
                self._start_over()  # the server sends all of it again
            while self._offset < self._file.size:
                try:
                    # read1 returns the bytes that are here and does not wait for a full chunk.
                    chunk = response.read1(min(CHUNK, self._file.size - self._offset))
                except (OSError, http.client.HTTPException) as broken:
                    return _reason(broken)
                if not chunk:
                    return "the connection was closed"
                self._target.write(chunk)
                self._target.flush()
                self._sha.update(chunk)
                before, self._offset = self._offset, self._offset + len(chunk)
                if before // MB != self._offset // MB or self._offset == self._file.size:
                    self._on_arrival(self._offset)
        return ""

    def _refused(self, refusal: urllib.error.HTTPError) -> str:
        with refusal:
            answer = f"{refusal.code} {refusal.reason}"
        if refusal.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._start_over()
        elif refusal.code < 500 and refusal.code not in (408, 425, 429):
            raise DemonstrationError(
                f"{self._hub.endpoint} does not give {self._file.path} ({answer}): check the repository, and "
                "your token if it is not public"
            ) from refusal
        return answer

    def _start_over(self) -> None:
        self._target.truncate(0)
        self._sha, self._offset = hashlib.sha256(), 0


def _resumes(response: Any, offset: int) -> bool:
    """Whether the response begins at byte `offset`, as was requested."""
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _reason(broken: Exception) -> str:
    return str(getattr(broken, "reason", "") or broken) or type(broken).__name__


def _verify(file: Remote, path: Path) -> None:
    """
    Raises:
        DemonstrationError: the file at `path` is not the published one.
    """
    if not path.is_file() or path.stat().st_size != file.size or digest(path) != file.sha256:
        raise DemonstrationError(
            f"{path} is there and is not the published file (its size or SHA-256 differs): remove it, or choose "
            "another folder"
        )


def _check_space(folder: Path, needed: int) -> None:
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise DemonstrationError(
            f"{needed / 1e9:.1f} GB are to be downloaded and {parent} has room for {free / 1e9:.1f} GB: choose fewer "
            "tasks, or another folder"
        )


def _arrived(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
