"""A library's list as its readers see it: the skills, the words that call them, their numbers when they are asked for.

Opening reads the list; a skill's numbers are read and checked when it is first used, so cost and memory follow what is
used. A reader keeps the list that it opened, whatever is written meanwhile. What the skills stand on is for subclasses:
our own base (`view`), or a policy of somebody else's (`skilltokens.attached`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from safetensors import SafetensorError

from skilltokens.language import FUNCTION, LanguageEncoder, load_encoder, recorded_encoder
from skilltokens.skills.disk import SKILLS, Disk
from skilltokens.skills.head import damaged
from skilltokens.skills.ranking import Index, Ranking, ask
from skilltokens.skills.records import Record
from skilltokens.skills.skill import Content, Find, Proof, Skill, Skills
from skilltokens.skills.skillfile import unpack_skill
from skilltokens.skills.state import Event, State, history
from skilltokens.types import Array, LibraryError, Report, SkilltokensError, silent

PROBLEMS = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    SafetensorError,
    SkilltokensError,
)
"""What reading numbers that do not fit may raise."""


class LibraryList(ABC):
    """A library's list, to be read.

    Attributes:
        folder: its folder on disk.
        encoder: the sentence encoder's name, for `load_encoder`; set it where the library was made with a function.
    """

    def __init__(self, disk: Disk) -> None:
        self.folder, self.encoder = disk.folder, disk.head.encoder
        self._named = False  # whether the user named the encoder, not the file alone
        self._contents: dict[str, Content] = {}
        self._whole: set[str] = set()
        self._language: LanguageEncoder | None = None
        self._become(disk)

    def _become(self, disk: Disk) -> None:
        """Shows another state of the folder. What was read of files stays: they never change."""
        self._disk = disk
        self._skills: Skills | None = None
        self._mapped: Array | None = None
        self._by_identity: dict[str, Record] | None = None
        self._index: Index | None = None

    # ---------------------------------------------------------------- what skills stand on

    @abstractmethod
    def check_own(self, content: Content) -> None:
        """Whether a skill's numbers fit the base. Raises one of `PROBLEMS` where they do not."""

    @abstractmethod
    def check(self, content: Content, find: Find) -> None:
        """The same, and whether what the skill builds on is there, as `find` gives it."""

    @abstractmethod
    def prove(self, skill: Skill, content: Content, find: Find) -> Proof | None:
        """What a skill of this content does on fixed observations; None where nobody can know here."""

    @abstractmethod
    def own_rows(self, skill: Skill) -> int:
        """Rows that a skill learned or, where it is the base, has, over all maps."""

    # ---------------------------------------------------------------- the list

    @property
    def state(self) -> State:
        """The records of all skills, older versions included."""
        return self._disk.state

    @property
    def records(self) -> list[Record]:
        """What the list says of each skill, in the order learned; retired ones too."""
        return list(self.state.skills.values())

    @property
    def names(self) -> list[str]:
        """The names of the skills, in the order learned."""
        return list(self.state.skills)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """For each skill what else is known: results, digests of demonstrations, ..."""
        return [record.about() for record in self.records]

    @property
    def parameters(self) -> int:
        """Parameters of the base."""
        return self._disk.head.base.parameters

    @property
    def identity(self) -> str:
        """The fingerprint of the base: skills of libraries with the same one can be exchanged."""
        return self._disk.head.base.fingerprint

    @property
    def skills(self) -> Skills:
        """The skills in the order learned; retired ones too. Their numbers are read when they are asked for."""
        if self._skills is None:
            self._skills = Skills((self.skill_of(record) for record in self.records), self.find)
        return self._skills

    def skill(self, name: str) -> Skill:
        """A skill by its name, or an older version of it by NAME@VERSION.

        Raises:
            LibraryError: there is none.
        """
        return self.skill_of(self.state.record(name))

    def skill_of(self, record: Record) -> Skill:
        """The skill of a record, older versions and kept ones included."""
        return self._stored(record, lambda: self._content(record))

    def file_of(self, record: Record) -> bytes:
        """The bytes of a skill's file, their digest checked."""
        return self._disk.read_skill(record)

    def _vectors(self) -> Array:
        if self._mapped is None:
            self._mapped = self._disk.vectors()
        return self._mapped

    def find(self, identity: str) -> Skill:
        """The skill of an identity, older versions and kept ones included, as one that another builds on.

        What it builds on itself is not read: of a long chain only what is used.

        Raises:
            LookupError: there is none.
        """
        if self._by_identity is None:
            self._by_identity = {record.identity: record for record in self.state.everything()}
        record = self._by_identity[identity]
        return self._stored(record, lambda: self._own(record))

    def _stored(self, record: Record, load: Callable[[], Content]) -> Skill:
        disk, vectors, first = self._disk, self._vectors(), record.vectors.first

        def embeddings() -> Array:
            disk.check_rows(vectors, record)
            return vectors[first : first + len(record.wordings)]

        def key() -> Array:  # once it was reworded, its key is none of its wordings' vectors
            own = first <= record.key < first + len(record.wordings)
            return embeddings()[record.key - first] if own else load().key

        return Skill.stored(
            record.name, record.wordings, embeddings, key, record.form, record.parameters, record.identity, load
        )

    def _content(self, record: Record) -> Content:
        """The content of a skill's file, and whether what it builds on is there."""
        content = self._own(record)
        if record.file not in self._whole:
            try:
                self.check(content, self.find)
            except PROBLEMS as problem:
                raise damaged(self.folder / SKILLS / record.file, str(problem)) from problem
            self._whole.add(record.file)
        return content

    def _own(self, record: Record) -> Content:
        """The content of a skill's file, checked against the base and against what the list says of it."""
        if record.file not in self._contents:
            path = self.folder / SKILLS / record.file
            content = unpack_skill(self._disk.read_skill(record), path, self.identity)
            try:
                if content.identity != record.identity or not _said(content, record):
                    raise ValueError("it is another skill than the list says")
                if not np.array_equal(content.key, self._vectors()[record.key]):
                    raise ValueError("its language key is another than the list says")
                self.check_own(content)
            except PROBLEMS as problem:
                raise damaged(path, str(problem)) from problem
            self._contents[record.file] = content
        return self._contents[record.file]

    def history(self) -> list[Event]:
        """All changes since the library was made, the oldest first."""
        return history(self._disk.changes)

    # ---------------------------------------------------------------- words

    @property
    def index(self) -> Index:
        """The wordings of all skills and their vectors, to be searched. Raises LibraryError where one is damaged."""
        if self._index is None:
            records, vectors = self.records, self._vectors()
            self._disk.check_rows(vectors, *records)
            counts = [len(record.wordings) for record in records]
            places = np.concatenate([record.vectors.first + np.arange(len(record.wordings)) for record in records])
            in_order = (places == np.arange(len(places))).all()
            self._index = Index(
                self.names,
                [text for record in records for text in record.wordings],
                vectors[: len(places)] if in_order else vectors[places],
                np.repeat(np.arange(len(records)), counts),
                np.repeat([not record.retired for record in records], counts),
            )
        return self._index

    def vectors_of(self, names: Sequence[str]) -> Array:
        """The unit vectors (wordings, language) of these skills' wordings, one skill after another."""
        if list(names) == self.names:
            return self.index.vectors
        starts = np.searchsorted(self.index.owners, np.arange(len(self.names) + 1))
        numbers = {name: number for number, name in enumerate(self.names)}
        places = [np.arange(starts[numbers[name]], starts[numbers[name] + 1]) for name in names]
        return self.index.vectors[np.concatenate([np.zeros(0, np.int64), *places])]

    def select(self, instruction: str, threshold: float | None = None, report: Report = silent) -> Ranking:
        """The skills that an instruction may mean, the best first, and whether one is sure enough to be called.

        Args:
            threshold: the confidence in [0, 1] below which none is called; 0: one always is; None: the default, with
                which about one instruction in a hundred calls a wrong skill (docs/instructions.md).
            report: called when the sentence encoder is loaded for it.

        Raises:
            LanguageError: the instruction is empty or too long, or the threshold no confidence.
        """
        return ask(instruction, self.language(report), self.index, threshold)

    def language(self, report: Report = silent) -> LanguageEncoder:
        """The encoder that the library was made with; `report` is called when it is really loaded.

        Raises:
            LibraryError: that was a Python function, which no file can hold.
        """
        if self.encoder.startswith(FUNCTION):
            raise LibraryError(
                f"{self.folder} was made with the sentence encoder {self.encoder}, a function: set `library.encoder` "
                "to the name of an installed encoder with the same vectors"
            )
        if self._language is None or self._language.name != self.encoder:
            own = not self._named and self.encoder == self._disk.head.encoder
            self._language = (
                recorded_encoder(self.encoder, f"library {self.folder}", report=report)
                if own
                else load_encoder(self.encoder, report=report)
            )
        return self._language


def _said(content: Content, record: Record) -> bool:
    """Whether a list says of a skill what its content is."""
    steers = UNSET if content.task_token is None else content.task_token.on
    says = (record.form, record.needs, record.parameters, record.steers)
    return says == (content.form, content.needs, content.parameters, steers)
