"""`skilltokens compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from skilltokens.cli.options import parse
from skilltokens.types import SettingError


@dataclass(frozen=True)
class CompareOptions:
    """Says which of several methods is better, by how much, and whether that is more than chance.

    Named may be run folders, folders of runs, run.json files, published experiments (folders below ./results),
    comparisons that others wrote as JSON, and others' results: LeRobot's eval_info.json, LIBERO's result.pt, and a CSV.
    What these do not say themselves is said behind them: FILE:suite=libero-goal,seed=1,episodes=20. A run may be called
    by another name: runs/new:method=new.

    Only runs of equal conditions stand in one table: tasks, demonstrations, initial states, observations, protocol,
    budget, horizon. Others are put apart, and the difference is said; where nothing is left to compare, nothing is.

    Exit status: 0; 1 where --fail-below or --check finds something; 2 for a mistake.

    examples:
      skilltokens compare runs/t2s-seed0 runs/lora-seed0
      skilltokens compare metaworld-cw10 --against lora --out table.json
      skilltokens compare runs/new:method=new runs/old:method=old --against old --fail-below -0.02
      skilltokens compare metaworld-cw10 mine.csv --assume-equal
      skilltokens compare --check table.json
    """

    results: tyro.conf.Positional[tuple[str, ...]] = ()
    """What to compare."""
    against: str = ""
    """Compare each method with this one alone: its name in the table, or the method's."""
    fail_below: float | None = None
    """Exit with 1 where a method's final success is below this; with --against, where its difference from that one
    is."""
    out: tuple[Path, ...] = ()
    """Files to write, by their suffix: .html is a page, .md, .tex and .csv are tables, .svg and .pdf drawings; .json
    holds all runs, for others to check and to enter theirs."""
    assume_equal: bool = False
    """Take what a file does not say to be equal, and say so."""
    check: Path | None = None
    """Compute every figure of a comparison's JSON again, check its digests, and look for missing cells."""


def main(words: Sequence[str]) -> int:
    options = parse(CompareOptions, words, "skilltokens compare")
    if options.check is not None:
        return _check(options)
    from skilltokens.cli.contest import print_comparisons, shortfalls
    from skilltokens.cli.saying import say
    from skilltokens.report.comparison.entries import read_entries
    from skilltokens.report.comparison.outputs import writer_of
    from skilltokens.report.comparison.tables import compare_runs

    if options.fail_below is not None and not -1 <= options.fail_below <= 1:
        raise SettingError(f"--fail-below {options.fail_below:g} is impossible: a success rate lies from 0 to 1")
    writers = [(writer_of(out), out) for out in options.out]
    runs = read_entries(options.results)
    comparisons = compare_runs(runs, options.assume_equal)
    below = [] if options.fail_below is None else shortfalls(comparisons, options.fail_below, options.against)
    print_comparisons(comparisons, options.against)
    for writer, out in writers:
        writer(runs, comparisons, out, options.assume_equal)
        say(f"comparison: {out.resolve()}")
    for sentence in below:
        say(sentence)
    return 1 if below else 0


def _check(options: CompareOptions) -> int:
    """Checks one comparison; 1 where something is wrong with it."""
    from skilltokens.cli.saying import say
    from skilltokens.report.comparison.tournament import check_tournament, read_tournament

    path = options.check
    assert path is not None
    if options != CompareOptions(check=path):
        raise SettingError("--check goes with one comparison's JSON and no other option: check first, then compare")
    faults = check_tournament(path)
    for fault in faults:
        say(fault)
    if not faults:
        count = len(read_tournament(path))
        say(f"{path}: every digest is right, and every figure follows from the cells of its {count} runs")
    return 1 if faults else 0
