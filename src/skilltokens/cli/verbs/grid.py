"""`skilltokens grid`: every cell of a grid as a run in its own process, then the table and the report of all."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from skilltokens.cli.cells import plan_grid
from skilltokens.cli.checking import tell_idle, unfinished
from skilltokens.cli.options import parse
from skilltokens.cli.place import PlaceOptions
from skilltokens.cli.planned import Plan, PlannedRun
from skilltokens.cli.profile.options import ProfileOptions
from skilltokens.escaping import shell, terminal
from skilltokens.experiments.grid import KEPT, Grid, keep, read_grid, read_kept
from skilltokens.experiments.repeating import to_be_typed
from skilltokens.types import Progress, RunError, SettingError

PROG = "skilltokens grid"


@dataclass(frozen=True)
class GridOptions(PlaceOptions, ProfileOptions):
    """Runs a grid of experiments: methods x recipes x seeds x settings, each cell a run in a folder of its own.

    What is done is skipped, what was stopped or died resumes where it was, and a cell that fails stops no other: the
    same command again goes on. First comes every cell with its first seed, then every cell with its second, and so on.
    Demonstrations are made once for all cells that share them. Then follow a table and a page; docs/grids.md has more.

    A grid is a TOML file, such as this one:

      recipe = "metaworld-cw10"            # or several: ["libero-goal", "libero-object"]
      methods = ["t2s", "lora", "sequential"]
      seeds = "0-2"                        # or [0, 1, 2]
      [settings]                           # what is not the recipe's, by the names of the options of run
      evaluate.points = 3
      [vary]                               # each value makes more cells
      "demonstrations.episodes" = [5, 50]
      [[exclude]]                          # combinations to leave out
      method = "sequential"
      "demonstrations.episodes" = 5

    Several [[part]] tables, each with methods, seeds, settings and vary of its own, make one grid of several blocks.

    examples:
      skilltokens grid nights.toml --dry-run        # its cells, what is done, and the time that is left
      skilltokens grid nights.toml                  # into runs/nights, or the folder that it names
      skilltokens grid nights.toml --only lora      # these methods, or cells, alone
      skilltokens grid runs/nights                  # goes on with a grid, from what its folder keeps of it
      skilltokens grid my_grids:night               # a Python function that returns the same as a dictionary
    """

    grid: tyro.conf.Positional[str]
    """The grid's file, the folder of its runs, or module:function."""
    jobs: int = 0
    """How many runs at once; 0: one for each core, or what a cluster has room for."""
    dry_run: bool = False
    """Only say what would run, where, and about how long it would take."""
    only: tuple[str, ...] = ()
    """Methods, or names of cells, that are run; left out: all."""
    tag: str = ""
    """A word that each run.json keeps, for `skilltokens list runs --tag`."""
    trust: bool = False
    """With a grid's folder: load the code and use the folders elsewhere that its grid.json names."""


def main(words: Sequence[str]) -> int:
    options = parse(GridOptions, words, PROG)
    again = shell("skilltokens", "grid", *words)
    try:
        return _run(options, again)
    except KeyboardInterrupt:
        print(f"\nskilltokens: stopped; `{again}` resumes where it stopped", file=sys.stderr)
        return 130


def _run(options: GridOptions, again: str) -> int:
    grid = read_grid(options.grid)
    careful = grid.place.endswith(KEPT) and not options.trust
    if careful:  # before any recipe is loaded
        _check_harmless(grid, {name for part in grid.parts for name in part.recipes if ":" in name})
    plan = plan_grid(grid, options.jobs, options.only, options.tag, options.dry_run)
    plan = replace(plan, cluster=options.place, profile=options.profile)
    if careful:
        _check_harmless(grid, {value for run in plan.runs for value in to_be_typed(run.settings).values()})
    left = unfinished(plan, "cell")
    if plan.dry:
        from skilltokens.cli.outlook import show

        return show(plan, left, "cells")
    from skilltokens.cli.execute import carry_out, conclude, prepare
    from skilltokens.cli.saying import say

    tell_idle(plan, left, {f"--{name}" for part in grid.parts for name in (*part.common, *part.settings, *part.vary)})
    ledger = _Ledger(grid, plan, left)
    failures: dict[str, str | None] = {**prepare(plan, left)}
    for name, failure in failures.items():
        ledger.finish(name, failure)
    failures |= carry_out(plan, [run for run in left if run.name not in failures], ledger)
    sentences = [f"{name}: {failure}" for name, failure in failures.items() if failure is not None]
    try:
        status = conclude(plan, sentences)
    finally:
        if sentences:
            print(f"note: `{again}` tries the cells that failed once more", file=sys.stderr)
    say(f"compare: skilltokens compare {shell(str(plan.out))}")
    return status


def _check_harmless(grid: Grid, risky: Collection[str]) -> None:
    """Raises SettingError where a grid.json, which anybody may have written, decides what only its user may."""
    if risky:
        named = ", ".join(sorted(risky))
        raise SettingError(
            f"{grid.place} names code or folders of this machine, which no such file may decide ({named:.300}): name "
            "the grid's own file, or add --trust if you trust it"
        )


class _Ledger:
    """A view that writes down in the grid's folder how its cells end."""

    def __init__(self, grid: Grid, plan: Plan, left: Sequence[PlannedRun]) -> None:
        self._grid = grid
        unfinished_names = {run.name for run in left}
        self._cells: dict[str, dict[str, Any]] = _kept_cells(grid.out, {folder.name for folder in plan.beside})
        for run in plan.runs:
            state = "waiting" if run.name in unfinished_names else "done"
            self._cells[run.name] = {**_entry(run), "state": state}
        keep(grid, list(self._cells.values()))

    def update(self, name: str, progress: Progress) -> None:
        """Progress is not kept: the run's own folder says how far it is."""

    def finish(self, name: str, failure: str | None) -> None:
        entry = {key: value for key, value in self._cells[name].items() if key != "failure"}
        ending = {"state": "done"} if failure is None else {"state": "failed", "failure": failure}
        self._cells[name] = {**entry, **ending}
        keep(self._grid, list(self._cells.values()))


def _kept_cells(out: Path, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Cells by name, as an earlier command left them: those that the grid has, and others that were begun."""
    if not (out / KEPT).exists():
        return {}
    try:
        cells = {str(cell.get("name")): cell for cell in read_kept(out)["cells"] if isinstance(cell, dict)}
    except RunError as problem:  # what it says can be told from the runs, but for why some failed
        print(terminal(f"note: {problem}; it is written anew"), file=sys.stderr)
        return {}
    return {name: cell for name, cell in cells.items() if name in names or (out / Path(name).name).is_dir()}


def _entry(run: PlannedRun) -> Mapping[str, Any]:
    return {
        "name": run.name,
        "recipe": run.recipe.name,
        "method": run.learner,
        "seed": run.seed,
        "varied": dict(run.varied),
    }
