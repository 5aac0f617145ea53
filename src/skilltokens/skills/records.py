"""What a library keeps of its skills: a log of changes, one JSON line each.

changes.jsonl only grows. Reading it from its start gives the library as it is now, and as it was after each change
(`state`); so history, versions and undo need nothing else. `disk` reads and writes it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from skilltokens.types import LibraryError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What skills may be called."""
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
"""What their files may be called: no path leads out of skills/."""
Whole = Annotated[int, Meta(ge=0)]
Form = Literal["rows", "lora", "composed", "bottleneck", "prompted", "whole"]
"""What a skill's tensors are beside copies of the base's modules: rows (T2S), low-rank adapters, these with state
networks that weigh earlier skills' adapters (PSEC), bottleneck adapters, prompts, or a whole policy."""
Words = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=1000)], ...], Meta(min_length=1)]


class Vectors(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """Where the unit vectors of a skill's wordings lie in wordings.f32."""

    first: Whole
    """The row of its first wording; the others follow."""
    sha256: str
    """Of their bytes."""


class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """One skill, or one version of it."""

    name: str
    identity: str
    """Of all that decides its actions (`Content.identity`)."""
    file: str
    """Its file in skills/."""
    bytes: Whole
    sha256: str
    wordings: Words
    vectors: Vectors
    key: Whole
    """The row of wordings.f32 that its policy is given, and that is its rows' language key."""
    parameters: Whole
    form: Form = "rows"
    needs: tuple[str, ...] = ()
    """Identities of the skills that it cannot act without."""
    steers: str | UnsetType = UNSET
    """Of a skill from reward: the identity of the skill that it steers."""
    version: Annotated[int, Meta(ge=1)] = 1
    retired: bool = False
    notes: msgspec.Raw = msgspec.Raw(b"{}")
    """Whatever else is known, a JSON object: demonstrations, results, ..."""

    def about(self) -> dict[str, Any]:
        """The notes. Raises LibraryError where they are no JSON object."""
        try:
            return msgspec.json.decode(self.notes, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as problem:
            raise LibraryError(f"the notes of skill {self.name!r} are no JSON object") from problem

    @property
    def label(self) -> str:
        """The name, with the version where there were others before."""
        return self.name if self.version == 1 else f"{self.name}@{self.version}"


class _Change(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, tag_field="change", kw_only=True
):
    """A change, and when it was made (UTC)."""

    at: Annotated[str, Meta(max_length=40)]


class Add(_Change, frozen=True, tag="add"):
    """Skills are there; one whose name there was is its next version, and the older one is no longer called."""

    skills: tuple[Record, ...]
    kept: tuple[Record, ...] = ()
    """Skills that they need, which nobody calls."""
    origin: Annotated[str, Meta(max_length=500)] = ""
    """Where they came from, where it was not a training."""


class Rename(_Change, frozen=True, tag="rename"):
    name: str
    to: str


class Reword(_Change, frozen=True, tag="reword"):
    name: str
    wordings: Words
    vectors: Vectors


class Retire(_Change, frozen=True, tag="retire"):
    """A retired skill stays and is not called; `retired` False restores it."""

    name: str
    retired: bool = True


class Remove(_Change, frozen=True, tag="remove"):
    """All versions of a skill go; those that others need are kept, and not called."""

    name: str


class Drop(_Change, frozen=True, tag="drop"):
    """An older version goes."""

    name: str
    version: Annotated[int, Meta(ge=1)]


class Note(_Change, frozen=True, tag="note"):
    """More is known of a skill."""

    name: str
    notes: dict[str, Any]


class Undo(_Change, frozen=True, tag="undo"):
    """The last change that was not undone yet is undone."""

    number: Annotated[int, Meta(ge=1)]
    """Its number in the log, from 1."""


class Prune(_Change, frozen=True, tag="prune"):
    """The files of what is gone were removed: earlier changes can no more be undone."""

    files: tuple[str, ...]


Change = Add | Rename | Reword | Retire | Remove | Drop | Note | Undo | Prune
_LINES = msgspec.json.Decoder(Change)
_ENCODER = msgspec.json.Encoder()


def encode(change: Change) -> bytes:
    """A line of the log."""
    return _ENCODER.encode(change) + b"\n"


def decode(content: bytes) -> list[Change]:
    """The changes of a log.

    Raises:
        msgspec.MsgspecError, RecursionError: it holds anything else.
    """
    return _LINES.decode_lines(content)
