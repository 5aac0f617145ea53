"""A library goes to the Hugging Face Hub: one commit, with what is not there yet and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.escaping import shell, terminal
from skilltokens.exchange.repository import Repository, check_repository
from skilltokens.skills.card import CARD, Facts, papers
from skilltokens.skills.disk import BASE_FILE, LOG, SKILLS, WORDINGS, Disk
from skilltokens.skills.head import HEAD, encoded
from skilltokens.skills.records import Change
from skilltokens.skills.remote import changes, read_remote, relation
from skilltokens.skills.telling import told
from skilltokens.skills.view import LibraryView
from skilltokens.types import HubError, LibraryError, Progress, Report, SettingError, silent

BARE = (".gitattributes", ".gitignore", CARD, "LICENSE", "LICENSE.md", "LICENSE.txt")
"""What a repository may hold that has no library yet: the Hub's pages make these."""
SAID = 50
"""Changes that a commit's description lists."""


@dataclass(frozen=True)
class Pushed:
    """What a push has done.

    Attributes:
        repository: OWNER/NAME.
        commit: the repository's commit that holds the library; no new one where nothing was to be done.
        address: its page.
        sent: the files that were sent, and their bytes.
        removed: files that were pruned here, and are gone there too.
        changes: how many changes of the library are new there.
    """

    repository: str
    commit: str
    address: str
    sent: Mapping[str, int]
    removed: tuple[str, ...]
    changes: int


@dataclass(frozen=True)
class _File:
    """A file as it is to be at the Hub: in memory, or on the disk with its digest checked."""

    content: bytes | Path
    size: int
    sha256: str | None = None

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def push_library(
    library: LibraryView | Path | str,
    repository: str,
    *,
    private: bool = False,
    license: str = "",
    datasets: Sequence[str] = (),
    base: str = "",
    endpoint: str | None = None,
    token: str | None = None,
    report: Report = silent,
) -> Pushed:
    """Pushes a library to a repository of models, which is made where it is not there yet.

    Every seal is checked first: nothing damaged goes out. What the repository has already is not sent again.

    Args:
        library: its folder; what is there now is pushed.
        repository: OWNER/NAME.
        private: a repository that is made is private.
        license: for the model card, as in apache-2.0; empty: what the card there says.
        datasets: data sets at the Hub, OWNER/NAME, for the card; none: those that it names there.
        base: the model at the Hub that the library grew from, for the card; empty: the one that it names there.
        endpoint: the Hub's address; None takes HF_ENDPOINT, or else https://huggingface.co.
        token: None takes HF_TOKEN, or that of `hf auth login`.
        report: told of progress.

    Raises:
        SettingError: the repository's name, the license or the endpoint is none.
        LibraryError: the library is damaged, or the repository has another library, or changes that are not here.
        HubError: the Hub cannot be reached or refuses, or somebody else pushed meanwhile.
    """
    check_repository(repository)
    folder = library.folder if isinstance(library, LibraryView) else Path(library)
    name = folder.resolve().name
    Facts(name, repository, license, tuple(datasets), base)  # a mistake is said before anything is asked or read
    disk = Disk.open(folder)
    report(Progress("check", 0, 1, str(folder)))
    files = _files(disk)
    there = Repository(repository, endpoint=endpoint, token=token)
    if private and there.private is False:
        raise HubError(f"{repository} is public: make it private at {there.address}/settings, or leave out --private")
    new = disk.changes[_known(disk, there) :]
    if there.commit is None:
        there.create(private)
    facts = _facts(there.card, name, repository, license, datasets, base)
    files |= {path: _File(content, len(content)) for path, content in papers(disk.head, disk.state, facts).items()}
    sent = {path: file for path, file in files.items() if not _is_there(file, path, there)}
    removed = tuple(path for path in there.files if path.startswith(f"{SKILLS}/") and path not in files)
    assert there.commit is not None
    commit, address = there.commit, there.address
    if sent or removed:
        message, description = _message(disk, new)
        commit, address = there.commit_files(
            {path: file.content for path, file in sent.items()}, removed, message, description, report
        )
    return Pushed(repository, commit, address, {path: file.size for path, file in sent.items()}, removed, len(new))


def _files(disk: Disk) -> dict[str, _File]:
    """The library's own files but for its papers, each checked against its seal: a writer may be at work meanwhile."""
    vectors = disk.vectors()
    disk.check_rows(vectors, *disk.state.everything())
    disk.read_base()
    base = disk.head.base
    files = {
        HEAD: encoded(disk.head),
        LOG: disk.read_log(),
        WORDINGS: vectors.tobytes(),
    }
    known = {path: _File(content, len(content)) for path, content in files.items()}
    known[BASE_FILE] = _File(disk.folder / BASE_FILE, base.bytes, base.sha256)
    for file, record in disk.files().items():
        disk.read_skill(record)
        known[f"{SKILLS}/{file}"] = _File(disk.folder / SKILLS / file, record.bytes, record.sha256)
    return known


def _known(disk: Disk, there: Repository) -> int:
    """How many changes of a library a repository has already.

    Raises:
        LibraryError: it has anything else.
    """
    if HEAD not in there.files:
        others = sorted(set(there.files) - set(BARE))
        if others:
            raise LibraryError(
                f"{there.name} holds something else ({', '.join(others[:3])}{', ...' * (len(others) > 3)}): "
                "push to a repository of its own"
            )
        return 0
    with tempfile.TemporaryDirectory() as place:
        related = relation(disk, read_remote(there, Path(place)))
    if related is None:
        raise LibraryError(f"{there.name} holds another library: push to a repository of its own")
    if related.there == 0:
        return related.alike
    pull = shell("skilltokens", "hub", "pull", there.name)
    if related.here == 0:
        raise LibraryError(
            f"{there.name} is {changes(related.there)} ahead of {disk.folder}: `{pull} {shell(str(disk.folder))}` "
            "brings them here"
        )
    own = f"{changes(related.there)} that {'is' if related.there == 1 else 'are'} not in {disk.folder}"
    merge = f"skilltokens skills OTHER merge {shell(str(disk.folder))}"
    raise LibraryError(
        f"{there.name} has {own}, which has {related.here} of its own since change {related.alike}: pull it with "
        f"`{pull} OTHER`, add what is here with `{merge}`, and push OTHER"
    )


def _facts(
    card: Mapping[str, Any], name: str, repository: str, license: str, datasets: Sequence[str], base: str
) -> Facts:
    """What the card is to say that the library does not know: what is said now, else what the card there says."""

    def valid(**value: Any) -> bool:
        try:
            Facts(name, repository, **value)
        except (SettingError, TypeError):
            return False
        return True

    before = {key: card.get(key) for key in ("license", "datasets", "base_model")}
    lists = {key: value if isinstance(value, list) else [value] for key, value in before.items() if value}
    licenses = [text for text in lists.get("license", ()) if valid(license=text)]
    sets = [text for text in lists.get("datasets", ()) if valid(datasets=(text,))]
    bases = [text for text in lists.get("base_model", ()) if valid(base=text)]
    return Facts(
        name,
        repository,
        license or next(iter(licenses), ""),
        tuple(datasets) or tuple(sets),
        base or next(iter(bases), ""),
    )


def _is_there(file: _File, path: str, there: Repository) -> bool:
    known = there.files.get(path)
    return known is not None and known.is_same(file.size, file.sha256, file.read)


def _message(disk: Disk, new: Sequence[Change]) -> tuple[str, str]:
    """The summary of a commit, and its description."""
    lines = [terminal(told(change)) for change in new]
    skills = f"{len(disk.state.skills)} skill{'s' * (len(disk.state.skills) != 1)}"
    summary = lines[0][:100] if len(lines) == 1 else f"{changes(len(lines))}: {skills}" if lines else "The model card"
    more = [f"and {len(lines) - SAID} more"] * (len(lines) > SAID)
    return summary, "\n".join([*lines[:SAID], *more])
