"""Runs sorted into tables: those that are equal in every condition stand in one, and what keeps others out is said."""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens.report.comparison.costs import costs_of
from skilltokens.report.comparison.model import Comparisons, Contender, Table
from skilltokens.report.comparison.pairs import pairs_of
from skilltokens.report.conditions import CONDITIONS, UNSAID, Unequal, unequal
from skilltokens.report.definitions import DEFINITIONS
from skilltokens.report.runs import Run, ordered_as
from skilltokens.report.summary import Group, groups_of
from skilltokens.report.text import listed
from skilltokens.types import RunError

FINAL = next(definition for definition in DEFINITIONS if definition.key == "final")


def compare_runs(runs: Sequence[Run], assume_equal: bool = False) -> Comparisons:
    """The tables of some runs.

    Args:
        assume_equal: conditions that a file does not say are taken to be those of the others, which the tables then
            say.

    Raises:
        RunError: none was given, one comes twice, none has a test yet, or no two methods may be compared.
    """
    if not runs:
        raise RunError("no run was named: give run folders, such as runs/demo")
    untested = [f"{run.path} has no lesson yet that was tested" for run in runs if not run.learned]
    if len(untested) == len(runs):
        raise RunError(f"nothing here can be compared: {untested[0]}")
    runs = [run for run in runs if run.learned]
    # Runs that say all come first, so that what others do not say is taken from them.
    said = sorted(runs, key=lambda run: sum(condition.of(run) is None for condition in CONDITIONS))
    benches: list[list[Run]] = []
    for run in said:
        bench = next((b for b in benches if not any(unequal(one, run, assume_equal) for one in b)), None)
        if bench is None:
            benches.append([run])
        else:
            bench.append(run)
    given = {id(run): place for place, run in enumerate(runs)}
    benches = [sorted(bench, key=lambda run: given[id(run)]) for bench in benches]
    benches.sort(key=lambda bench: given[id(bench[0])])
    tables = tuple(_table(bench) for bench in benches)
    apart = tuple(_why_apart(benches[0], bench, assume_equal) for bench in benches[1:])
    if len(tables) > 1 and all(len(table.contenders) == 1 for table in tables):
        raise RunError(f"nothing here can be compared: {apart[0]}")
    return Comparisons(tables, apart, tuple(untested))


def _table(runs: Sequence[Run]) -> Table:
    """The table of runs that are equal in what they say."""
    lead = next((run for run in runs if not _unsaid(run)), runs[0])
    silent = {id(run): _unsaid(run) for run in runs}
    entered = [ordered_as(run, lead.tasks) if "order of the tasks" in silent[id(run)] else run for run in runs]
    assumed = {str(run.path): silent[id(run)] for run in runs if silent[id(run)] and len(runs) > 1}
    contenders = tuple(_contender(group, assumed) for group in groups_of(entered))
    pairs, missing = pairs_of(contenders)
    return Table(
        suite=lead.suite,
        tasks=lead.tasks,
        conditions={condition.name: _shown(condition.name, runs) for condition in CONDITIONS},
        contenders=contenders,
        pairs=tuple(pairs),
        assumed=tuple(
            f"{contender.label} does not say {listed(list(contender.assumed))}: taken to be equal"
            for contender in contenders
            if contender.assumed
        ),
        remarks=(*_unfinished(contenders), *missing, *_other_points(contenders)),
    )


def _contender(group: Group, assumed: dict[str, tuple[str, ...]]) -> Contender:
    names = [name for run in group.runs for name in assumed.get(str(run.path), ())]
    return Contender(group, costs_of(group), group.figure(FINAL), tuple(dict.fromkeys(names)))


def _unsaid(run: Run) -> tuple[str, ...]:
    """The names of the conditions that a run does not say."""
    return tuple(condition.name for condition in CONDITIONS if condition.of(run) is None)


def _shown(name: str, runs: Sequence[Run]) -> str:
    """A condition's value in a table, out of a run that says it."""
    condition = next(condition for condition in CONDITIONS if condition.name == name)
    return next((condition.shown(run) for run in runs if condition.of(run) is not None), UNSAID)


def _unfinished(contenders: Sequence[Contender]) -> list[str]:
    return [
        f"{contender.label} is unfinished: {contender.group.learned} of {len(contender.group.first.tasks)} lessons"
        for contender in contenders
        if not contender.finished
    ]


def _other_points(contenders: Sequence[Contender]) -> list[str]:
    """Areas under learning curves that were tested at other points are numbers of different things."""
    points = {contender.label: _points(contender) for contender in contenders if _points(contender)}
    if len(set(points.values())) <= 1:
        return []
    words = [f"{label} at {listed(list(values))}" for label, values in points.items()]
    return [f"FWT is not compared where lessons were tested at other shares of their training: {'; '.join(words)}"]


def _points(contender: Contender) -> tuple[str, ...]:
    return tuple(f"{share:g}" for share in sorted({s for run in contender.group.runs for s in run.points}))


def _why_apart(bench: Sequence[Run], others: Sequence[Run], assume_equal: bool) -> str:
    """In what two runs of two tables differ, in one sentence; what both say and say differently goes first."""
    pairs = [(first, other, unequal(first, other, assume_equal)) for first in bench for other in others]
    first, other, problems = max(pairs, key=lambda pair: (bool(_unlike(pair[2])), bool(pair[2])))
    unlike = _unlike(problems)
    if unlike:
        words = [f"{problem.condition.name} {problem.first} against {problem.second}" for problem in unlike]
        return f"{first.path} and {other.path} are not of equal conditions: {'; '.join(words)}"
    silent = [
        f"{run.path} does not say {listed(names)}"
        for run, side in ((first, "first"), (other, "second"))
        if (names := [problem.condition.name for problem in problems if getattr(problem, side) == UNSAID])
    ]
    return f"{'; '.join(silent)}: say it behind the file's name, or take it to be equal with --assume-equal"


def _unlike(problems: Sequence[Unequal]) -> list[Unequal]:
    return [problem for problem in problems if UNSAID not in (problem.first, problem.second)]
