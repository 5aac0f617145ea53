"""Files that a comparison is written to, by their suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.comparison.tournament import write_tournament
from skilltokens.report.comparison.writing import SUFFIXES, write
from skilltokens.report.runs import Run
from skilltokens.types import SettingError

Writer = Callable[[Sequence[Run], Comparisons, Path, bool], object]
"""Writes runs and their tables to a file; the last says whether what files do not say was assumed to be equal."""

WRITERS: Mapping[str, Writer] = {
    ".json": lambda runs, _, out, assume_equal: write_tournament(runs, out, assume_equal),
    **dict.fromkeys(SUFFIXES, lambda runs, comparisons, out, assume_equal: write(comparisons, out)),
}
"""Suffix -> what writes such a file."""


def writer_of(out: Path) -> Writer:
    """What writes a file of this suffix.

    Raises:
        SettingError: nothing does.
    """
    writer = WRITERS.get(out.suffix.lower())
    if writer is None:
        raise SettingError(
            f"--out {out} has no suffix that says what to write: give one of {', '.join(sorted(WRITERS))}"
        )
    return writer
