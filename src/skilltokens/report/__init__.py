"""Run files -> one self-contained HTML page, and the tables of RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.reading import read_record
from skilltokens.types import RunError

__all__ = ["kind_of", "write_report"]


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Writes one self-contained HTML page about `runs` (run.json files or their folders) to `out`, and returns it.

    Raises:
        RunError: a run cannot be read, one is given twice, none is given, they are of several kinds of experiment, or
            `out` cannot be written.
    """
    from skilltokens.report import page, reward_page

    pages: dict[str, Callable[[Sequence[Path], Path], Path]] = {
        "lifelong": page.write_page,
        "reward": reward_page.write_page,
    }
    return pages[kind_of(runs)](runs, out)


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
