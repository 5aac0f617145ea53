"""What the command prints: a name or a sentence from a file can't move the cursor, set colours or make lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from skilltokens.escaping import terminal

if TYPE_CHECKING:
    from rich.text import Text


def say(line: str = "") -> None:
    """One line on standard output."""
    print(terminal(line))


def complain(line: str) -> None:
    """One line on standard error."""
    print(f"skilltokens: {terminal(line)}", file=sys.stderr)


def cells(texts: Iterable[str]) -> list[Text]:
    """Texts as cells of one of rich's tables, which shows a plain string's [red] as a colour and :smile: as a face."""
    from rich.text import Text

    return [Text(terminal(text)) for text in texts]
