"""A library of either kind, opened for a command that acts: our own policies, or beside another make's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from skilltokens.skills.head import is_attached
from skilltokens.types import SettingError

if TYPE_CHECKING:
    from skilltokens.attached.library import AttachedLibrary
    from skilltokens.skills.library import SkillLibrary

Library: TypeAlias = "SkillLibrary | AttachedLibrary"


def open_library(
    folder: Path, *, encoder: str | None = None, loader: str = "", base: str = "", device: str = "cpu"
) -> Library:
    """A library that can act; a policy of another make is loaded, and compared with what its skills stand on.

    Args:
        encoder: the library's sentence encoder, where that is a folder.
        loader, base: of a library beside a policy of another make, as for `AttachedLibrary.open`.
        device: where such a policy acts.

    Raises:
        SettingError: a loader or a place is named for a library that has a base of its own.
        LibraryError: there is none, or it or its base is damaged or not there.
    """
    if is_attached(folder):
        from skilltokens.attached.library import AttachedLibrary

        library = AttachedLibrary.open(folder, loader=loader or None, base=base or None, encoder=encoder)
        library.attached.policy.to(device).eval()
        return library
    if loader or base:
        raise SettingError(f"{folder} has a base of its own: leave out --base and --loader")
    from skilltokens.skills.library import SkillLibrary

    return SkillLibrary.open(folder, encoder)
