"""A library comes from the Hugging Face Hub: verified in a temporary place before anything is seen of it.

LeRobot's files, which may name classes to import, are made here and never taken from a repository.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from skilltokens.escaping import shell
from skilltokens.exchange.repository import Repository
from skilltokens.files import read_bytes, replacing, working, write_bytes
from skilltokens.locking import locked
from skilltokens.skills.card import CARD, PAPERS, Facts, papers
from skilltokens.skills.disk import BASE_FILE, SKILLS, WORDINGS, Disk, check_free
from skilltokens.skills.head import HEAD
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.managing import WAIT
from skilltokens.skills.remote import about, changes, read_remote, relation
from skilltokens.skills.state import files_of
from skilltokens.skills.verifying import verify
from skilltokens.types import LibraryError, Report, silent


def pull_library(
    repository: str,
    folder: Path | str | None = None,
    *,
    revision: str = "main",
    endpoint: str | None = None,
    token: str | None = None,
    report: Report = silent,
) -> SkillLibrary:
    """Pulls a library into a new folder, or goes on with an earlier state of it that is there.

    Every seal is checked, and every skill proved, before the folder is touched. In a folder that is there, only what is
    new is downloaded, and what is damaged.

    Args:
        repository: OWNER/NAME.
        folder: where to; None: NAME in the current folder.
        revision: a branch, tag or commit.
        endpoint: the Hub's address; None takes HF_ENDPOINT, or else https://huggingface.co.
        token: None takes HF_TOKEN, or that of `hf auth login`.
        report: told of progress.

    Raises:
        SettingError: the repository's name or the endpoint is none.
        LibraryError: there is no library in the repository, or it is damaged, or the folder holds something else or
            changes that the repository has not.
        HubError: the Hub cannot be reached or refuses.
    """
    there = Repository(repository, revision, endpoint, token)
    there.needed()
    folder = Path(repository.rpartition("/")[2] if folder is None else folder)
    if (folder / HEAD).exists():
        _go_on(folder, there, report)
    else:
        check_free(folder)
        with replacing(folder, LibraryError, over=False) as fresh:
            fresh.mkdir()
            theirs = read_remote(there, fresh)
            _complete(theirs, there, folder, [BASE_FILE, *_skills(theirs)], report)
    return SkillLibrary.open(folder)


def _go_on(folder: Path, there: Repository, report: Report) -> None:
    """Brings a library that is an earlier state of the repository's to that."""
    mine = Disk.read(folder)
    with working(folder, "pull") as place:
        try:
            staging = place / "library"
            staging.mkdir()
            theirs = read_remote(there, staging)
            _check_earlier(mine, theirs, there)
            missing = mine.missing(theirs)
            for path in (BASE_FILE, *_skills(theirs)):
                if path not in missing:
                    (staging / path).parent.mkdir(exist_ok=True)
                    (staging / path).symlink_to((folder / path).resolve())
            _complete(theirs, there, folder, missing, report)
            with locked(folder, LibraryError, wait=WAIT, report=report):
                now = Disk.read(folder)
                now.tidy()
                now.advance(Disk.open(staging), {name: read_bytes(staging / name) for name in PAPERS})
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _check_earlier(mine: Disk, theirs: Disk, there: Repository) -> None:
    """Raises LibraryError unless a library here is an earlier state of one at the Hub, or the same."""
    related = relation(mine, theirs)
    if related is None:
        raise LibraryError(f"{mine.folder} is another library than {there.name}: name a new folder")
    if related.here:
        own = (
            f"{mine.folder} has {changes(related.here)} that {'is' if related.here == 1 else 'are'} not at {there.name}"
        )
        if not related.there:
            raise LibraryError(f"{own}: push them, or name a new folder to have the older state too")
        raise LibraryError(
            f"{own}, which has {related.there} of its own since change {related.alike}: pull into a new folder, and "
            f"`skilltokens skills NEW merge {shell(str(mine.folder))}` adds what is here"
        )


def _skills(theirs: Disk) -> list[str]:
    return [f"{SKILLS}/{name}" for name in files_of(theirs.changes)]


def _complete(theirs: Disk, there: Repository, folder: Path, paths: list[str], report: Report) -> None:
    """Downloads the rest of a library to where its head and log are, makes its papers, and verifies it.

    Raises:
        LibraryError: it is damaged.
    """
    place = theirs.folder
    there.download([path for path in (WORDINGS, CARD, *paths) if path in there.files], place, report)
    for name, content in papers(theirs.head, theirs.state, Facts(folder.resolve().name)).items():
        if name != CARD or CARD not in there.files:
            write_bytes(place / name, content, LibraryError)
    for finding in verify(place, actions=True, report=report):
        if finding.fault:
            raise LibraryError(
                f"{there.name} is damaged, and nothing of it was kept: "
                f"{about(finding.subject, place, there)}: {about(finding.sentence, place, there)}"
            )
