"""`skilltokens tune`: the same number of trials for each method, each a run like any other, on validation states."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilltokens.cli.checking import check_evaluation, unfinished
from skilltokens.cli.options import parse_known
from skilltokens.cli.plan import plan_of_demonstrated
from skilltokens.cli.planned import Plan, PlannedRun
from skilltokens.configuration import Count, check_number
from skilltokens.experiments.tuning import EVALUATION, as_trial, changed, changes_of
from skilltokens.types import RunError, SettingError

if TYPE_CHECKING:
    from skilltokens.report.tuning import Trial

PROG = "skilltokens tune"


@dataclass(frozen=True)
class TuneOptions:
    """Tries the same number of settings of each method on validation states, and says which were best.

    skilltokens tune RECIPE takes every option of `skilltokens run RECIPE` besides these. A trial is a run of its own,
    in OUT/METHOD-trialK, with one seed, evaluated once at its end on validation states, which are never reported. The
    first trial is the recipe as it is; what the others change, a method declares, or it is its learning rate times
    1/2, 2 and 1/4. The trial with the most success on all tasks at the end is chosen. After Ctrl-C or a crash, the same
    command resumes where it stopped; trials that are done are not run again. OUT (runs/RECIPE-tuning, if you name no
    --out) gets every trial in tuning.json and, as a table, in tuning.md.

    examples:
      skilltokens tune demo --methods t2s lora sequential
      skilltokens tune metaworld-cw10 --methods t2s lora --tasks push-wall faucet-close shelf-place \\
        --evaluate.episodes 10 --evaluate.horizon 200 --docs docs/tuning.md
    """

    trials: Count = 4
    """Trials of each method."""
    docs: Path | None = None
    """A Markdown file for the table of all trials, besides OUT/tuning.md."""


@dataclass(frozen=True)
class PlannedTrial:
    """A run of the plan, and what it changes in the method's settings."""

    run: PlannedRun
    changes: dict[str, Any]
    number: int


def main(words: Sequence[str]) -> int:
    try:
        return _tune(words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command resumes where it stopped", file=sys.stderr)
        return 130


def _tune(words: Sequence[str]) -> int:
    options, plan, trials = plan_of(words)
    left = unfinished(plan)
    if plan.dry:
        from skilltokens.cli.outlook import show

        return show(plan, left, "trials")
    from skilltokens.cli.execute import carry_out, prepare

    failures: dict[str, str | None] = {**prepare(plan, left)}
    failures |= carry_out(plan, [run for run in left if run.name not in failures])
    done = [_read(trial) for trial in trials]
    if any(trial.run for trial in done):
        _conclude(options, plan, done)
    sentences = dict.fromkeys(failure for failure in failures.values() if failure is not None)
    if sentences:
        raise RunError("; ".join(sentences))
    return 0


def plan_of(words: Sequence[str]) -> tuple[TuneOptions, Plan, list[PlannedTrial]]:
    """The trials of one command line, as runs of a plan.

    Raises:
        SettingError: an unknown recipe, method or option, an impossible value, or methods that cannot have the same
            number of trials.
    """
    recipe = "" if not words or words[0].startswith("-") else words[0]
    options, rest = parse_known(TuneOptions, words[1:] if recipe else words, PROG)
    check_number("--trials", options.trials, Count)
    if not recipe:
        raise SettingError(f"name a recipe first, such as `{PROG} demo`: see `skilltokens list recipes`")
    names = {group[0] for group in rest}
    plan = plan_of_demonstrated(recipe, rest, "tuning", "only methods that learn from demonstrations are tuned")
    for run in plan.runs:
        check_evaluation(
            run.settings, names, EVALUATION, "trials are evaluated once, at their end, on validation states"
        )
        if run.varied:
            raise SettingError("what trials vary a method declares: leave out --vary, or use `skilltokens run` with it")
    if len({run.seed for run in plan.runs}) > 1:
        raise SettingError("every trial has the same one seed: give --seed, or --seeds with one number")
    command = shlex.join(["skilltokens", "tune", *words])
    trials = [trial for run in plan.runs for trial in _trials_of(run, plan.out, options.trials, command)]
    return options, dataclasses.replace(plan, runs=tuple(trial.run for trial in trials)), trials


def _trials_of(run: PlannedRun, out: Path, count: int, command: str) -> list[PlannedTrial]:
    settings, trials = as_trial(run.settings), []
    for number, changes in enumerate(changes_of(settings.method, count)):
        method = changed(run.learner, settings.method, changes)
        folder = out / f"{run.learner}-trial{number}"
        of_trial = dataclasses.replace(settings, method=method)
        planned = dataclasses.replace(run, settings=of_trial, folder=folder, command=command)
        trials.append(PlannedTrial(planned, changes, number))
    return trials


def _conclude(options: TuneOptions, plan: Plan, done: Sequence[Trial]) -> None:
    """Prints all trials and what was chosen, and writes both down."""
    from skilltokens.cli.saying import cells, say
    from skilltokens.cli.tables import empty_table, output
    from skilltokens.report.tuning import HEAD, best_of, by_method, fragment, rows_of, words_of, write_tuning

    first = plan.runs[0]
    files = write_tuning(plan.out, first.recipe.name, first.command, done, options.docs)
    table = empty_table(f"{options.trials} trials of each method on validation states")
    for head in HEAD:
        table.add_column(head, justify="right" if head in ("final", "learned", "lost") else "left")
    for row in rows_of(done):
        table.add_row(*cells(row))
    output().print(table)
    for method, tried in by_method(done).items():
        best = best_of(tried)
        if best is None:
            say(f"{method}: every trial failed")
        else:
            say(f"{method}: {words_of(best) or 'the recipe as it is'}")
    print(f"\nFor the file of a grid:\n\n{fragment(done)}\n")
    for file in files:
        say(f"written: {file}")


def _read(trial: PlannedTrial) -> Trial:
    from skilltokens.report.runs import read_run
    from skilltokens.report.tuning import Trial

    folder = trial.run.folder
    run = read_run(folder) if (folder / "run.json").exists() else None
    return Trial(trial.run.learner, trial.number, trial.changes, folder, run if run and run.finished else None)
