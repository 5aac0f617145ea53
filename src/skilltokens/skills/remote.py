"""A library at the Hugging Face Hub: what its log says, beside that of a library here.

A repository holds what the library's folder holds, so a copy of either is a library. Its history is the library's log
of changes: `pushing` goes only on top of an earlier state of the same library, and `pulling` only goes on from one, so
nothing that either side has is lost. Nothing of a repository is run or unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from skilltokens.exchange.repository import Repository
from skilltokens.skills.disk import LOG, Disk
from skilltokens.skills.head import HEAD
from skilltokens.types import LibraryError

FIRST = (HEAD, LOG)
"""The files that say all that a library has."""


@dataclass(frozen=True)
class Relation:
    """How many changes of two libraries' logs are alike, from the first on, and how many come after that."""

    alike: int
    here: int
    there: int


def relation(mine: Disk, theirs: Disk) -> Relation | None:
    """How a library at the Hub stands to one here; None: it is another one."""
    here, there = mine.read_log().splitlines(), theirs.read_log().splitlines()
    pairs = zip(here, there, strict=False)
    alike = next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(here), len(there)))
    a, b = mine.head, theirs.head
    if alike == 0 or (a.base, a.encoder, a.policy, a.features) != (b.base, b.encoder, b.policy, b.features):
        return None
    return Relation(alike, len(here) - alike, len(there) - alike)


def read_remote(repository: Repository, folder: Path) -> Disk:
    """Downloads the head and the log of a library into a folder, and reads them.

    Raises:
        LibraryError: there is no library in the repository, or it is damaged or of another version.
        HubError: the Hub cannot be reached or refuses.
    """
    if not set(FIRST) <= repository.files.keys():
        raise LibraryError(
            f"{repository.name} holds no skill library of this version ({' and '.join(FIRST)}): check its name"
        )
    repository.download(FIRST, folder)
    try:
        disk = Disk.read(folder)
        if disk.head.source is not UNSET:
            raise LibraryError("its base is of another make and not in it")
        return disk
    except LibraryError as problem:
        raise LibraryError(
            f"{repository.name} holds no whole library: {about(str(problem), folder, repository)}"
        ) from problem


def about(said: str, folder: Path, repository: Repository) -> str:
    """What was said of a download, said of its repository: its temporary folder is nothing to a user."""
    return said.replace(str(folder), repository.name)


def changes(number: int) -> str:
    return f"{number} change{'s' * (number != 1)}"
