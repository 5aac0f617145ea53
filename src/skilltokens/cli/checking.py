"""What is known of a plan before anything is made: which runs are left, which are impossible, and why."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from skilltokens.cli.planned import Plan, PlannedRun
from skilltokens.cli.varying import usual_settings
from skilltokens.escaping import terminal
from skilltokens.experiments.reading import read_record
from skilltokens.types import OtherConfigurationError, RunError, SettingError, SkilltokensError


def unfinished(plan: Plan, noun: str = "") -> list[PlannedRun]:
    """The runs that are not done, if all of them are possible: whatever can be known to fail is found here.

    Says on standard error what is going to be done, before torch is loaded: on a busy machine that takes a while.

    Args:
        noun: what a run is called where a sentence begins with its name; empty: sentences stand by themselves.

    Raises:
        OtherConfigurationError: folders hold runs of other settings; one sentence for all, with each setting once.
        SettingError, RunError: a run is impossible.
        ClusterError: the plan's cluster is not there, or cannot do its runs.
    """
    there = any(os.path.exists(run.folder / "run.json") for run in plan.runs)
    if there:  # to compare with it, torch is loaded here, else by the runs themselves
        _greet(plan)
    left: list[PlannedRun] = []
    others: dict[str, Sequence[str]] = {}
    for run in plan.runs:
        try:
            if not run.recipe.experiment.finished(run.folder, run.settings, run.recipe.name):
                left.append(run)
        except OtherConfigurationError as problem:
            others[str(run.folder)] = problem.changes
        except SkilltokensError as problem:
            if not noun:
                raise
            kind = SettingError if isinstance(problem, SettingError) else RunError
            raise kind(f"{noun} {run.name}: {problem}") from problem
    if others:
        elsewhere = "a new folder by out = ... in the grid's file" if noun else "a new folder with --out"
        raise OtherConfigurationError(list(others), _merged(others), elsewhere)
    if plan.cluster:
        from skilltokens.cli.cluster.planning import check_place

        check_place(plan, left)
    if not there:
        _greet(plan)
    return left


def _greet(plan: Plan) -> None:
    """The first sign of life, the same in any terminal and in none."""
    if not plan.dry:
        count = "1 run" if len(plan.runs) == 1 else f"{len(plan.runs)} runs"
        print(terminal(f"starting {count} in {plan.out}"), file=sys.stderr, flush=True)


def _merged(others: dict[str, Sequence[str]]) -> list[str]:
    """The changes of several runs, each once: those of some alone say whose they are."""
    owners: dict[str, list[str]] = {}
    for folder, changes in others.items():
        for change in changes:
            owners.setdefault(change, []).append(folder)
    return [
        change if len(folders) == len(others) else f"{change} in {', '.join(folders)}"
        for change, folders in owners.items()
    ]


def check_evaluation(settings: Any, typed: Collection[str], fixed: Mapping[str, Any], why: str) -> None:
    """Checks that no option was typed that would be heeded nowhere.

    Args:
        fixed: settings of `evaluate` that are not their user's to choose, and their values.
        why: how everything is evaluated.

    Raises:
        SettingError: one was typed, with another value.
    """
    for name, value in fixed.items():
        group, negated = f"--evaluate.{name}", f"--evaluate.no-{name}"
        if {group, negated} & set(typed) and getattr(settings.evaluate, name) != value:
            how = f"{group} {value}" if isinstance(value, str | int) and value is not False else negated
            how = f"leave out {group}" if value == () else how
            raise SettingError(f"{group} is not yours to choose here: {why} ({how})")


def tell_idle(plan: Plan, left: Sequence[PlannedRun], typed: Collection[str]) -> None:
    """Says on standard error which of the typed options change nothing, since the runs that they are for are finished.

    Args:
        typed: options, as they are typed.
    """
    waiting = {run.name for run in left}
    idle: dict[str, list[str]] = {}
    for run in plan.runs:
        if run.name in waiting:
            continue
        record = read_record(run.folder)
        was, now = (usual_settings(s) for s in (run.recipe.experiment.settings_in(record), run.settings))
        for name in (free.replace("_", "-") for free in run.recipe.experiment.free()):
            if was.get(name) != now.get(name) and _forms(name) & set(typed):
                idle.setdefault(f"--{name}", []).append(run.name)
        if plan.tag and plan.tag != record.tag:
            idle.setdefault("--tag", []).append(run.name)
    for option, names in idle.items():
        who = f"the run {names[0]} is finished" if len(names) == 1 else f"{len(names)} of the runs are finished"
        print(terminal(f"note: {option} changes nothing: {who}"), file=sys.stderr)


def _forms(name: str) -> set[str]:
    """An option with and without its `no-`."""
    group, dot, last = name.rpartition(".")
    return {f"--{name}", f"--{group}{dot}no-{last}"}
