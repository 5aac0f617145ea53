"""`skilltokens skills LIBRARY ACTION`: the actions by kind, each a function of the library's folder and further words.

looking.py     list, show, history, diff
choosing.py    select
changing.py    rename, reword, retire, restore, remove, drop, undo, prune
moving.py      export, import, merge, upgrade
proving.py     verify
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skilltokens.escaping import shell

if TYPE_CHECKING:
    from skilltokens.skills.managing import ManagedList

PROG = "skilltokens skills LIBRARY"


def open_library(folder: Path, encoder: str | None = None) -> ManagedList:
    """The library in a folder, whatever its skills stand on."""
    from skilltokens.skills.head import is_attached

    if is_attached(folder):
        from skilltokens.attached.library import AttachedLibrary

        return AttachedLibrary.open(folder, encoder=encoder)
    from skilltokens.skills.library import SkillLibrary

    return SkillLibrary.open(folder, encoder)


def command(library: Path, *words: str) -> str:
    """A command on this library, to be copied."""
    return shell("skilltokens", "skills", str(library), *words)
