"""`skilltokens report`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from skilltokens.cli.options import parse
from skilltokens.methods import method_names
from skilltokens.types import RunError, natural


@dataclass(frozen=True)
class ReportOptions:
    """Writes one self-contained HTML page about runs, from their run.json files alone, and prints their figures.

    The suffix of a file of --out says what it holds: .html a page; .csv, .md, .tex and .json tables of the figures;
    .svg and .pdf drawings. Runs share a table where they can be compared: the same tasks, order, demonstrations and
    initial states.

    examples:
      skilltokens report runs/demo
      skilltokens report runs/demo/t2s-seed0 results/metaworld-cw10/*/run.json --out cw10.html
      skilltokens report runs/demo --against sequential --out page.html table.tex curves.pdf
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """run.json files, run folders, or folders of run folders."""
    out: tuple[Path, ...] = ()
    """The files to write, any of .html, .csv, .md, .tex, .json, .svg and .pdf; left out: report.html in the first
    folder named."""
    against: str = ""
    """The method, or the learner, that each other one is compared with in pairs; left out: the first method against
    each other one, on the page alone."""


def main(words: Sequence[str]) -> int:
    options = parse(ReportOptions, words, "skilltokens report")
    from skilltokens.cli.saying import say
    from skilltokens.cli.tables import print_table
    from skilltokens.report import SUFFIXES, check_suffix, write_reports

    for out in options.out:
        check_suffix(out, SUFFIXES)
    runs = find_runs(options.runs)
    first = options.runs[0]
    outs = options.out or ((first if os.path.isdir(first) else first.parent) / "report.html",)
    written = write_reports(runs, outs, options.against)
    print_table(runs)
    for file in written:
        say(f"report: {file.resolve()}")
    return 0


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Every run.json that is named, or lies in or below a folder that is named, each once.

    Raises:
        RunError: nothing was named, or there is no run at one of the paths.
    """
    if not paths:
        raise RunError("no run was named: give run folders, such as runs/demo")
    runs: dict[Path, None] = {}
    for path in paths:
        files = sorted(_below(path), key=_rank) if os.path.isdir(path) else [path]
        if not files:
            raise RunError(f"{path} holds no run.json: give a run folder, or a folder of run folders")
        runs |= dict.fromkeys(file.resolve() for file in files)
    return list(runs)


def _below(folder: Path) -> list[Path]:
    """The runs in a folder. Hidden folders are files that a killed process did not finish."""
    files = folder.rglob("run.json")
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def _rank(run: Path) -> tuple[int, list[str | int]]:
    """The order of runs that are found in a folder: methods as `skilltokens list` has them, then seeds by number."""
    names = method_names()
    method = run.parent.name.partition("-seed")[0]
    return names.index(method) if method in names else len(names), natural(str(run))
