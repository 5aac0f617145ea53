"""Run files -> one self-contained HTML page, tables and drawings of them, and the tables of RESULTS.md."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.reading import read_record
from skilltokens.types import RunError, SettingError

__all__ = ["SUFFIXES", "check_suffix", "kind_of", "write_report", "write_reports"]

SUFFIXES = {
    ".html": "a page",
    **dict.fromkeys((".csv", ".md", ".tex", ".json"), "tables"),
    **dict.fromkeys((".svg", ".pdf"), "drawings"),
}
"""What is written to a file, by its suffix."""


def write_report(runs: Sequence[Path], out: Path, against: str = "") -> Path:
    """Writes about `runs` (run.json files or their folders) to `out`, and returns it; see `write_reports`."""
    return write_reports(runs, [out], against)[0]


def write_reports(runs: Sequence[Path], outs: Sequence[Path], against: str = "") -> list[Path]:
    """Writes a page, tables or drawings about `runs` to each of `outs`, as its suffix says (SUFFIXES).

    A page is one self-contained HTML file. Nothing is written where a file of `outs` cannot be made.

    Args:
        runs: run.json files or their folders.
        against: the method that each other one is compared with in pairs; empty: on a page the first, in tables none.

    Raises:
        SettingError: a suffix is none of SUFFIXES.
        RunError: a run cannot be read, one is given twice, none is given, they are of several kinds of experiment,
            none is of `against`, or a file cannot be written.
    """
    from skilltokens.files import write_bytes
    from skilltokens.report.contents import bytes_of, content_of

    outs = [Path(out) for out in outs]
    for out in outs:
        check_suffix(out, SUFFIXES)
    content = content_of(kind_of(runs), [Path(run) for run in runs], against)
    files = [bytes_of(content, out.suffix.lower()) for out in outs]
    for out, words in zip(outs, files, strict=True):
        write_bytes(out, words, RunError)
    return outs


def check_suffix(out: Path, known: Collection[str]) -> None:
    """Raises SettingError unless a file's suffix, in small or capital letters, is one of those `known`."""
    if out.suffix.lower() not in known:
        ending = f"ends in {out.suffix!r}" if out.suffix else "has no suffix"
        raise SettingError(f"{out} {ending}, which says what to write: end it in {', '.join(known)}")


def kind_of(runs: Sequence[Path]) -> str:
    """The name of the experiment that runs are of.

    Raises:
        RunError: none is given, one cannot be read, or they are of several kinds.
    """
    if not runs:
        raise RunError("no run was named: give the run.json files, or the folders that hold them")
    kinds = {experiment_in(read_record(path)).name for path in runs}
    if len(kinds) > 1:
        raise RunError("runs of learning from demonstrations and from reward are on two pages: name one kind at a time")
    return kinds.pop()
