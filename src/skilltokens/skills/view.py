"""A library as its readers see it: the list of skills, and their numbers when they are used.

Opening reads the list; a skill's numbers are read, checked and put together when it is first used, so cost and memory
follow what is used. A reader keeps the view that it opened, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from msgspec import UNSET
from safetensors import SafetensorError
from safetensors.torch import load

from skilltokens.configuration import settings_of
from skilltokens.demos.kinds import difference, remedy, shown, unseen
from skilltokens.escaping import terminal
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.checking import check_content, check_own, features_from, policy_from, shape_from
from skilltokens.skills.disk import BASE_FILE, SKILLS, Disk
from skilltokens.skills.head import HEAD, damaged
from skilltokens.skills.records import Record
from skilltokens.skills.skill import Content, Skill, Skills
from skilltokens.skills.skillfile import unpack_skill
from skilltokens.skills.state import Event, State, history
from skilltokens.tensors import fingerprint
from skilltokens.types import (
    ACTION,
    Array,
    Feature,
    LibraryError,
    SkilltokensError,
    Suite,
)

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


class LibraryView:
    """A library, to be read; `ActingLibrary` acts with it, and `SkillLibrary` changes it too.

    Attributes:
        folder: its folder on disk.
        encoder: the sentence encoder's name, for `load_encoder`; set it where the library was made with a function.
    """

    def __init__(self, disk: Disk) -> None:
        self.folder, self.encoder = disk.folder, disk.head.encoder
        self._named = False  # whether the user named the encoder, not the file alone
        self._base: Policy | None = None
        self._contents: dict[str, Content] = {}
        self._whole: set[str] = set()
        self._become(disk)

    def _become(self, disk: Disk) -> None:
        """Shows another state of the folder. What was read of files stays: they never change."""
        self._disk = disk
        self._skills: Skills | None = None
        self._mapped: Array | None = None
        self._by_identity: dict[str, Record] | None = None

    # ---------------------------------------------------------------- reading

    @classmethod
    def open(cls, folder: Path | str, encoder: str | None = None) -> Self:
        """Opens a library: the seals of its list are checked, and that every file is there.

        The numbers of a skill are checked when it is first used, and refused by a LibraryError before any action is
        computed from them; `verify` checks them all.

        Args:
            encoder: the sentence encoder that it was made with, where that is a folder: a file's word is not trusted.

        Raises:
            LibraryError: there is none, or it is damaged, or of another version.
        """
        folder = Path(folder)
        disk = Disk.open(folder)
        try:
            settings_of(PolicySettings, disk.head.policy["settings"])
            features_from(disk.head.features, shape_from(disk.head.policy["shape"]))
        except PROBLEMS as problem:
            raise damaged(folder / HEAD, str(problem)) from problem
        library = cls(disk)
        if encoder is not None:
            library.encoder, library._named = encoder, True
        return library

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
    def features(self) -> dict[str, Feature]:
        """The observation features and the action that every demonstration must have."""
        return features_from(self._disk.head.features, self.shape)

    @property
    def parameters(self) -> int:
        """Parameters of the base."""
        return self._disk.head.base.parameters

    @property
    def identity(self) -> str:
        """The fingerprint of the base: skills of libraries with the same one can be exchanged."""
        return self._disk.head.base.fingerprint

    @property
    def shape(self) -> Shape:
        """What the policy observes and does, with the constants of both."""
        return shape_from(self._disk.head.policy["shape"])

    @property
    def policy_settings(self) -> PolicySettings:
        """The settings of the policy."""
        return settings_of(PolicySettings, self._disk.head.policy["settings"])

    @property
    def base(self) -> Policy:
        """The frozen base policy, which is also the policy of the first skill.

        Raises:
            LibraryError: its file is damaged.
        """
        if self._base is None:
            head, path = self._disk.head, self.folder / BASE_FILE
            content = self._disk.read_base()
            try:
                tensors = load(content)
                if fingerprint(tensors) != head.base.fingerprint:
                    raise ValueError("its fingerprint differs")
                self._base = policy_from(head.policy["settings"], head.policy["shape"], tensors)
            except PROBLEMS as problem:
                raise damaged(path, str(problem)) from problem
        return self._base

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
                check_content(content, self.base, self.find)
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
                check_own(content, self.base)
            except PROBLEMS as problem:
                raise damaged(path, str(problem)) from problem
            self._contents[record.file] = content
        return self._contents[record.file]

    def history(self) -> list[Event]:
        """All changes since the library was made, the oldest first."""
        return history(self._disk.changes)

    def check_features(self, features: Mapping[str, Feature], what: str) -> str | None:
        """Whether the policy can look at demonstrations, or at a suite, with these features: all of its own are among
        them, in its shapes, and with the dtypes of its pictures.

        Returns:
            A sentence that names the observations that the policy does not look at; None where it looks at all.

        Raises:
            LibraryError: it cannot; the message names the feature, and `what` has it.
        """
        own = self.features
        name = difference(own, features, others=True)
        if name is not None:
            mine, other = own[name], features.get(name)
            raise LibraryError(
                f"feature {name!r} is {shown(mine)} in {self.folder} but {shown(other)} in {what}: learn from "
                f"demonstrations of the same robot and features{remedy(mine, other)}"
            )
        return unseen(features, own, "the library was made without it")

    def check_actions(self, suite: Suite) -> None:
        """Raises LibraryError where the actions are in other units than a suite takes."""
        scale, taken = self.shape.action, suite.scales.get(ACTION)
        if scale is not None and taken is None:
            least, most = (np.asarray(scale.center) + sign * np.asarray(scale.unit) for sign in (-1, 1))
            raise LibraryError(
                f"{self.folder} gives actions in its robot's own units (about {least.min():.4g} to {most.max():.4g}), "
                f"and suite {suite.name!r} takes them in [-1, 1]: use a suite whose scales have {ACTION!r}"
            )

    def __repr__(self) -> str:
        retired = sum(record.retired for record in self.records)
        older = len(self.state.older)
        more = [f"{retired} retired"] * bool(retired) + [f"{older} older versions"] * bool(older)
        shown = "\n".join(f"  {record.label}: {terminal(record.wordings[0])}" for record in self.records[:20])
        rest = f"\n  and {len(self.records) - 20} more" if len(self.records) > 20 else ""
        return (
            f"SkillLibrary({str(self.folder)!r}: {len(self.records)} skills{', ' * bool(more)}{', '.join(more)}, "
            f"base of {self.parameters:,} parameters, encoder {self.encoder!r})\n{shown}{rest}"
        )


def _said(content: Content, record: Record) -> bool:
    """Whether a list says of a skill what its content is."""
    steers = UNSET if content.task_token is None else content.task_token.on
    says = (record.form, record.needs, record.parameters, record.steers)
    return says == (content.form, content.needs, content.parameters, steers)
