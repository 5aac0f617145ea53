"""The page of one experiment, results/EXPERIMENT/README.md: every task, comparisons in pairs, commands and machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from skilltokens import metrics
from skilltokens.escaping import markdown, shell
from skilltokens.report import contests, reward, text
from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.configs import machine, shown
from skilltokens.report.definitions import DEFINITIONS, LIFELONG, Definition
from skilltokens.report.finding import proved
from skilltokens.report.published import Published
from skilltokens.report.summary import Comparison, Group, chosen, defined, pairs, variants

HELD = next(definition for definition in DEFINITIONS if definition.key == "held")
FIGURES = tuple(definition.key for definition in DEFINITIONS if definition is not HELD)


def page(experiment: Published, root: Path, contest: Comparisons | None = None) -> str:
    """The page as text.

    Args:
        root: the folder of RESULTS.md and docs/, to which the page links.
        contest: the comparison of its runs, where many methods took part.
    """
    up = os.path.relpath(root, experiment.folder)
    head = (
        f"# {markdown(experiment.name)}\n\n"
        f"Made from the `run.json` files beside it by `make results`: do not edit it, change the runs or `about.md`. "
        f"[All results]({up}/RESULTS.md), [what each figure means]({up}/docs/metrics.md).\n"
    )
    parts = [head]
    if experiment.about:
        parts.append(experiment.about + "\n")
    if experiment.rewards:
        parts.append("## Figures\n\n" + reward.markdown(experiment.rewards))
    if contest is not None:
        parts.append(contests.detail(contest) + "\n")
    parts += [_section(comparison) for comparison in experiment.comparisons]
    return text.stacked("\n".join(parts))


def _section(comparison: Comparison) -> str:
    first = comparison.first
    demonstrations = first.record.demonstrations
    episodes = sorted({int(n) for group in comparison.groups for run in group.runs for n in run.episodes.ravel() if n})
    demonstrated = shown(sorted({int(n) for n in demonstrations.episodes}))
    choosers = shown(sorted({group.first.selected_by.replace("_", " ") for group in comparison.groups}))
    what = (
        f"{text.plural(len(comparison.tasks), 'task')} of {comparison.suite}, protocol {first.record.protocol}, "
        f"{first.record.observations} observations, {demonstrated} {demonstrations.source} "
        f"demonstrations a task; success on {first.split} states, {shown(episodes)} episodes a cell, the skill chosen "
        f"by {choosers}. "
        f"Tasks in order: {', '.join(comparison.tasks)}."
    )
    blocks = [
        "## Figures",
        markdown(what),
        figures(comparison),
        *_notes(comparison),
        *_pairs(comparison),
        "## Task by task",
        _tasks(comparison),
        *_wordings(comparison),
        *_variants(comparison),
        "## Commands",
        _commands(comparison),
        _machines(comparison),
    ]
    return "\n\n".join(blocks) + "\n"


def differences_of(comparisons: Sequence[Comparison]) -> list[str]:
    """What tells each comparison of an experiment from the others, in a word or two; nothing where there is one."""
    if len(comparisons) < 2:
        return [""] * len(comparisons)
    records = [comparison.first.record for comparison in comparisons]
    ways = (
        [f"{text.either(int(n) for n in record.demonstrations.episodes)} demonstrations" for record in records],
        [f"protocol {record.protocol}" for record in records],
        [f"{record.observations} observations" for record in records],
        [f"from {comparison.tasks[0]}" for comparison in comparisons],
    )
    telling = [way for way in ways if len(set(way)) > 1]
    return [", ".join(way[place] for way in telling) for place in range(len(comparisons))]


def figures(comparison: Comparison, keys: Sequence[str] = FIGURES) -> str:
    """The headline table: a row for each method, a column for each figure of `keys`."""
    definitions = [definition for definition in defined(comparison.groups) if definition.key in keys]
    head = ["method", "seeds", *(definition.title for definition in definitions)]
    rows = [
        [
            _label(group),
            shown([run.seed for run in group.runs]),
            *(_cell(definition, group) for definition in definitions),
        ]
        for group in comparison.groups
    ]
    return text.table(*text.named(head, rows))


def _label(group: Group) -> str:
    return group.label + ("" if group.finished else f" (unfinished: {group.learned} learned)")


def _cell(definition: Definition, group: Group) -> str:
    figure = group.figure(definition)
    if figure.value is None and definition.key in LIFELONG and group.joint:
        return text.DASH
    interval = f" [{text.span(figure.interval, definition.kind)}]" if figure.interval is not None else ""
    return text.number(figure.value, definition.kind) + interval


def _pairs(comparison: Comparison) -> list[str]:
    groups = comparison.groups
    rows = [
        [
            pair.b.label,
            text.apart(pair.final),
            f"{pair.final.wins} / {pair.final.ties} / {pair.final.losses}",
            text.apart(pair.fwt) if pair.fwt else text.DASH,
            text.plural(len(pair.seeds), "seed") if pair.final.over == "seeds" else "tasks (one seed)",
        ]
        for pair in pairs(groups)
    ]
    if not rows:
        return []
    head = ["against", "final success", "better / same / worse", "FWT", "interval over"]
    title = f"{markdown(groups[0].label)} less each other method, paired by seed and task:"
    return ["## In pairs", title, text.table(*text.named(head, rows))]


def _tasks(comparison: Comparison) -> str:
    """Final success of each task, counts pooled over seeds."""
    head = ["final success on", *(group.label for group in comparison.groups)]
    rows = []
    for k, name in enumerate(comparison.tasks):
        row = [name]
        for group in comparison.groups:
            good, tried, _ = group.cells
            last = len(comparison.tasks) - 1 if group.joint else group.learned - 1
            n = int(tried[last, k]) if last >= 0 else 0
            if n == 0:
                row.append(text.DASH)
                continue
            low, high = metrics.wilson(good[last, k], n)
            row.append(f"{good[last, k]}/{n} [{low:.2f} to {high:.2f}]")
        rows.append(row)
    return text.table(*text.named(head, rows))


def _wordings(comparison: Comparison) -> list[str]:
    lines = []
    for group in comparison.groups:
        right, wordings = chosen(group, held_out=True)
        if wordings:
            low, high = metrics.wilson(right, wordings)
            lines.append(f"{markdown(group.label)} {right} of {wordings} [{low:.2f} to {high:.2f}]")
    return [f"Held-out wordings that chose the right skill: {'; '.join(lines)}."] if lines else []


def _variants(comparison: Comparison) -> list[str]:
    """Each method on each variant of the suite: whether its words called the right skill, and the success."""
    rows = []
    for group in comparison.groups:
        for variant in variants(group):
            low, high = metrics.wilson(variant.successes, variant.episodes)
            rate = variant.successes / variant.episodes
            called = f"{variant.right} of {variant.calls}" if variant.calls else text.DASH
            rows.append([group.label, markdown(variant.suite), called, f"{rate:.3f} [{low:.3f} to {high:.3f}]"])
    if not rows:
        return []
    head = ["on a variant", "suite", "right skill called", "success"]
    return [
        "Evaluated once at the end on variants of the suite, which no method was trained on:",
        text.table(*text.named(head, rows)),
    ]


def _notes(comparison: Comparison) -> list[str]:
    held = [f"{markdown(g.label)} {_cell(HELD, g)}" for g in comparison.groups if g.figure(HELD).value is not None]
    notes = [f"FWT by LIBERO's own rule, the best point of each curve held: {'; '.join(held)}."] if held else []
    single = [markdown(group.label) for group in comparison.groups if len(group.runs) == 1]
    if single:
        notes.append(
            f"One seed only: {text.listed(single)}; the interval of final success is Wilson's over pooled episodes, "
            "and another seed may fall outside it."
        )
    counts = [(markdown(group.label), *proved(group)) for group in comparison.groups]
    words = [f"{label} {same} of {later}" for label, same, later in counts if same]
    if words:
        notes.append(f"Later cells proved the same bits as an earlier one, not run again: {'; '.join(words)}.")
    return notes


def _commands(comparison: Comparison) -> str:
    """The commands as they were recorded; where they were not, one for all methods with the same recipe and seeds."""
    commands: dict[str, None] = {}
    unrecorded: dict[tuple[str, str], list[str]] = {}
    for group in comparison.groups:
        recipe = group.first.record.recipe
        if recipe and not any(run.record.command for run in group.runs):
            seeds = " ".join(str(run.seed) for run in group.runs)
            unrecorded.setdefault((recipe, seeds), []).append(group.method)
        else:
            commands |= dict.fromkeys(run.command for run in group.runs)
    for (recipe, seeds), methods in unrecorded.items():
        words = ("skilltokens", "run", recipe, "--methods", *dict.fromkeys(methods), "--seeds")
        commands[f"{shell(*words)} {seeds}"] = None
    return text.fenced(commands)


def _machines(comparison: Comparison) -> str:
    runs = [run for group in comparison.groups for run in group.runs]
    machines = dict.fromkeys(machine(run) for run in runs)
    commits = dict.fromkeys(commit for run in runs for commit in text.commits(run.record))
    return markdown(f"On {'; '.join(machines)}. Commit {', '.join(commits)}.")
