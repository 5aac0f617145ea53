"""A library's folder: what is in it, read with every seal checked, and grown by one writer at a time.

    library.json        the head: schema, encoder, the policy's shape and settings, features; how much of the log and of
                        the wordings is valid, with the log's SHA-256; sealed. Replacing it is what commits a change
    changes.jsonl       the log of changes (`records`), which only grows
    wordings.f32        unit vectors of all wordings, float32, one row each; only grows
    base.safetensors    the base policy, sealed; one of another make lies elsewhere (`Head.source`)
    skills/             one file a skill (`skillfile`), named by its skill and its own SHA-256
    README.md           the model card (`card`)
    config.json, policy_preprocessor.json, policy_postprocessor.json
                        for LeRobot (`lerobot`), which takes the folder for one of its checkpoints
    .lock, .writer      held by a writer (`locking`);  .making: until a new library is whole

What stands behind the valid part of a file that grows was left by a killed writer: readers never look at it, and the
next writer cuts it off. So a change costs the same however many skills there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from skilltokens.files import (
    ATTACHED_SCHEMA,
    LIBRARY_SCHEMA,
    digest,
    read_bytes,
    read_json,
    reading,
    sweep,
    write_bytes,
)
from skilltokens.locking import LOCKS
from skilltokens.skills.card import PAPERS
from skilltokens.skills.head import HEAD, BaseFile, Head, Sealed, damaged, read_head, write_head
from skilltokens.skills.records import Add, Change, Prune, Record, Undo, decode, encode
from skilltokens.skills.state import State, files_of, fold
from skilltokens.types import Array, LibraryError, SkilltokensError

LOG, WORDINGS, BASE_FILE, SKILLS = "changes.jsonl", "wordings.f32", "base.safetensors", "skills"
MAKING = ".making"
"""A file that is there while a library is being made, so that a killed making is told from a user's own folder."""
NOTHING = Sealed(0, hashlib.sha256(b"").hexdigest())
"""The log of a library without changes."""
Papers = Callable[[Head, State], Mapping[str, bytes]]
"""Makes files of `PAPERS` of a head and a state: name -> content."""


@dataclass
class Disk:
    """What a reader knows of a library's folder after it has opened it; a writer's also grows it."""

    folder: Path
    head: Head
    changes: list[Change]
    state: State
    log: Any
    """The hash of the log's valid part, to be carried on: it is never made anew from the disk."""

    @classmethod
    def open(cls, folder: Path) -> Disk:
        """Reads the head and the log, and looks whether every file is there. Looks at no number.

        Raises:
            LibraryError: something is missing, damaged or impossible.
        """
        disk = cls.read(folder)
        disk._check_files()
        return disk

    @classmethod
    def read(cls, folder: Path) -> Disk:
        """Reads the head and the log, and nothing else: of a library whose other files are elsewhere."""
        head = read_head(folder)
        content = read_bytes(folder / LOG, LibraryError)[: head.changes.bytes]
        log = hashlib.sha256(content)
        if len(content) != head.changes.bytes or log.hexdigest() != head.changes.sha256:
            raise damaged(folder / LOG, "its digest differs")
        try:
            changes = decode(content)
            state = fold(changes)
        except (msgspec.MsgspecError, RecursionError, LibraryError) as problem:
            raise damaged(folder / LOG, str(problem)) from problem
        if not state.skills:
            raise damaged(folder / LOG, "it has no skill")
        return cls(folder, head, changes, state, log)

    def refreshed(self) -> Disk:
        """The library as it is now: this, where nobody changed it."""
        seal = read_json(self.folder / HEAD, (LIBRARY_SCHEMA, ATTACHED_SCHEMA), LibraryError).get("digest")
        return self if seal == self.head.digest else Disk.open(self.folder)

    @property
    def language(self) -> int:
        """The width of a sentence vector."""
        return int(self.head.policy["shape"]["language"])

    def _check_files(self) -> None:
        try:
            present = set(os.listdir(self.folder / SKILLS))
        except OSError as problem:
            raise LibraryError(f"{self.folder / SKILLS} is missing: restore it from a copy") from problem
        for record in self.state.everything():
            if record.file not in present:
                raise LibraryError(f"{self.folder / SKILLS / record.file} is missing: restore it from a copy")
            if record.vectors.first + len(record.wordings) > self.head.wordings or record.key >= self.head.wordings:
                raise damaged(self.folder / LOG, f"skill {record.name!r} has wordings without vectors")

    # ---------------------------------------------------------------- reading

    def read_base(self) -> bytes:
        """The bytes of the base's file. Raises LibraryError where they are not those that were written."""
        return _verified(self.folder / BASE_FILE, self.head.base.bytes, self.head.base.sha256)

    def read_skill(self, record: Record) -> bytes:
        """The same of a skill's file."""
        return _verified(self.folder / SKILLS / record.file, record.bytes, record.sha256)

    def read_log(self) -> bytes:
        """The valid part of the log. Raises LibraryError where it is not what was read before."""
        content = read_bytes(self.folder / LOG, LibraryError)[: self.head.changes.bytes]
        if hashlib.sha256(content).hexdigest() != self.head.changes.sha256:
            raise damaged(self.folder / LOG, "its digest differs")
        return content

    def files(self) -> dict[str, Record]:
        """The files of skills that are there, those of removed skills too: name -> a record of it."""
        present = set(os.listdir(self.folder / SKILLS))
        return {name: record for name, record in files_of(self.changes).items() if name in present}

    def vectors(self) -> Array:
        """The valid rows of wordings.f32, (rows, language) float32, mapped from the disk; `check_rows` checks them.

        Raises:
            LibraryError: the file is missing or too short.
        """
        rows, width = self.head.wordings, self.language
        with reading(self.folder / WORDINGS, LibraryError) as file:
            if os.fstat(file.fileno()).st_size < rows * width * 4:
                raise damaged(self.folder / WORDINGS, "it is too short")
            mapped = mmap.mmap(file.fileno(), rows * width * 4, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, "<f4").reshape(rows, width)

    def check_rows(self, vectors: Array, *records: Record) -> None:
        """Whether the vectors of skills' wordings are those that were written, and unit vectors.

        Raises:
            LibraryError: they are not.
        """
        seen, width = np.ascontiguousarray(vectors).data.cast("B"), 4 * self.language
        for record in records:
            first, count = record.vectors.first, len(record.wordings)
            rows = vectors[first : first + count]
            alike = hashlib.sha256(seen[first * width : (first + count) * width]).hexdigest() == record.vectors.sha256
            if not alike or not (np.abs(np.einsum("nd,nd->n", rows, rows) - 1) < 1e-3).all():
                raise damaged(self.folder / WORDINGS, f"the vectors of skill {record.name!r} are not what was written")

    # ---------------------------------------------------------------- writing

    def write_skill(self, data: bytes, name: str) -> Sealed:
        """Writes a skill's file; `file_of` says its name. What another record calls by the same name is the same."""
        sha256 = hashlib.sha256(data).hexdigest()
        write_bytes(self.folder / SKILLS / file_of(name, sha256), data, LibraryError, beside=self.folder)
        return Sealed(len(data), sha256)

    def append(self, changes: Sequence[Change], vectors: Array | None = None, papers: Papers | None = None) -> Disk:
        """Commits changes; the caller holds the lock, and this is how the library is now.

        Args:
            vectors: rows that the changes add to the wordings.
            papers: makes the model card and the like of what the library will be.

        Returns:
            The library after it.

        Raises:
            LibraryError: a change is impossible, or it cannot be written; the library is as before then.
        """
        state = self._after(changes)
        content = b"".join(map(encode, changes))
        rows = self.head.wordings + (0 if vectors is None else len(vectors))
        if vectors is not None:
            _extend(self.folder / WORDINGS, self.head.wordings * self.language * 4, vectors.astype("<f4").tobytes())
        _extend(self.folder / LOG, self.head.changes.bytes, content)
        log = self.log.copy()
        log.update(content)
        log_seal = Sealed(self.head.changes.bytes + len(content), log.hexdigest())
        head = msgspec.structs.replace(self.head, changes=log_seal, wordings=rows)
        if papers is not None:
            self._write_papers(papers(head, state))
        return Disk(self.folder, write_head(self.folder, head), [*self.changes, *changes], state, log)

    def advance(self, later: Disk, papers: Mapping[str, bytes]) -> Disk:
        """Becomes what another folder's library is, of which this is an earlier state; the caller holds the lock.

        What is damaged here is mended.

        Args:
            later: the other one, verified.
            papers: its model card and the like.

        Raises:
            LibraryError: this is no earlier state of it, or it cannot be written; the library is as before then.
        """
        log, vectors = later.read_log(), later.vectors()
        start, rows = self.head.changes.bytes, self.head.wordings
        if not log.startswith(self.read_log()):
            raise LibraryError(f"{self.folder} was changed meanwhile: run the same command again")
        for path in self.missing(later):
            if (later.folder / path).is_file():
                content = read_bytes(later.folder / path, LibraryError)
                write_bytes(self.folder / path, content, LibraryError, beside=self.folder)
        if self._has_rows(vectors[:rows]):
            _extend(self.folder / WORDINGS, rows * self.language * 4, vectors[rows:].tobytes())
        else:
            write_bytes(self.folder / WORDINGS, vectors.tobytes(), LibraryError)
        _extend(self.folder / LOG, start, log[start:])
        self._write_papers(papers)
        return Disk(self.folder, write_head(self.folder, later.head), later.changes, later.state, later.log)

    def missing(self, later: Disk) -> list[str]:
        """The paths that another library's head and log name and that are not here, or not whole."""
        files = {f"{SKILLS}/{name}": record.sha256 for name, record in files_of(later.changes).items()}
        own = {BASE_FILE: later.head.base.sha256} if later.head.source is UNSET else {}
        seals = {**own, **files}
        return [path for path, sha256 in seals.items() if not self._is(path, sha256)]

    def _is(self, path: str, sha256: str) -> bool:
        with contextlib.suppress(SkilltokensError):
            return digest(self.folder / path) == sha256
        return False

    def _has_rows(self, rows: Array) -> bool:
        with contextlib.suppress(SkilltokensError):
            return np.array_equal(self.vectors(), rows)
        return False

    def _write_papers(self, papers: Mapping[str, bytes]) -> None:
        """Writes those that are not there already: most of them never change."""
        for name, content in papers.items():
            path = self.folder / name
            with contextlib.suppress(SkilltokensError):
                if read_bytes(path) == content:
                    continue
            write_bytes(path, content, LibraryError)

    def _after(self, changes: Sequence[Change]) -> State:
        """The state after further changes."""
        if any(isinstance(change, Undo) for change in changes):
            return fold([*self.changes, *changes])
        state = self.state.copy()
        for change in changes:
            state.apply(change)
        return state

    def altered_by(self, changes: Sequence[Change]) -> bool:
        """Whether changes alter anything. May raise LibraryError where they are impossible."""
        return any(isinstance(change, Add | Undo | Prune) for change in changes) or self._after(changes) != self.state

    def tidy(self) -> None:
        """Removes what killed writers left. The caller holds the lock."""
        sweep(self.folder)
        (self.folder / MAKING).unlink(missing_ok=True)


def new_disk(
    folder: Path,
    encoder: str,
    policy: Mapping[str, Any],
    features: Mapping[str, Any],
    base: bytes,
    about_base: tuple[str, int],
) -> Disk:
    """A folder in which a library is being made; `append` commits it. The caller holds the lock.

    Args:
        base: the bytes of the base's file.
        about_base: its fingerprint, and the number of its parameters.

    Raises:
        LibraryError: it holds a library, or anything else that is not the remains of a killed making.
    """
    folder = Path(folder)
    clear(folder)
    write_bytes(folder / BASE_FILE, base, LibraryError)
    return disk_over(folder, encoder, policy, features, base, about_base)


def clear(folder: Path) -> None:
    """Prepares a folder for the making of a library. The caller holds the lock.

    Raises:
        LibraryError: it holds a library, or anything else that is not the remains of a killed making.
    """
    if (folder / HEAD).exists():
        raise LibraryError(f"{folder} holds a skill library already: add to it, or choose another folder")
    check_free(folder)
    write_bytes(folder / MAKING, b"", LibraryError)
    sweep(folder)
    with contextlib.suppress(FileNotFoundError):
        for path in (*(folder / name for name in (LOG, WORDINGS, *PAPERS)), *(folder / SKILLS).iterdir()):
            path.unlink(missing_ok=True)


def disk_over(
    folder: Path,
    encoder: str,
    policy: Mapping[str, Any],
    features: Mapping[str, Any],
    base: bytes,
    about_base: tuple[str, int],
) -> Disk:
    """A library without skills over a base that lies in its folder already; its first commit makes its head."""
    file = BaseFile(len(base), hashlib.sha256(base).hexdigest(), *about_base)
    head = Head(encoder=encoder, policy=dict(policy), features=dict(features), base=file, changes=NOTHING, wordings=0)
    return Disk(folder, head, [], State(), hashlib.sha256())


def check_free(folder: Path) -> None:
    """Whether a library can be made in a folder: it is not there, empty, or a killed process was making one in it.

    Raises:
        LibraryError: something else is there.
    """
    if not folder.exists() or (folder / MAKING).exists():
        return
    if not folder.is_dir():
        raise LibraryError(f"{folder} is a file: name a new folder, or one with a library in it")
    names = {path.name for path in folder.iterdir() if not path.name.startswith(f".{MAKING}.tmp-")} - set(LOCKS)
    if {LOG, BASE_FILE} & names:
        raise LibraryError(f"{folder} is a skill library without its {HEAD}: restore that file from a copy")
    if names:
        raise LibraryError(f"{folder} is no library and not empty: name a new folder, or one with a library in it")


def abandon(folder: Path) -> None:
    """Removes what a library's making that failed has left, and the folder if it is empty then. The caller holds the
    lock, which nobody can take any more of a file that is gone."""
    if (folder / HEAD).exists():
        return
    for name in (LOG, WORDINGS, BASE_FILE, *PAPERS, MAKING) if (folder / MAKING).exists() else ():
        (folder / name).unlink(missing_ok=True)
    for path in (*folder.glob(f"{SKILLS}/*.safetensors"), *(folder / name for name in LOCKS)):
        path.unlink(missing_ok=True)
    for path in (folder / SKILLS, folder):
        with contextlib.suppress(OSError):  # it is not there, or something of its user's lies in it
            path.rmdir()


def file_of(name: str, sha256: str) -> str:
    """The name of a skill's file."""
    return f"{name}.{sha256[:12]}.safetensors"


def _verified(path: Path, size: int, sha256: str) -> bytes:
    """The bytes of a file, if they are those that were written."""
    with reading(path, LibraryError) as file:
        if os.fstat(file.fileno()).st_size != size:
            raise damaged(path, "its size differs")
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise damaged(path, "its digest differs")
    return content


def _extend(path: Path, start: int, content: bytes) -> None:
    """Writes behind the valid part of a file that grows, and forces it to the disk.

    A file that other names share, such as in a download's cache, is copied first: the others stay as they are.

    Raises:
        LibraryError: it cannot be written, or is shorter than its valid part.
    """
    try:
        if not path.exists() and start == 0:
            write_bytes(path, content, LibraryError)
            return
        if path.is_symlink() or path.stat().st_nlink > 1:
            write_bytes(path, read_bytes(path, LibraryError)[:start] + content, LibraryError)
            return
        with reading(path, LibraryError):  # no pipe or device
            pass
        with path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) < start:
                raise damaged(path, "it is too short")
            file.truncate(start)
            file.seek(start)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise LibraryError(f"{path} could not be written ({problem.strerror or problem}): check the disk") from problem
