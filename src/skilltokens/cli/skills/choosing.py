"""Which skill an instruction calls, and how near the others are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG, open_library
from skilltokens.types import SettingError

SHOWN = 10
"""Candidates that are shown for an instruction."""


@dataclass(frozen=True)
class SelectOptions:
    """Shows which skill each instruction calls, with a ranking: the nearest wordings, cosines and probabilities.

    An instruction that is not sure enough to mean one of the skills calls none.

    examples:
      skilltokens skills library select "shove the puck to the goal"
      skilltokens skills library select "close it" "open the window" --threshold 0.5
    """

    texts: tyro.conf.Positional[tuple[str, ...]]
    """Instructions, each in quotes."""
    threshold: float | None = None
    """The confidence, 0 to 1, below which no skill is called; left out: the packaged one. 0 calls one always."""
    encoder: str | None = None
    """The folder of the library's sentence encoder, where it was made with one: a library's own word is not trusted."""


def select(library: Path, words: Sequence[str]) -> int:
    options = parse(SelectOptions, words, f"{PROG} select")
    if not options.texts:
        raise SettingError(f'no instruction was given: {PROG} select "push the puck"')
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import cells, say
    from skilltokens.cli.tables import output

    opened = open_library(library, options.encoder)
    with Single("selecting") as report:
        rankings = [opened.select(text, options.threshold, report) for text in options.texts]
    for ranking in rankings:
        say(ranking.sentence())
        if len(ranking.candidates) > 1:
            say(f"margin to the next: {ranking.margin:.2f}, in logarithms of odds")
        for number in ranking.tied:
            say(f"note: {opened.names[number]} has the same words: of equal ones the newest skill is called")
        table = Table("skill", "nearest wording", "cosine", "probability", box=SIMPLE, pad_edge=False)
        for one in ranking.candidates[:SHOWN]:
            table.add_row(*cells((one.name, one.wording, f"{one.cosine:.2f}", f"{one.probability:.2f}")))
        output().print(table)
    return 0
