"""OnBase: what a list of skills knows of the base of another make that they stand on, and how that is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from torch import Tensor

from skilltokens.attached.acting import Prepare
from skilltokens.attached.beside import Attached, attach
from skilltokens.attached.describing import Where
from skilltokens.attached.digests import Digests
from skilltokens.attached.loading import Base, Load, check_source, loaded, loader_of, located
from skilltokens.attached.patterns import type_of
from skilltokens.attached.places import unwrapped
from skilltokens.attached.statistics import Spread, from_plain
from skilltokens.configuration import Share
from skilltokens.configuration import check_number as check_setting
from skilltokens.demos.kinds import difference, shown
from skilltokens.escaping import terminal
from skilltokens.skills.disk import Disk
from skilltokens.skills.head import HEAD, Source, damaged
from skilltokens.skills.listed import PROBLEMS
from skilltokens.skills.managing import ManagedList
from skilltokens.types import Feature, LibraryError, SettingError


class OnBase(ManagedList):
    """A list of skills on a base that is loaded, and compared with what they learned on, when it is first asked for.

    Attributes:
        place: where the base was named by the user; None: where the library says.
        loader: who makes a policy of the base, where the user said so.
        remembers: digests of the base's large files are remembered in the folder; False: they are read each time.
    """

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.place: str | None = None
        self.loader: str | Load | None = None
        self._prepare: Prepare | None = None
        self.remembers = True
        self._base: Base | None = None
        self._attached: Attached | None = None

    @property
    def source(self) -> Source:
        """Where the base is, and its files' digests."""
        source = self._disk.head.source
        assert isinstance(source, Source)
        return source

    @property
    def where(self) -> Where:
        """Where in the base skills stand. Raises LibraryError where the head does not say."""
        try:
            where = msgspec.convert(self._disk.head.policy["settings"], Where)
            check_setting("share", where.share, Share)
        except (msgspec.ValidationError, SettingError) as problem:
            raise damaged(self.folder / HEAD, str(problem)) from problem
        return where

    @property
    def base_statistics(self) -> dict[str, Tensor]:
        """By which the base is given what it sees."""
        try:
            return from_plain(self.where.statistics)
        except PROBLEMS as problem:
            raise damaged(self.folder / HEAD, str(problem)) from problem

    @property
    def features(self) -> dict[str, Feature]:
        """What demonstrations have: the observations of a step, and the action; empty where nobody said."""
        try:
            return {
                name: Feature(tuple(int(size) for size in entry["shape"]), str(entry["dtype"]))
                for name, entry in self._disk.head.features.items()
            }
        except PROBLEMS as problem:
            raise damaged(self.folder / HEAD, str(problem)) from problem

    def check_features(self, features: Mapping[str, Feature], what: str) -> None:
        """Whether the skills' observations and actions are among these features, in their shapes.

        Raises:
            LibraryError: they are not; the message names the feature, and `what` has it.
        """
        own = self.features
        name = difference(own, features, others=True) if own else None
        if name is not None:
            raise LibraryError(
                f"feature {name!r} is {shown(own[name])} in {self.folder} but {shown(features.get(name))} in {what}: "
                "learn from demonstrations of the same robot and features"
            )

    @property
    def attached(self) -> Attached:
        """The base with skills beside it; loaded, and compared with what they stand on, when it is first asked for.

        Raises:
            LibraryError: the base is not there, was changed, cannot be loaded, or has other numbers.
            AttachError: it has no more what skills stand beside.
        """
        if self._attached is None:
            source, where = self.source, self.where
            if self._base is None:
                place, _ = located(self.place or source.path, "" if self.place else source.revision)
                check_source(source, place, Digests(self.folder if self.remembers else None))
                _, load = loader_of(place, self.loader or source.loader, recorded=not self.loader)
                self._base = loaded(place, load)
            policy = self._base.policy
            attached = attach(policy, where.targets, where.own, where.share)
            if attached.base != self.identity:
                attached.detach()
                raise LibraryError(
                    f"the {type_of(unwrapped(policy))} has other numbers, or other names for them, than the base "
                    f"of {self.folder} ({terminal(source.path)}): skills act only beside the base that they learned on"
                )
            self._attached = attached
        return self._attached

    @property
    def prepare(self) -> Prepare | None:
        """What is done to every batch before the policy sees it: what the user said, else what the loader knows."""
        return self._prepare or self._loaded.prepare

    @property
    def spreads(self) -> Mapping[str, Spread] | None:
        """How the statistics of a new skill are measured, as the base wants it."""
        return self._loaded.spreads

    @property
    def _loaded(self) -> Base:
        _ = self.attached
        assert self._base is not None
        return self._base
