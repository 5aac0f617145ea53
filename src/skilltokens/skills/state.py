"""The skills of a library at one time: what its log of changes leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from skilltokens.skills.records import (
    FILE,
    NAME,
    Add,
    Change,
    Drop,
    Note,
    Prune,
    Record,
    Remove,
    Rename,
    Retire,
    Reword,
    Undo,
)
from skilltokens.types import LibraryError, nearest


@dataclass
class State:
    """The skills of a library at one time."""

    skills: dict[str, Record] = field(default_factory=dict)
    """The newest version of each, by name, in the order learned; retired ones too."""
    older: list[Record] = field(default_factory=list)
    """Earlier versions."""
    kept: list[Record] = field(default_factory=list)
    """Removed skills, that others need."""
    identities: set[str] = field(default_factory=set)
    """Of all of these."""

    def copy(self) -> State:
        """A state that may be changed by itself."""
        return State(dict(self.skills), list(self.older), list(self.kept), set(self.identities))

    def everything(self) -> list[Record]:
        """All records, those that nobody calls too."""
        return [*self.skills.values(), *self.older, *self.kept]

    def record(self, name: str) -> Record:
        """The newest version of a skill, or with NAME@VERSION any of them.

        Raises:
            LibraryError: there is none.
        """
        base, _, version = name.partition("@")
        newest = self.skills.get(base)
        for record in [*([] if newest is None else [newest]), *self.older]:
            if record.name == base and version in ("", str(record.version)):
                return record
        raise LibraryError(f"there is no skill {name!r}: {nearest(name, list(self.skills))}")

    def dependants(self, record: Record) -> list[Record]:
        """The other skills that cannot act without this one; none where another record holds the same content."""
        others = [other for other in self.everything() if other is not record]
        if any(other.identity == record.identity for other in others):
            return []
        return [other for other in others if record.identity in other.needs]

    # ---------------------------------------------------------------- changes

    def apply(self, change: Change) -> None:
        """Makes a change.

        Raises:
            LibraryError: it is impossible.
        """
        match change:
            case Add():
                self._check(*change.kept, *change.skills)
                for record in change.kept:
                    self._keep(record)
                for record in change.skills:
                    self._add(record)
            case Rename():
                self._rename(change)
            case Reword():
                self._replace(self.newest(change.name), wordings=change.wordings, vectors=change.vectors)
            case Retire():
                self._replace(self.newest(change.name), retired=change.retired)
            case Note():
                record = self.newest(change.name)
                self._replace(record, notes=msgspec.Raw(msgspec.json.encode({**record.about(), **change.notes})))
            case Remove():
                self._remove(change.name)
            case Drop():
                self._drop(change)
            case Undo() | Prune():
                pass

    def newest(self, name: str) -> Record:
        """The newest version of a skill. Raises LibraryError where there is no such skill."""
        if name not in self.skills:
            raise LibraryError(f"there is no skill {name!r}: {nearest(name, list(self.skills))}")
        return self.skills[name]

    def _add(self, record: Record) -> None:
        old = self.skills.get(record.name)
        if record.version != (1 if old is None else old.version + 1):
            raise LibraryError(f"skill {record.name!r} has a version {record.version} out of turn")
        if old is not None:
            self.older.append(self.skills.pop(record.name))  # the newest stands last, in the order learned
        self.skills[record.name] = record
        if record.identity in self.identities:  # it need not be kept beside
            self.kept = [kept for kept in self.kept if kept.identity != record.identity]
        self.identities.add(record.identity)

    def _keep(self, record: Record) -> None:
        if record.identity not in self.identities:
            self.kept.append(record)
            self.identities.add(record.identity)

    def _check(self, *new: Record) -> None:
        """Raises LibraryError where names are not what they may be, or one needs a skill that is not there, nor new."""
        added = {record.identity for record in new}
        for record in new:
            if not NAME.fullmatch(record.name) or not FILE.fullmatch(record.file):
                raise LibraryError(
                    f"a skill has a name or file that is none: {record.name!r:.100}, {record.file!r:.100}"
                )
            if not all(name in added or name in self.identities for name in record.needs):
                raise LibraryError(f"skill {record.name!r} needs a skill that is not there")

    def _rename(self, change: Rename) -> None:
        record = self.newest(change.name)
        if not NAME.fullmatch(change.to):
            raise LibraryError(f"skill name {change.to!r:.120} is no file name: use letters, digits, '-', '_' and '.'")
        if change.to in self.skills:
            raise LibraryError(f"there is a skill {change.to!r} already: choose another name")
        self.skills = {
            change.to if name == change.name else name: other for name, other in self.skills.items()
        }  # its place stays
        self.skills[change.to] = msgspec.structs.replace(record, name=change.to)
        self.older = [
            msgspec.structs.replace(old, name=change.to) if old.name == change.name else old for old in self.older
        ]

    def _replace(self, record: Record, **values: Any) -> None:
        self.skills[record.name] = msgspec.structs.replace(record, **values)

    def _remove(self, name: str) -> None:
        record = self.newest(name)
        if len(self.skills) == 1:
            raise LibraryError(f"{name!r} is the library's only skill: remove the library's folder instead")
        del self.skills[name]
        gone = [record, *(old for old in self.older if old.name == name)]
        self.older = [old for old in self.older if old.name != name]
        self._keep_needed(gone)

    def _drop(self, change: Drop) -> None:
        for old in self.older:
            if (old.name, old.version) == (change.name, change.version):
                self.older.remove(old)
                self._keep_needed([old])
                return
        versions = [f"{old.name}@{old.version}" for old in self.older]
        raise LibraryError(
            f"there is no older version {change.name}@{change.version}: "
            + (f"there are {', '.join(versions[:20])}" if versions else "no skill has one")
        )

    def _keep_needed(self, gone: Sequence[Record]) -> None:
        """Keeps the content of records that have gone, where others need it; lets those go that nobody needs now."""
        self.kept += gone
        called = [*self.skills.values(), *self.older]
        by_identity = dict[str, Record]()
        for record in self.kept:
            by_identity.setdefault(record.identity, record)
        needed, waiting = set[str](), [name for record in called for name in record.needs]
        while waiting:
            name = waiting.pop()
            if name in by_identity and name not in needed:
                needed.add(name)
                waiting += by_identity[name].needs
        needed -= {record.identity for record in called}
        self.kept = [record for name, record in by_identity.items() if name in needed]
        self.identities = {record.identity for record in self.everything()}


@dataclass(frozen=True)
class Event:
    """A change of the log, for people."""

    number: int
    """From 1."""
    change: Change
    undone: bool


def history(changes: Sequence[Change]) -> list[Event]:
    """All changes, with those marked that were undone."""
    undone = {change.number for change in changes if isinstance(change, Undo)}
    return [Event(number, change, number in undone) for number, change in enumerate(changes, 1)]


def done_already(changes: Sequence[Change], asked: Sequence[Change]) -> bool:
    """Whether what is asked for is just what the last change did that still stands, but for the time.

    A command that was killed behind its commit is given again, and would fail: the skill has its new name already.
    """
    if len(asked) != 1 or isinstance(asked[0], Add):  # skills are told by their content, where they are added
        return False
    last = last_standing(changes).change
    return msgspec.structs.replace(asked[0], at=last.at) == last


def last_standing(changes: Sequence[Change]) -> Event:
    """The last change that made the skills what they are; the log has one."""
    undone = set[int]()
    for number in range(len(changes), 0, -1):  # a log is long, and what is looked for stands near its end
        change = changes[number - 1]
        if isinstance(change, Undo):
            undone.add(change.number)
        elif number not in undone and not isinstance(change, Prune):
            return Event(number, change, False)
    raise LibraryError("the log has no change that stands")


def undoable(changes: Sequence[Change]) -> int:
    """The number of the last change that is not undone.

    Raises:
        LibraryError: there is none but the library's making, or its files were pruned.
    """
    return _last(_standing(changes)).number


def fold(changes: Sequence[Change]) -> State:
    """The state that a log leads to.

    Raises:
        LibraryError: a change is impossible.
    """
    state = State()
    for event in _standing(changes):
        state.apply(event.change)
    return state


def _standing(changes: Sequence[Change]) -> list[Event]:
    """The changes that are not undone, and are no undoing themselves. Raises LibraryError where one undoes another than
    the last."""
    standing: list[Event] = []
    for number, change in enumerate(changes, 1):
        if not isinstance(change, Undo):
            standing.append(Event(number, change, False))
        elif _last(standing).number == change.number:
            standing.pop()
        else:
            raise LibraryError(f"change {number} undoes a change that was not the last")
    return standing


def _last(standing: Sequence[Event]) -> Event:
    """The change that can be undone, of those that stand."""
    if len(standing) < 2:
        raise LibraryError("nothing is left to undo but the making of the library")
    if isinstance(standing[-1].change, Prune):
        raise LibraryError("what was before the last `prune` cannot be brought back: its files are gone")
    return standing[-1]


def files_of(changes: Sequence[Change]) -> dict[str, Record]:
    """The files that a library of such a log may have: those of removed skills too, which `undo` brings back.

    Returns:
        The name of a file -> a record of it.
    """
    files: dict[str, Record] = {}
    for change in changes:
        if isinstance(change, Add):
            new = (*change.kept, *change.skills)
            files |= {record.file: record for record in new if FILE.fullmatch(record.file)}  # also if it was undone
        elif isinstance(change, Prune):
            files = {name: record for name, record in files.items() if name not in change.files}
    return files


def labels_of(state: State) -> dict[int, str]:
    """By a record's id its name beside all others': older versions by their number, removed skills in brackets."""
    return {
        **{id(record): f"({record.name}, removed)" for record in state.kept},
        **{id(record): f"{record.name}@{record.version}" for record in state.older},
        **{id(record): record.name for record in state.skills.values()},
    }
