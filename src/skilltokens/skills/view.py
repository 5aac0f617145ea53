"""A library as its readers see it: its list of skills (`listed`), and the base that they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from msgspec import UNSET
from safetensors.torch import load

from skilltokens.configuration import settings_of
from skilltokens.demos.kinds import difference, remedy, shown, unseen
from skilltokens.escaping import terminal
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.assembling import assemble, base_rows, standing
from skilltokens.skills.checking import check_content, check_own, features_from, policy_from, shape_from
from skilltokens.skills.disk import BASE_FILE, Disk
from skilltokens.skills.head import HEAD, damaged
from skilltokens.skills.listed import PROBLEMS, LibraryList
from skilltokens.skills.proof import prove
from skilltokens.skills.skill import Content, Find, Proof, Skill
from skilltokens.tensors import fingerprint
from skilltokens.types import ACTION, Feature, LibraryError, Suite


class LibraryView(LibraryList):
    """A library, to be read; `ActingLibrary` acts with it, and `SkillLibrary` changes it too.

    Attributes:
        folder: its folder on disk.
        encoder: the sentence encoder's name, for `load_encoder`; set it where the library was made with a function.
    """

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self._base: Policy | None = None

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
        if disk.head.source is not UNSET:
            raise LibraryError(
                f"{folder} holds skills beside a policy of another make, {disk.head.source.path}: what is asked for "
                "works with libraries of this package's own policies alone"
            )
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
    def features(self) -> dict[str, Feature]:
        """The observation features and the action that every demonstration must have."""
        return features_from(self._disk.head.features, self.shape)

    @property
    def shape(self) -> Shape:
        """What the policy observes and does, with the constants of both."""
        return shape_from(self._disk.head.policy["shape"])

    @property
    def policy_settings(self) -> PolicySettings:
        """The settings of the policy."""
        return settings_of(PolicySettings, self._disk.head.policy["settings"])

    @property
    def longest(self) -> int:
        """How many actions a skill can take after one look."""
        return self.policy_settings.chunk

    @property
    def remembered_steps(self) -> int:
        """How many steps an action depends on besides its own."""
        return self.policy_settings.layers * (self.policy_settings.history - 1)

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

    def check_own(self, content: Content) -> None:
        check_own(content, self.base)

    def check(self, content: Content, find: Find) -> None:
        check_content(content, self.base, find)

    def prove(self, skill: Skill, content: Content, find: Find) -> Proof | None:
        policy = assemble(self.base, find, skill) if content.tensors else self.base
        return prove(policy, standing(find, skill).key, self.features)

    def own_rows(self, skill: Skill) -> int:
        whole = not skill.tensors
        return sum(base_rows(self.base, path) if whole else skill.rows(path) for path in self.base.maps())

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
