"""Learning from reward, in words and tables: for the terminal and for RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens import metrics
from skilltokens.escaping import markdown as markdown_of
from skilltokens.experiments.records import Machine, Tracking
from skilltokens.report import text
from skilltokens.report.reward_runs import GOOD, RewardRun, Row, check_alike, rows_of, tasks_in


def cells(row: Row) -> list[str]:
    """A row of the table, as text: label, seeds, final success, steps to GOOD, steps in all, parameters, closeness."""
    good, tried = row.final
    interval = metrics.rate_interval(*zip(*((r.successes[-1], r.episodes) for r in row.results), strict=True))
    return [
        row.label,
        str(len(row.seeds)),
        f"{good / tried:.3f} [{interval.low:.3f} to {interval.high:.3f}]",
        needed(row),
        f"{row.steps:,}",
        f"{row.trained:,}",
        row.mean("neighbour"),
        row.mean("discriminator"),
        f"{row.minutes:.1f} min",
    ]


HEADS = [
    "learner",
    "seeds",
    "success at the end",
    f"steps to {GOOD:.0%}",
    "steps trained",
    "trained parameters",
    "distance to motion",
    "discriminator",
    "training time",
]


SHORT_HEADS = ["learner", "seeds", "success", f"to {GOOD:.0%}", "steps", "trained", "distance", "discr.", "time"]
"""The same for a terminal."""


def needed(row: Row) -> str:
    """Steps to GOOD: the median over seeds, a seed that never gets there being the worst."""
    never, seeds = sum(steps is None for steps in row.needed), len(row.needed)
    shown = "never" if row.middle is None else f"{row.middle:,.0f}"
    return shown if never in (0, seeds) else f"{shown} ({never} of {seeds} never)"


HEADLINE = "steps to"
"""How the head of the headline table begins."""

CLOSENESS = (
    "*Distance to motion* is the mean distance to the nearest state of the experts' motion, that of held-out motion "
    "being 1; *discriminator* is the accuracy of a classifier between its motion and theirs, .5 being chance."
)


def about(runs: Sequence[RewardRun]) -> str:
    """What was steered and how success was counted, in two sentences."""
    record, adapt = runs[0].record, runs[0].settings.adapt
    model = record.model
    if model.motion is not None:
        what = (
            f"a behaviour model of {model.parameters:,} parameters, distilled from {model.motion.steps:,} "
            "steps of motion by PPO experts, then frozen"
        )
    else:
        skills = text.plural(len(model.fingerprints), "skill")
        what = f"a frozen library of {skills} on a base of {model.parameters:,} parameters"
    return (
        f"Learning from reward with {record.suite}: {what}. Success on {adapt.split} states, "
        f"{adapt.episodes} episodes a point."
    )


def unchanged(runs: Sequence[RewardRun]) -> bool:
    """Whether after every run the frozen policies had the same bits as before it."""
    models = [run.record.model for run in runs]
    return all(model.fingerprints and model.fingerprints == model.fingerprints_after for model in models)


def markdown(runs: Sequence[RewardRun]) -> str:
    """The section of RESULTS.md."""
    check_alike(runs)
    model = runs[0].record.model
    basis = markdown_of(about(runs))
    blocks = [f"{basis} {CLOSENESS}" if model.motion is not None else basis, text.table(*text.named(*headline(runs)))]
    for task in tasks_in(runs):
        rows = rows_of(runs, task)
        if rows:
            blocks += [f"### {markdown_of(task)}", text.table(*text.named(HEADS, [cells(row) for row in rows]))]
            blocks += [text.table(*text.named(*table)) for table in beside(rows)]
    if model.tracking:
        title = "How the model follows goals of recorded motion, over 40 steps:"
        blocks += [title, text.table(*text.named(*tracking(model.tracking)))]
    if unchanged(runs):
        skills = text.plural(len(model.fingerprints), "skill")
        blocks.append(f"After every run the frozen library ({skills}) had the same bits as before it (SHA-256).")
    commands = dict.fromkeys(run.record.command for run in runs)
    blocks.append(text.fenced(command for command in commands if command))
    machines = dict.fromkeys(_machine(run) for run in runs)
    commits = dict.fromkeys(commit for run in runs for commit in text.commits(run.record))
    blocks.append(markdown_of(f"On {'; '.join(machines)}. Commit {', '.join(commits)}."))
    return "\n\n".join(blocks) + "\n"


def headline(runs: Sequence[RewardRun]) -> tuple[list[str], list[list[str]]]:
    """Every learner in one table: the steps until GOOD success held, task by task."""
    tasks = tasks_in(runs)
    rows = {(row.label, task): row for task in tasks for row in rows_of(runs, task)}
    body = []
    for label in dict.fromkeys(label for label, _ in rows):
        mine = [rows.get((label, task)) for task in tasks]
        some = next(row for row in mine if row is not None)
        cells = [text.DASH if row is None else needed(row) for row in mine]
        body.append([label, str(len(some.seeds)), f"{some.steps:,}", f"{some.trained:,}", *cells])
    return [f"{HEADLINE} {GOOD:.0%}", "seeds", "steps trained", "trained parameters", *tasks], body


def beside(rows: Sequence[Row]) -> list[tuple[list[str], list[list[str]]]]:
    """The tables of the further evaluations that have rows: heads and rows of each."""
    return [table for table in (physics(rows), commanded(rows), noisy(rows)) if table[1]]


def physics(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The table of success under other gravity and friction: its heads and rows; no rows where nothing was measured."""
    columns = list(dict.fromkeys(key for row in rows for key in row.changed()))
    body = []
    for row in rows:
        good, tried = row.final
        cells = row.changed()
        body.append([row.label, f"{good / tried:.2f}", *(_share(cells.get(key)) for key in columns)])
    head = ["success with", "as it is", *(f"{what} x {factor:g}" for what, factor in columns)]
    return head, body if columns else []


def noisy(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The table of success of untrained models under noise on the actions, as PPO has: its heads and rows."""
    columns = list(dict.fromkeys(key for row in rows for key in row.noisy()))
    body = []
    for row in rows:
        cells, (good, tried) = row.noisy(), row.final
        if cells:
            body.append([row.label, f"{good / tried:.2f}", *(_share(cells.get(key)) for key in columns)])
    return ["success under noise of log_std", "none", *(f"{column:g}" for column in columns)], body


def commanded(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The table of success beside commands: heads, and a row for each learner and commanded speed, over all seeds."""
    body = [
        [row.label, f"{target:.1f}", f"{speed:.1f}", _share(cell)]
        for row in rows
        for target, (speed, cell) in row.commanded().items()
    ]
    return ["beside a command", "commanded speed (m/s)", "speed while it moved (m/s)", "success"], body


def _share(cell: tuple[int, int] | None) -> str:
    return text.DASH if cell is None else f"{cell[0] / cell[1]:.2f}"


def tracking(rows: Sequence[Tracking]) -> tuple[list[str], list[list[str]]]:
    head = ["goals given", "way off (m)", "joints off (rad)", "the recording moved (m)"]
    return head, [[r.goals, f"{r.way:.2f}", f"{r.joints:.2f}", f"{r.moved:.2f}"] for r in rows]


def _machine(run: RewardRun) -> str:
    machine = run.record.machine or Machine("", "unknown", None)
    return f"{machine.processor}, {machine.cores or '?'} cores"
