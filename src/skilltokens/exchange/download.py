"""Files from the Hugging Face Hub: whole and checked, or not there.

A file is written under a hidden name that holds its digest, goes on from there after an interruption, and takes its
own name once every byte has been checked. (huggingface_hub's own download begins again after an interruption and
checks no digests; it is used to ask the Hub, and for the user's token.)
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
"""Seconds to wait before each new attempt in a row that brings nothing; then it is given up."""
CHUNK, MB = 1 << 20, 1_000_000


def download(hub: Hub, files: Sequence[Remote], folder: str | Path, report: Report = silent) -> list[Path]:
    """Puts `files` into FOLDER/SUITE/ and returns their paths. Those that are there are checked and kept.

    Args:
        report: told in megabytes (10^6 bytes) of all files together.

    Raises:
        DemonstrationError: there is another file of that name, too little space, the connection broke for good (what
            has arrived is kept, and the same call goes on from there), or a file arrived altered.
    """
    places = {file: place_of(file, Path(folder).expanduser()) for file in files}
    there = [file for file, place in places.items() if place.exists()]
    for number, file in enumerate(there):
        report(Progress("check", number, len(there), file.task))
        _check(file, places[file])
    missing = [file for file in files if file not in there]
    _check_space(Path(folder).expanduser(), sum(file.size - _arrived(part_of(file, places[file])) for file in missing))
    total, done = sum(file.size for file in missing), 0
    for file in missing:

        def told(arrived: int, task: str = file.task, before: int = done) -> None:
            report(Progress("download (MB)", (before + arrived) // MB, max(total // MB, 1), task))

        _fetch(hub, file, places[file], told)
        done += file.size
    return list(places.values())


def place_of(file: Remote, folder: Path) -> Path:
    """Where a file is put: FOLDER/SUITE/TASK_demo.hdf5, as in LIBERO's own folders."""
    return folder / file.suite.replace("-", "_") / f"{file.task}{ENDING}"


def part_of(file: Remote, place: Path) -> Path:
    """Where a file is kept until it is whole."""
    return place.with_name(f".{file.sha256[:16]}.{place.name}.part")


def _fetch(hub: Hub, file: Remote, place: Path, told: Callable[[int], None]) -> None:
    part = part_of(file, place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part) as target:
            found = _Transfer(hub, file, target, told).finish()
            os.fsync(target.fileno())
            if found != file.sha256:
                part.unlink()
                raise DemonstrationError(
                    f"{file.path} arrived altered (SHA-256 {found[:16]}... where {hub.repository} says "
                    f"{file.sha256[:16]}...) and was thrown away: run the same command again"
                )
            part.replace(place)
    except OSError as problem:
        raise DemonstrationError(
            f"{place} could not be written ({problem.strerror or problem}): check the folder and the disk's space"
        ) from problem


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The unfinished file, open to read and to append, for one process at a time."""
    with part.open("a+b") as target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise DemonstrationError(f"another process is downloading to {part}: wait for it") from problem
        yield target


class _Transfer:
    """One file on its way, over as many connections as it takes.

    Raises:
        DemonstrationError: no more bytes come, or the Hub refuses.
        OSError: the disk's.
    """

    def __init__(self, hub: Hub, file: Remote, target: BinaryIO, told: Callable[[int], None]) -> None:
        self._hub, self._file, self._target, self._told = hub, file, target, told
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
        self._told(self._offset)
        while self._offset < file.size:
            problem = self._attempt()
            failures = 0 if self._offset > furthest else failures + 1
            furthest = max(furthest, self._offset)
            if failures > len(PAUSES):
                raise DemonstrationError(
                    f"{file.path} stopped arriving at {self._offset / MB:.1f} of {file.size / MB:.1f} MB ({problem}): "
                    "run the same command again to go on from there"
                )
            if self._offset < file.size:
                time.sleep(PAUSES[max(failures - 1, 0)])
        return self._sha.hexdigest()

    def _attempt(self) -> str:
        """One connection, as far as it goes; says why it went no further."""
        try:
            response = self._hub.open(self._file, self._offset)
        except urllib.error.HTTPError as refusal:
            return self._refused(refusal)
        except (OSError, http.client.HTTPException) as broken:
            return _reason(broken)
        with response:
            if self._offset and not _goes_on(response, self._offset):
                self._start_over()  # the server sends all of it again
            while self._offset < self._file.size:
                try:
                    chunk = response.read1(min(CHUNK, self._file.size - self._offset))  # what is there, without waiting
                except (OSError, http.client.HTTPException) as broken:
                    return _reason(broken)
                if not chunk:
                    return "the connection was closed"
                self._target.write(chunk)
                self._target.flush()
                self._sha.update(chunk)
                before, self._offset = self._offset, self._offset + len(chunk)
                if before // MB != self._offset // MB or self._offset == self._file.size:
                    self._told(self._offset)
        return ""

    def _refused(self, refusal: urllib.error.HTTPError) -> str:
        with refusal:
            said = f"{refusal.code} {refusal.reason}"
        if refusal.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._start_over()
        elif refusal.code < 500 and refusal.code not in (408, 425, 429):
            raise DemonstrationError(
                f"{self._hub.endpoint} does not give {self._file.path} ({said}): check the repository, and your token "
                "if it is not public"
            ) from refusal
        return said

    def _start_over(self) -> None:
        self._target.truncate(0)
        self._sha, self._offset = hashlib.sha256(), 0


def _goes_on(response: Any, offset: int) -> bool:
    """Whether a response to a Range request begins where it was asked to."""
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _reason(broken: Exception) -> str:
    return str(getattr(broken, "reason", "") or broken) or type(broken).__name__


def _check(file: Remote, place: Path) -> None:
    """
    Raises:
        DemonstrationError: the file at `place` is another one.
    """
    if not place.is_file() or place.stat().st_size != file.size or digest(place) != file.sha256:
        raise DemonstrationError(
            f"{place} is there and is not the published file (its size or SHA-256 differs): remove it, or choose "
            "another folder"
        )


def _check_space(folder: Path, needed: int) -> None:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DemonstrationError(
            f"{needed / 1e9:.1f} GB are to be downloaded and {there} has room for {free / 1e9:.1f} GB: choose fewer "
            "tasks, or another folder"
        )


def _arrived(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
