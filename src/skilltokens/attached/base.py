"""A policy of another make that is opened: where its files are, what seals them, and the policy itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from skilltokens.attached.loading import Base, Load, base_files, loaded, loader_of, located, source_of
from skilltokens.skills.head import HEAD, Source
from skilltokens.types import LibraryError


@dataclass
class OtherBase:
    """A policy of another make: its files are read, and it is made, when they are first asked for.

    Attributes:
        path: a file, a folder, or OWNER/NAME at the Hub.
        loader: who makes a policy of it: "module:name", the name of an entry point, or a function; empty: the entry
            point that knows it.
    """

    path: str
    loader: str | Load

    def check(self) -> None:
        """Looks whether it is there and can be loaded, and reads none of its numbers.

        Raises:
            LibraryError: it is not there, has no file of numbers, or is a skill library.
            HubError: the Hub has none of that name.
            SettingError: there is no such loader.
        """
        if (Path(self.path).expanduser() / HEAD).exists():
            raise LibraryError(f"{self.path} is a skill library, where a policy of another make is needed: name that")
        base_files(self.place)
        loader_of(self.place, self.loader)

    @cached_property
    def place(self) -> Path:
        """Where it is on this machine."""
        return located(self.path)[0]

    @cached_property
    def source(self) -> Source:
        """Where it is, and its files' digests. Reads all of them."""
        return source_of(self.path)[0]

    @cached_property
    def whole(self) -> Base:
        """The policy, and what its loader knows of it. Raises LibraryError where the loader fails or returns none."""
        return loaded(self.place, loader_of(self.place, self.loader)[1])

    @property
    def policy(self) -> nn.Module:
        """The policy; raises as `whole`."""
        return self.whole.policy
