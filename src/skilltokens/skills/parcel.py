"""Skills on their way from one library to another: one skill in a file, or all of a library.

A skill acts only with the base that it was learned on, so both libraries need the same one. What a skill builds on goes
with it. Every seal is checked on the way in, and what is written is made of what was checked.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from skilltokens.files import read_bytes, write_bytes
from skilltokens.skills.adding import added, sealed_rows
from skilltokens.skills.disk import Disk
from skilltokens.skills.listed import PROBLEMS, LibraryList
from skilltokens.skills.managing import ManagedList, check_name
from skilltokens.skills.records import Change, Record
from skilltokens.skills.skill import Skill
from skilltokens.skills.skillfile import pack_skill, unpack_skill
from skilltokens.tensors import pack, unpack
from skilltokens.types import Array, LibraryError, SkilltokensError

SCHEMA = "skilltokens.export/1"
SUFFIX = ".skill"
"""What the file of an exported skill ends with."""


class _About(Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata of an exported skill; its tensors are `file.N`, the bytes of a skill's file, and `vectors.N`."""

    schema: Literal["skilltokens.export/1"]
    base: str
    encoder: str
    records: tuple[Record, ...]
    """Those that the skill builds on, then the skill."""


def export_skill(library: LibraryList, name: str, path: Path | str) -> Path:
    """Writes one skill, and what it builds on, into a file for `import_skill`. Returns the file's path.

    Args:
        name: the skill, or NAME@VERSION.
        path: the file; of a folder, NAME.skill in it.

    Raises:
        LibraryError: there is no such skill, it is damaged, or the file cannot be written or is something else.
    """
    record = library.state.record(name)
    path = Path(path) / f"{record.name}{SUFFIX}" if Path(path).is_dir() else Path(path)
    if path.exists() and not _is_parcel(path):
        raise LibraryError(f"{path} is there already and is no exported skill: name another file")
    write_bytes(path, _parcel(library, [*_needed(library, record), record]), LibraryError)
    return path


def _is_parcel(path: Path) -> bool:
    try:
        return unpack(read_bytes(path), path)[1].get("schema") == SCHEMA
    except SkilltokensError:
        return False


def _parcel(
    library: LibraryList, records: Sequence[Record], new: Mapping[int, tuple[bytes, Array]] | None = None
) -> bytes:
    """The bytes of an exported file.

    Args:
        records: what goes into it; all but those in `new` are the library's.
        new: the place of a record -> the bytes of its file and the vectors of its wordings.
    """
    tensors: dict[str, Tensor] = {}
    for number, record in enumerate(records):
        if new is not None and number in new:
            data, vectors = new[number]
        else:
            skill = library.skill_of(record)
            assert skill.content is not None  # read and checked: nothing damaged goes out
            data, vectors = library.file_of(record), skill.embeddings
        tensors[f"file.{number}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        tensors[f"vectors.{number}"] = torch.from_numpy(np.array(vectors))
    about = _About(SCHEMA, library.identity, library.encoder, tuple(records))
    return pack(tensors, json.loads(msgspec.json.encode(about)))


def keep_apart(library: LibraryList, skill: Skill, notes: Mapping[str, Any], problem: SkilltokensError) -> LibraryError:
    """Keeps a skill whose library cannot take it in a file beside that library, and returns what to raise then."""
    content = skill.content
    data = pack_skill(content, library.identity)
    rows = np.array(skill.embeddings, np.float32)
    record = Record(
        name=skill.name,
        identity=content.identity,
        file=f"{skill.name}{SUFFIX}",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        wordings=skill.wordings,
        vectors=sealed_rows(rows, 0),
        key=0,
        parameters=content.parameters,
        form=content.form,
        needs=content.needs,
        notes=msgspec.Raw(msgspec.json.encode(dict(notes))),
    )
    needed = _needed(library, record)
    path = library.folder.parent / f"{skill.name}{SUFFIX}"
    write_bytes(path, _parcel(library, [*needed, record], {len(needed): (data, rows)}), LibraryError)
    return LibraryError(
        f"{problem}; the skill is learned and kept in {path}: add it with `skilltokens skills "
        f"{shlex.quote(str(library.folder))} import {shlex.quote(str(path))}`"
    )


def import_skill(library: ManagedList, path: Path | str, *, name: str = "", again: bool = False) -> Record:
    """Adds the skill of an exported file to a library of the same base; one that is there already stays as it is.

    Args:
        name: another name for it.
        again: it may become a new version of a skill of that name.

    Returns:
        What the library's list says of it.

    Raises:
        LibraryError: the file is damaged, of another base or another sentence encoder, or the name is taken.
    """
    path = Path(path)
    tensors, plain = unpack(read_bytes(path, LibraryError), path, LibraryError)
    try:
        about = msgspec.json.decode(json.dumps(plain), type=_About)
        if not about.records:
            raise ValueError("it holds no skill")
        _check_fits(library, about.base, about.encoder, str(path))
        skills = [_unpacked(record, tensors, number, path, about.base) for number, record in enumerate(about.records)]
        if len(tensors) > 2 * len(skills):
            raise ValueError("it holds more than its list says")
    except (msgspec.MsgspecError, *PROBLEMS) as problem:
        if isinstance(problem, LibraryError):
            raise
        raise LibraryError(f"{path} is no exported skill ({str(problem)[:200]}): export it again") from problem
    *kept, skill = skills
    skill = skill.named(name or skill.name)
    check_name(skill.name)
    notes = about.records[-1].about()
    take(library, [(skill, notes)], kept, again, f"import {path.name}")
    return library.state.newest(skill.name)


def merge(library: ManagedList, other: LibraryList, *, again: bool = False) -> list[str]:
    """Adds all skills of another library of the same base that are not there yet, in one commit; returns their names.

    What is here as an older version was taught again here: it stays an older version.

    Raises:
        LibraryError: the other is damaged, of another base or encoder, or has skills of the same names with another
            content, and `again` does not say that they become the newest versions.
    """
    _check_fits(library, other.identity, other.encoder, str(other.folder))
    present = {record.identity for record in (*library.records, *library.state.older)}
    new = [record for record in other.records if record.identity not in present]
    known = {record.identity for record in new}
    kept = {
        needed.identity: other.skill_of(needed)
        for record in new
        for needed in _needed(other, record)
        if needed.identity not in known
    }
    pairs = [(other.skill_of(record), record.about()) for record in new]
    retired = frozenset(record.name for record in new if record.retired)
    take(library, pairs, list(kept.values()), again, f"merge {other.folder.resolve().name}", retired)
    return [record.name for record in new]


def take(
    library: ManagedList,
    pairs: Sequence[tuple[Skill, dict[str, Any]]],
    kept: Sequence[Skill],
    again: bool,
    origin: str,
    retired: frozenset[str] = frozenset(),
) -> None:
    """Adds skills that were checked, in one commit; those that are there already are passed over.

    Args:
        retired: the names of those that no instruction calls.
    """

    def changes(disk: Disk) -> tuple[list[Change], Array | None]:
        state = disk.state
        there = {record.identity for record in state.everything()}
        new = [(s, n) for s, n in pairs if s.name not in state.skills or state.skills[s.name].identity != s.identity]
        taken = [skill.name for skill, _ in new if skill.name in state.skills]
        if taken and not again:
            raise LibraryError(
                f"{library.folder} has other skills called {', '.join(taken[:10])}: give another name, or say that "
                "they become new versions (--again)"
            )
        if not new:
            return [], None
        kept_new = [skill for skill in kept if skill.identity not in there]
        return added(library, disk, new, kept_new, origin, retired)

    library.change(changes)


@dataclass(frozen=True)
class Difference:
    """How two libraries differ in one thing."""

    name: str
    """The skill; empty: the library."""
    what: str


def diff(one: LibraryList, other: LibraryList) -> list[Difference]:
    """What another library has, lacks, or has otherwise; empty where both act alike and are called alike."""
    lines: list[Difference] = []
    for what, a, b in (("base", one.identity[:12], other.identity[:12]), ("encoder", one.encoder, other.encoder)):
        if a != b:
            lines.append(Difference("", f"{what} {a} and {b}"))
    mine, others = one.state.skills, other.state.skills
    lines += [Difference(name, "only in the first") for name in mine if name not in others]
    lines += [Difference(name, "only in the second") for name in others if name not in mine]
    for name in (name for name in mine if name in others):
        a, b = mine[name], others[name]
        if a.identity != b.identity:
            lines.append(Difference(name, "acts otherwise"))
        for text in sorted(set(a.wordings) ^ set(b.wordings)):
            lines.append(
                Difference(name, f"{text!r} calls it only in the {'first' if text in a.wordings else 'second'}")
            )
        if a.retired != b.retired:
            lines.append(Difference(name, f"retired only in the {'first' if a.retired else 'second'}"))
    return lines


def _needed(library: LibraryList, record: Record) -> list[Record]:
    """The records that one builds on, each after those that it builds on itself."""
    known = {other.identity: other for other in library.state.everything()}
    order: dict[str, Record] = {}
    waiting = [(record, False)]
    while waiting:
        current, ready = waiting.pop()
        if ready:
            order[current.identity] = current
        elif current.identity not in order:
            waiting.append((current, True))
            waiting += [(known[name], False) for name in current.needs if name in known]
    order.pop(record.identity)
    return list(order.values())


def _check_fits(library: LibraryList, base: str, encoder: str, what: str) -> None:
    if base != library.identity:
        raise LibraryError(
            f"{what} stands on another base than {library.folder}: skills act only with the base that they were "
            "learned on"
        )
    if encoder != library.encoder:
        raise LibraryError(
            f"{what} was taught with the sentence encoder {encoder!r:.100}, and {library.folder} with "
            f"{library.encoder!r:.100}: their instructions cannot be compared"
        )


def _unpacked(record: Record, tensors: dict[str, Tensor], number: int, path: Path, base: str) -> Skill:
    """A skill of an exported file, checked against its seals."""
    data = tensors[f"file.{number}"].numpy().tobytes()
    vectors: Array = tensors[f"vectors.{number}"].numpy()
    if hashlib.sha256(data).hexdigest() != record.sha256 or len(data) != record.bytes:
        raise ValueError(f"the file of {record.name!r} is not what was exported")
    if sealed_rows(vectors, record.vectors.first) != record.vectors:
        raise ValueError(f"the vectors of {record.name!r} are not what was exported")
    if not np.allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-3):
        raise ValueError(f"the vectors of {record.name!r} are no unit vectors")
    content = unpack_skill(data, path, base)
    if content.identity != record.identity:
        raise ValueError(f"{record.name!r} is another skill than its record says")
    return Skill(record.name, record.wordings, vectors, form=content.form, key=content.key, content=content)
