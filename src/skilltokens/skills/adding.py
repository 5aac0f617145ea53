"""How skills come into a library: checked, proved, written to their files, and described for its list."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from safetensors.torch import save

from skilltokens.configuration import plain_as_before
from skilltokens.model.policy import Policy
from skilltokens.skills.disk import Disk, file_of
from skilltokens.skills.head import Sealed
from skilltokens.skills.listed import PROBLEMS, LibraryList
from skilltokens.skills.records import Add, Change, Record, Vectors
from skilltokens.skills.skill import Skill
from skilltokens.skills.skillfile import pack_skill
from skilltokens.tensors import fingerprint, on_cpu
from skilltokens.types import Array, Feature, LibraryError


def added(
    library: LibraryList,
    disk: Disk,
    skills: Sequence[tuple[Skill, dict[str, Any]]],
    kept: Sequence[Skill] = (),
    origin: str = "",
    retired: frozenset[str] = frozenset(),
    at: str | None = None,
) -> tuple[list[Change], Array | None]:
    """Writes the files of skills, and returns the change that adds them and the vectors of their wordings."""
    records: list[Record] = []
    vectors: list[Array] = []
    versions = dict[str, int]()
    contents = {skill.identity: skill for skill in [*kept, *(skill for skill, _ in skills)]}

    def find(identity: str) -> Skill:
        return contents[identity] if identity in contents else library.find(identity)

    for skill, notes in [*((skill, {}) for skill in kept), *skills]:
        first = disk.head.wordings + sum(map(len, vectors))
        version = 1
        if len(records) >= len(kept):  # what is only kept is no version of what is called by the same name
            known = disk.state.skills.get(skill.name)
            version = versions[skill.name] = versions.get(skill.name, known.version if known else 0) + 1
        record, rows = _written(library, disk, skill, find, first, notes)
        records.append(msgspec.structs.replace(record, version=version, retired=skill.name in retired))
        vectors.append(rows)
    added = Add(
        at=now() if at is None else at,
        skills=tuple(records[len(kept) :]),
        kept=tuple(records[: len(kept)]),
        origin=origin[:500],
    )
    return [added], np.concatenate(vectors)


def _written(
    library: LibraryList, disk: Disk, skill: Skill, find: Callable[[str], Skill], first: int, notes: dict[str, Any]
) -> tuple[Record, Array]:
    """Checks a skill, writes its file, and says what the list keeps of it and the rows of its wordings."""
    content = skill.content
    try:
        library.check(content, find)
    except PROBLEMS as problem:
        raise LibraryError(f"skill {skill.name!r} does not fit the base of {library.folder} ({problem})") from problem
    if content.proof is None:
        content = dataclasses.replace(content, proof=library.prove(skill, content, find))
    file: Sealed = disk.write_skill(pack_skill(content, disk.head.base.fingerprint), skill.name)
    rows = np.ascontiguousarray(skill.embeddings, np.float32)
    if rows.shape != (len(skill.wordings), disk.language):
        raise LibraryError(f"skill {skill.name!r} has vectors of shape {rows.shape} for {len(skill.wordings)} wordings")
    key = np.asarray(content.key, np.float32)
    if not np.array_equal(rows[0], key):  # it was reworded where it came from: its key stands behind its wordings
        rows = np.concatenate([rows, key[None]])
    wordings = rows[: len(skill.wordings)]
    return (
        Record(
            name=skill.name,
            identity=content.identity,
            file=file_of(skill.name, file.sha256),
            bytes=file.bytes,
            sha256=file.sha256,
            wordings=skill.wordings,
            vectors=sealed_rows(wordings, first),
            key=first if len(rows) == len(wordings) else first + len(wordings),
            parameters=content.parameters,
            form=content.form,
            needs=content.needs,
            steers=msgspec.UNSET if content.task_token is None else content.task_token.on,
            notes=msgspec.Raw(msgspec.json.encode(json.loads(json.dumps(notes)))),  # NumPy's numbers too
        ),
        rows,
    )


def sealed_rows(rows: Array, first: int) -> Vectors:
    """Where rows will lie, and their seal."""
    return Vectors(first=first, sha256=hashlib.sha256(rows.astype("<f4").tobytes()).hexdigest())


def described(base: Policy, features: Mapping[str, Feature]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A base and its features, as the head has them."""
    policy = {"settings": plain_as_before(base.settings), "shape": base.shape.asdict()}
    if base.trunk is not None:
        policy["trunk"] = msgspec.to_builtins(base.trunk.reference)
    return policy, {n: {"shape": list(f.shape), "dtype": f.dtype} for n, f in features.items()}


def packed(base: Policy) -> tuple[bytes, tuple[str, int]]:
    """The bytes of a base's file; its fingerprint and how many parameters it has."""
    tensors = on_cpu(base.state_dict())
    return save(tensors), (fingerprint(tensors), sum(parameter.numel() for parameter in base.parameters()))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
