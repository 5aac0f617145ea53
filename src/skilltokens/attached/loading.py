"""Bases of another make: where their files are, what seals them, and who makes a policy of them.

A library refers to its base and never copies it: by a path or the Hub's OWNER/NAME with a commit, and by the SHA-256 of
every file that decides its numbers. What a library's file says is not trusted with code: a loader is named by its
user (`--loader module:name`), or is one that an installed package registers as an entry point of `skilltokens.bases`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

from torch import Tensor, nn

from skilltokens.attached.acting import Prepare
from skilltokens.attached.digests import Digests
from skilltokens.attached.statistics import Spread
from skilltokens.escaping import terminal
from skilltokens.exchange.access import hub_api, sentence
from skilltokens.exchange.repository import Repository
from skilltokens.files import digest, seal
from skilltokens.plugins import entry_points, object_at
from skilltokens.skills.head import Source
from skilltokens.types import Feature, HubError, LibraryError, SettingError, SkilltokensError, nearest

GROUP = "skilltokens.bases"
"""Entry points: name -> a function of a folder or file that returns the policy that lies there, ready to act, alone or
as a `Base`. It may have `knows(place) -> bool`: then a user need not name it for what it knows."""
PATTERNS = ("*.safetensors", "config.json", "policy_*processor.json")
"""The files of a base's folder that decide what it computes."""
PLUGIN = "./plugins/lerobot_policy_skilltokens"
"""Where a clone has the package whose entry point knows LeRobot's checkpoints: it is not on PyPI."""
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
CHECKPOINTS = ("pretrained_model", "checkpoints/last/pretrained_model")
"""Where below its output folder lerobot-train leaves a policy."""


@dataclass(frozen=True)
class Base:
    """A policy of another make, and what its loader knows of it."""

    policy: nn.Module
    prepare: Prepare | None = None
    """What is done to every batch before the policy sees it."""
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    """Centers and units by which the base itself is given what it sees, and what it does is scaled back."""
    spreads: Mapping[str, Spread] | None = None
    """How a skill's own are measured; None: by mean and deviation, of every vector."""
    features: Mapping[str, Feature] = field(default_factory=dict)
    """What it observes, and the action, as a store has them; empty: nobody knows."""
    some: bool = False
    """Of its pictures, one is enough."""


Load = Callable[[Path], nn.Module | Base]
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
        return _inner(place), ""
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

    endpoint = hub_api(None, HubError).endpoint
    try:
        folder = snapshot_download(path, revision=repository.commit, allow_patterns=list(PATTERNS), endpoint=endpoint)
    except Exception as problem:  # what huggingface_hub raises moves between its versions
        raise HubError(sentence(problem, path, repository.revision, endpoint, "model")) from problem
    return Path(folder), repository.commit or ""


def _inner(place: Path) -> Path:
    """The folder itself, or the policy in it where lerobot-train wrote it; a link to the last one is followed."""
    if place.is_dir() and not any(place.glob("*.safetensors")):
        for part in CHECKPOINTS:
            if (place / part).is_dir():
                return (place / part).resolve()
    return place


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


def source_of(path: str, revision: str = "") -> tuple[Source, Path, int]:
    """What a library keeps of a base, where that is here, and its bytes. Reads all of its files. Nobody loads it yet.

    Raises:
        LibraryError: it is not there, or has no file of numbers.
    """
    place, commit = located(path, revision)
    files = base_files(place)
    digests = {name: digest(file, LibraryError) for name, file in files.items()}
    return Source(path if commit else str(place), commit, "", digests), place, _size(files)


def base_files(place: Path) -> dict[str, Path]:
    """The files that decide what a base computes. Raises LibraryError where none holds numbers."""
    if place.is_file():
        return {place.name: place}
    files = {path.name: path for pattern in PATTERNS for path in sorted(place.glob(pattern))}
    if not any(name.endswith(".safetensors") for name in files):
        pickled = next((path.name for pattern in PICKLED for path in sorted(place.glob(pattern))), None)
        if pickled is not None:
            raise LibraryError(
                f"{place} holds {terminal(pickled)}, which is pickled and never opened, since that may run anything: "
                "save its numbers as .safetensors where you trust it"
            )
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


def loader_of(place: Path, loader: str | Load, recorded: bool = False) -> tuple[str, Load]:
    """Who makes a policy of a base: the name by which a library may keep it (an entry point's, else empty), and itself.

    Args:
        loader: a function, "module:name", or the name of an entry point; empty: the entry point that knows the place.
        recorded: the name stands in a file: then it must be an entry point's.

    Raises:
        LibraryError: nobody is known, or several are.
        SettingError: there is no such loader, or it cannot be imported.
    """
    if callable(loader):
        return "", loader
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if loader in known:
        return loader, _imported(known[loader])
    if not loader and not recorded:
        knowing = {name: load for name, entry in known.items() if _knows(load := _imported(entry), place)}
        if len(knowing) == 1:
            return next(iter(knowing.items()))
        if knowing:
            raise LibraryError(f"{place} is known to {' and '.join(sorted(knowing))}: choose one (--loader)")
    if recorded and loader:
        raise LibraryError(
            f"the base's loader {terminal(loader)!r} is not installed here{_package(loader)}, or say who makes a "
            "policy of it (--loader MODULE:FUNCTION, loader= or policy=)"
        )
    if not loader:
        raise LibraryError(
            "who makes a policy of the base is not known here: say it (--loader MODULE:FUNCTION, loader= or policy=); "
            f"checkpoints of LeRobot are known with the plug-in, `pip install {PLUGIN}` in a clone of skilltokens"
        )
    if ":" not in loader:
        raise SettingError(f"there is no loader {loader!r}: {nearest(loader, [*known, 'MODULE:FUNCTION'])}")
    try:
        return "", object_at(loader)
    except Exception as problem:
        raise SettingError(
            f"the loader {loader!r} could not be imported ({_reason(problem)}): it is MODULE:FUNCTION"
        ) from problem


def loaded(place: Path, load: Load) -> Base:
    """The policy of a base, ready to act.

    Raises:
        LibraryError: the loader fails or returns no policy.
    """
    try:
        base = load(place)
    except SkilltokensError:
        raise
    except Exception as problem:  # a loader is anybody's code
        raise LibraryError(f"the base {place} could not be loaded ({_reason(problem)}): check the loader") from problem
    base = base if isinstance(base, Base) else Base(base)
    if not isinstance(base.policy, nn.Module):
        raise LibraryError(
            f"the loader of {place} returned a {type(base.policy).__name__} and no torch module: check it"
        )
    base.policy.eval()
    return base


def _imported(entry: EntryPoint) -> Load:
    try:
        return entry.load()
    except Exception as problem:
        raise SettingError(
            f"the loader {entry.name!r} ({entry.value}) could not be imported ({_reason(problem)}): reinstall it"
        ) from problem


def _package(loader: str) -> str:
    return f": `pip install {PLUGIN}` in a clone of skilltokens" if loader == "lerobot" else ": install its package"


def _knows(load: Load, place: Path) -> bool:
    knows = getattr(load, "knows", None)
    return callable(knows) and bool(knows(place))


def _reason(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}".split("\n", 1)[0][:300]
