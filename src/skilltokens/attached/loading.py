"""Bases of another make: where their files are, what seals them, and who makes a policy of them.

A library refers to its base and never copies it: by a path or the Hub's OWNER/NAME with a commit, and by the SHA-256 of
every file that decides its numbers. What a library's file says is not trusted with code: a loader is named by its
user (`--loader module:name`), or is one that an installed package registers as an entry point of `skilltokens.bases`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from torch import nn

from skilltokens.attached.digests import Digests
from skilltokens.escaping import terminal
from skilltokens.exchange.repository import Repository
from skilltokens.files import digest, seal
from skilltokens.plugins import object_at
from skilltokens.skills.head import Source
from skilltokens.types import LibraryError, SettingError, SkilltokensError, nearest

GROUP = "skilltokens.bases"
"""Entry points: name -> a function of a folder or file that returns the policy that lies there, ready to act."""
PATTERNS = ("*.safetensors", "config.json")
"""The files of a base's folder that decide what it computes."""
Load = Callable[[Path], nn.Module]
_AT_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def located(path: str, revision: str = "") -> tuple[Path, str]:
    """Where a base is on this machine, and its commit where it is from the Hub, which is downloaded once.

    Args:
        path: a file, a folder, or OWNER/NAME.
        revision: at the Hub, a branch, tag or commit.

    Raises:
        LibraryError: it is not there.
        HubError: the Hub has no such repository, cannot be reached, or refuses.
    """
    place = Path(path).expanduser()
    if place.exists():
        if revision:
            raise SettingError(f"{path} is a place on this machine and has no revision: leave out the revision")
        return place, ""
    if not _AT_HUB.fullmatch(path):
        raise LibraryError(
            f"the base {path} is not there: check its path, or name a repository of the Hub (OWNER/NAME)"
        )
    kept = _kept(path, revision)
    if kept is not None:
        return kept, revision
    repository = Repository(path, revision or "main")
    repository.needed()
    from huggingface_hub import snapshot_download

    folder = snapshot_download(path, revision=repository.commit, allow_patterns=list(PATTERNS))
    return Path(folder), repository.commit or ""


def _kept(path: str, revision: str) -> Path | None:
    """The folder of a commit that was downloaded before."""
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        return None
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        return Path(snapshot_download(path, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def source_of(path: str, revision: str = "", loader: str = "") -> tuple[Source, Path, int]:
    """What a library keeps of a base, where that is here, and its bytes. Reads all of its files.

    Raises:
        LibraryError: it is not there, or has no file of numbers.
    """
    place, commit = located(path, revision)
    files = base_files(place)
    digests = {name: digest(file, LibraryError) for name, file in files.items()}
    return Source(path if commit else str(place), commit, loader, digests), place, _size(files)


def base_files(place: Path) -> dict[str, Path]:
    """The files that decide what a base computes. Raises LibraryError where none holds numbers."""
    if place.is_file():
        return {place.name: place}
    files = {path.name: path for pattern in PATTERNS for path in sorted(place.glob(pattern))}
    if not any(name.endswith(".safetensors") for name in files):
        raise LibraryError(
            f"{place} holds no .safetensors file, so nobody could say whether the base is still the same"
        )
    return files


def _size(files: dict[str, Path]) -> int:
    return sum(file.stat().st_size for file in files.values())


def seal_of(source: Source) -> str:
    """One SHA-256 over those of a base's files."""
    return seal(source.files)


def check_source(source: Source, place: Path, digests: Digests | None = None) -> None:
    """Whether a base is the one that a library stands on.

    Args:
        digests: what is remembered of its files; None: all of them are read.

    Raises:
        LibraryError: a file is missing, new or changed.
    """
    files = base_files(place)
    for name in sorted(files.keys() ^ source.files.keys()):
        what = "has no" if name in source.files else "has a further"
        raise LibraryError(f"{place} {what} file {terminal(name)}: it is not the base that the skills stand on")
    digests = digests or Digests(None)
    for name, sha256 in source.files.items():
        if digests.of(files[name]) != sha256:
            raise LibraryError(
                f"{files[name]} is not what it was when skills were attached (its digest differs): a skill acts only "
                "beside the base that it was learned on"
            )


def check_loader(loader: str | Load) -> None:
    """Raises SettingError or LibraryError where there is no such loader."""
    if not callable(loader):
        _loader(loader, recorded=False)


def loaded(place: Path, loader: str | Load, recorded: bool = False) -> nn.Module:
    """The policy of a base, ready to act.

    Args:
        loader: a function, "module:name", or the name of an entry point.
        recorded: the name stands in a file: then it must be an entry point's.

    Raises:
        LibraryError: nobody can load it, or the loader fails or returns no policy.
    """
    load = loader if callable(loader) else _loader(loader, recorded)
    try:
        policy = load(place)
    except SkilltokensError:
        raise
    except Exception as problem:  # a loader is anybody's code
        reason = f"{type(problem).__name__}: {problem}".split("\n", 1)[0][:300]
        raise LibraryError(f"the base {place} could not be loaded ({reason}): check the loader") from problem
    if not isinstance(policy, nn.Module):
        raise LibraryError(f"the loader of {place} returned a {type(policy).__name__} and no torch module: check it")
    return policy.eval()


def _loader(name: str, recorded: bool) -> Load:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in known:
        return known[name].load()
    if recorded or not name:
        raise LibraryError(
            "who makes a policy of the base is not known here: say it (--loader MODULE:FUNCTION, loader= or policy=)"
        )
    if ":" not in name:
        raise SettingError(f"there is no loader {name!r}: {nearest(name, [*known, 'MODULE:FUNCTION'])}")
    try:
        return object_at(name)
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}".split("\n", 1)[0][:300]
        raise SettingError(f"the loader {name!r} could not be imported ({reason}): it is MODULE:FUNCTION") from problem
