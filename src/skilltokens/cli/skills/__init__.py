"""`skilltokens skills LIBRARY ACTION`: the actions by kind, each a function of the library's folder and further words.

looking.py     list, show, history, diff
choosing.py    select
changing.py    rename, reword, retire, restore, remove, drop, undo, prune
moving.py      export, import, merge, upgrade
proving.py     verify
"""

from __future__ import annotations

from pathlib import Path

from skilltokens.escaping import shell

PROG = "skilltokens skills LIBRARY"


def command(library: Path, *words: str) -> str:
    """A command on this library, to be copied."""
    return shell("skilltokens", "skills", str(library), *words)
