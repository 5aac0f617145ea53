"""What a library's list says, of this version's and of older libraries. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.files import read_json
from skilltokens.skills.disk import Disk
from skilltokens.skills.head import ATTACHED_SCHEMA, HEAD, LIBRARY_SCHEMA, OLD_SCHEMA
from skilltokens.types import LibraryError


@dataclass(frozen=True)
class Outline:
    """A library without its numbers."""

    encoder: str
    settings: Mapping[str, Any]
    """Of its policy, as JSON has them."""
    wordings: Mapping[str, tuple[str, ...]]
    """Of each skill, by its name, in the order learned."""
    versions: tuple[str, ...]
    """The names of the skills, with the version where there were others before."""
    suites: frozenset[str]
    """The suites that the skills were learned on, as far as that is known."""
    older: tuple[str, ...] = ()
    """Older versions, as NAME@VERSION."""
    retired: frozenset[str] = frozenset()
    """Skills that no instruction calls."""


def outline(folder: Path) -> Outline:
    """The outline of the library in a folder.

    Raises:
        LibraryError: there is none, or it is damaged.
    """
    folder = Path(folder)
    content = read_json(folder / HEAD, (LIBRARY_SCHEMA, ATTACHED_SCHEMA, OLD_SCHEMA), LibraryError)
    if content["schema"] != OLD_SCHEMA:
        disk = Disk.open(folder)
        skills = {name: record.wordings for name, record in disk.state.skills.items()}
        notes = [record.about() for record in disk.state.skills.values()]
        labels = tuple(record.label for record in disk.state.skills.values())
        older = tuple(f"{record.name}@{record.version}" for record in disk.state.older)
        retired = frozenset(record.name for record in disk.state.skills.values() if record.retired)
        settings = disk.head.policy["settings"]
        return Outline(disk.head.encoder, settings, skills, labels, _suites(notes), older, retired)
    try:
        skills = {str(entry["name"]): tuple(map(str, entry["wordings"])) for entry in content["skills"]}
        suites = _suites([entry["notes"] for entry in content["skills"]])
        return Outline(str(content["encoder"]), dict(content["policy"]["settings"]), skills, tuple(skills), suites)
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise LibraryError(
            f"{folder / HEAD} is damaged or altered ({problem!r:.200}): restore it from a copy"
        ) from problem


def _suites(notes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(str(about["suite"]) for about in notes if about.get("suite"))
