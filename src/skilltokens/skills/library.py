"""SkillLibrary: a folder of skills on one frozen base, opened, called by instructions, and grown.

What is in the folder, and how it stays whole whatever happens, says `disk`; how it is read, `listed` and `view`; how it
is changed, `managing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from skilltokens.locking import locked
from skilltokens.model.policy import Policy
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.adding import added, described, packed
from skilltokens.skills.disk import MAKING, Disk, new_disk
from skilltokens.skills.managing import WAIT, ManagedList, check_name
from skilltokens.skills.records import Change
from skilltokens.skills.skill import Skill
from skilltokens.types import Array, Feature, LibraryError, Report, silent


class SkillLibrary(ManagedList, ActingLibrary):
    """A library. `open` reads one, `create` makes one; every change is one commit, seen whole or not at all."""

    @classmethod
    def create(
        cls,
        folder: Path | str,
        base: Policy,
        skills: Skill | Sequence[tuple[Skill, Mapping[str, Any]]],
        features: Mapping[str, Feature],
        encoder: str,
        notes: Mapping[str, Any] | None = None,
        kept: Sequence[Skill] = (),
        at: str | None = None,
    ) -> Self:
        """A new library whose base is its first skill.

        Args:
            skills: the first skill, or several with their notes in the order learned; of one name, the last is called.
            features: what every demonstration must have.
            encoder: the sentence encoder's name.
            notes: of the first skill, where that is the only one.
            kept: further skills that these build on, which nobody calls.
            at: when it is made, as its history says; None: now.

        Raises:
            LibraryError: the folder holds a library already, or something else, or cannot be written.
        """
        pairs = [(skills, dict(notes or {}))] if isinstance(skills, Skill) else [(s, dict(n)) for s, n in skills]
        folder = Path(folder)
        with locked(folder, LibraryError, wait=WAIT):
            disk = new_disk(folder, encoder, *described(base, features), *packed(base))
            library = cls(disk)
            library.use_base(base)
            library.commit(disk, *added(library, disk, pairs, kept, at=at))
            (folder / MAKING).unlink(missing_ok=True)
        return cls(library._disk)  # its base is read from the disk: frozen, and nobody else's

    def use_base(self, base: Policy) -> None:
        """Gives a library that is being made its base before that is read from the disk."""
        self._base = base

    def add(
        self, skill: Skill, notes: Mapping[str, Any] | None = None, *, again: bool = False, report: Report = silent
    ) -> None:
        """Adds a skill; all others stay as they are, those that other processes added meanwhile too.

        Args:
            notes: what else is known of it.
            again: it may be a new version of a skill that there is; the newest version is called.
            report: told who writes, while this waits for another writer.

        Raises:
            LibraryError: the name is taken or no file name, the skill does not fit the base, or it cannot be written.
        """
        check_name(skill.name)

        def changes(disk: Disk) -> tuple[list[Change], Array | None]:
            if skill.name in disk.state.skills and not again:
                raise LibraryError(f"{self.folder} has a skill {skill.name!r} already: choose another name")
            return added(self, disk, [(skill, dict(notes or {}))])

        self.change(changes, report)
