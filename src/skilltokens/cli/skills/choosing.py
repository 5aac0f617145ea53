"""Which skill an instruction calls, and how near the others are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG
from skilltokens.types import SettingError

if TYPE_CHECKING:
    from skilltokens.skills.ranking import Ranking
    from skilltokens.skills.view import LibraryView
    from skilltokens.types import Report

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


def select(library: Path, words: Sequence[str]) -> int:
    options = parse(SelectOptions, words, f"{PROG} select")
    if not options.texts:
        raise SettingError(f'no instruction was given: {PROG} select "push the puck"')
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import cells, say
    from skilltokens.cli.tables import output
    from skilltokens.skills.library import SkillLibrary

    opened = SkillLibrary.open(library)
    with Single("selecting") as report:
        rankings = [ranked(opened, text, options.threshold, report) for text in options.texts]
    for ranking in rankings:
        say(ranking.sentence())
        table = Table("skill", "nearest wording", "cosine", "probability", box=SIMPLE, pad_edge=False)
        for one in ranking.candidates[:SHOWN]:
            table.add_row(*cells((one.name, one.wording, f"{one.cosine:.2f}", f"{one.probability:.2f}")))
        output().print(table)
    return 0


def ranked(library: LibraryView, text: str, threshold: float | None, report: Report) -> Ranking:
    """The ranking of a library's skills for an instruction; retired ones are not called."""
    from skilltokens.skills.ranking import Index, ask

    skills = [library.skill_of(record) for record in library.records if not record.retired]
    if not skills:
        raise SettingError(f"all skills of {library.folder} are retired: restore one")
    index = Index.of([(skill.name, skill.wordings, skill.embeddings) for skill in skills])
    return ask(text, library.language(report), index, threshold)
