"""Changes of a library: each is one commit of its log, seen whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skilltokens.language import check_readable, normal
from skilltokens.locking import locked
from skilltokens.skills.adding import now, sealed_rows
from skilltokens.skills.card import Facts, papers
from skilltokens.skills.disk import SKILLS, Disk
from skilltokens.skills.listed import LibraryList
from skilltokens.skills.records import NAME, Change, Drop, Note, Prune, Record, Remove, Rename, Retire, Reword, Undo
from skilltokens.skills.state import Event, done_already, fold, history, last_standing, undoable
from skilltokens.types import NOTE, Array, LibraryError, Progress, Report, silent

WAIT = 60.0
"""Seconds that a writer waits for another one: each needs milliseconds."""


class ManagedList(LibraryList):
    """A library that can be changed, whatever its skills stand on."""

    def change(self, changes: Callable[[Disk], tuple[list[Change], Array | None]], report: Report = silent) -> None:
        """One commit: what is to be changed is asked with the lock held, of the library as it is then.

        What changes nothing is not written, and neither is what the last change did already: so whatever is killed
        behind its commit can be asked for again.
        """
        with locked(self.folder, LibraryError, wait=WAIT, report=report):
            disk = self._disk.refreshed()
            self._become(disk)
            disk.tidy()
            asked, vectors = changes(disk)
            if asked and not done_already(disk.changes, asked) and disk.altered_by(asked):
                self.commit(disk, asked, vectors)

    def tidy(self) -> None:
        """Removes what killed writers left, as every change does too."""
        self.change(lambda disk: ([], None))

    def commit(self, disk: Disk, changes: list[Change], vectors: Array | None) -> None:
        """Commits changes to the folder as `disk` knows it; the caller holds the lock."""
        if changes:
            name = self.folder.resolve().name
            self._become(disk.append(changes, vectors, lambda head, state: papers(head, state, Facts(name))))

    # ---------------------------------------------------------------- managing

    def rename(self, name: str, to: str) -> None:
        """Gives a skill another name; its file, its identity and its actions stay.

        Raises:
            LibraryError: there is no such skill, or the other name is taken or no file name.
        """
        check_name(to)
        self.change(lambda disk: ([Rename(at=now(), name=name, to=to)], None))

    def reword(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = (), report: Report = silent) -> None:
        """Adds and removes wordings. Its actions stay: its policy keeps the vector that it learned with.

        Args:
            report: called when the sentence encoder is loaded, and told of words that it does not know.

        Raises:
            LibraryError: there is no such skill or wording, none would be left, or another skill has the wording.
            LanguageError: a wording is empty, too long, or cannot be told from another skill's by the encoder.
        """
        encoder = self.language(report)

        def changes(disk: Disk) -> tuple[list[Change], Array | None]:
            if reworded_already(disk.changes, name, add, remove):
                return [], None
            record = disk.state.newest(name)
            words = reworded(record, add, remove)
            if words == record.wordings:
                return [], None
            self._check_words(name, [text for text in words if text not in record.wordings], report)
            vectors = encoder(words)
            place = sealed_rows(vectors, disk.head.wordings)
            return [Reword(at=now(), name=name, wordings=words, vectors=place)], vectors

        self.change(changes, report)

    def _check_words(self, name: str, words: Sequence[str], report: Report) -> None:
        """Raises where another skill is called by these words, or the encoder cannot tell them from another's."""
        others = {r.name: r for r in self.records if r.name != name and not r.retired}
        for other in others.values():
            for text in words:
                if normal(text) in map(normal, other.wordings):
                    raise LibraryError(f"{text!r} calls skill {other.name!r}: take it from that skill first")
        vectors = self.vectors_of(list(others))
        wordings = {other.name: other.wordings for other in others.values()}
        for sentence in check_readable(self.language(), words, wordings, vectors):
            report(Progress(NOTE, 0, 1, sentence))

    def retire(self, name: str) -> None:
        """No instruction calls the skill any more; it stays, and `restore` brings it back."""
        self.change(lambda disk: ([Retire(at=now(), name=name)], None))

    def restore(self, name: str) -> None:
        """A retired skill is called again."""
        self.change(lambda disk: ([Retire(at=now(), name=name, retired=False)], None))

    def remove(self, name: str) -> list[Record]:
        """Removes a skill and its older versions; returns the skills that need its content, which is kept for them.

        The files stay until `prune`, so that `undo` can bring it back.
        """
        self.change(lambda disk: ([Remove(at=now(), name=name)], None))
        before = fold(self._disk.changes[: last_standing(self._disk.changes).number - 1])
        gone = {record.identity for record in (*before.skills.values(), *before.older) if record.name == name}
        kept = [record for record in self.state.kept if record.identity in gone]
        needing = [other for record in kept for other in self.state.dependants(record)]
        return list({other.identity: other for other in needing}.values())

    def drop(self, name: str, version: int) -> None:
        """Removes an older version of a skill."""
        self.change(lambda disk: ([Drop(at=now(), name=name, version=version)], None))

    def note(self, name: str, notes: Mapping[str, Any]) -> None:
        """Writes down more of what is known of a skill."""
        self.change(lambda disk: ([Note(at=now(), name=name, notes=json.loads(json.dumps(dict(notes))))], None))

    def undo(self, number: int | None = None) -> Event:
        """Undoes the last change that was not undone yet, and returns it.

        Args:
            number: of that change, as `history` has it: said twice, it is undone once.

        Raises:
            LibraryError: only the making of the library is left, what was before was pruned, or `number` is not that
                of the last change.
        """
        undone: list[Event] = []

        def changes(disk: Disk) -> tuple[list[Change], Array | None]:
            events = history(disk.changes)
            if number is not None and 0 < number <= len(events) and events[number - 1].undone:
                undone.append(events[number - 1])
                return [], None
            last = undoable(disk.changes)
            if number not in (None, last):
                raise LibraryError(f"change {number} is not the last one that stands: undo {last} first")
            undone.append(events[last - 1])
            return [Undo(at=now(), number=last)], None

        self.change(changes)
        return undone[0]

    def prune(self) -> list[str]:
        """Removes the files that nothing needs any more: of removed skills, dropped versions, undone changes.

        Earlier changes can then no more be undone. Returns the names of the files.
        """
        gone: list[str] = []

        def changes(disk: Disk) -> tuple[list[Change], Array | None]:
            needed = {record.file for record in disk.state.everything()}
            files = (path for path in (disk.folder / SKILLS).iterdir() if path.is_symlink() or path.is_file())
            gone.extend(sorted(path.name for path in files if path.name not in needed))
            return ([Prune(at=now(), files=tuple(gone))] if gone else []), None

        self.change(changes)
        for file in gone:
            (self.folder / SKILLS / file).unlink(missing_ok=True)
        return gone


def reworded(record: Record, add: Sequence[str], remove: Sequence[str]) -> tuple[str, ...]:
    """The wordings of a skill after some are added and removed.

    Raises:
        LibraryError: it has not one that is to be removed, or none would be left.
    """
    for text in remove:
        if text not in record.wordings:
            raise LibraryError(
                f"skill {record.name!r} has no wording {text!r}: it has {', '.join(map(repr, record.wordings))}"
            )
    words = tuple(text for text in dict.fromkeys([*record.wordings, *add]) if text not in remove)
    if not words:
        raise LibraryError(f"skill {record.name!r} would have no wording left: add one, or retire it")
    return words


def reworded_already(changes: Sequence[Change], name: str, add: Sequence[str], remove: Sequence[str]) -> bool:
    """Whether the last change that stands did just this: removing a wording twice would be an error."""
    last = last_standing(changes)
    if not isinstance(last.change, Reword) or last.change.name != name:
        return False
    before = fold(changes[: last.number - 1]).skills[name]
    return set(remove) <= set(before.wordings) and last.change.wordings == reworded(before, add, remove)


def check_name(name: str, library: LibraryList | None = None) -> None:
    """Raises LibraryError unless a new skill may have this name: a file name, and not taken in `library`."""
    if not NAME.fullmatch(name):
        raise LibraryError(f"skill name {name!r:.120} is no file name: use letters, digits, '-', '_' and '.'")
    if library is not None and name in library.state.skills:
        raise LibraryError(f"{library.folder} has a skill {name!r} already: choose another name")
