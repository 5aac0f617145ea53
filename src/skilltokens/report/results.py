"""results/**/run.json -> RESULTS.md: every published figure, made from the runs behind it and checked against them.

`python -m skilltokens.report.results [--folder results] [--out RESULTS.md] [--check]`

Runs are kept at results/EXPERIMENT/RUN/run.json. An experiment's own about.md, if there is one, is put above its
tables. `--check` writes nothing and fails where RESULTS.md is not what the runs say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skilltokens import metrics
from skilltokens.experiments.records import RewardRecord, read_record
from skilltokens.files import write_bytes
from skilltokens.report import text
from skilltokens.report.command import write_or_check
from skilltokens.report.configs import machine, shown
from skilltokens.report.definitions import DEFINITIONS, LIFELONG, Definition
from skilltokens.report.reward import markdown
from skilltokens.report.reward_runs import read_reward_run
from skilltokens.report.runs import read_run
from skilltokens.report.summary import Comparison, Group, chosen, compare, variants, versus
from skilltokens.types import RunError

HELD = next(definition for definition in DEFINITIONS if definition.key == "held")
HEAD = """# Results

Made from the `run.json` files under `{folder}/` by `{command}`: do not edit it, change the runs.
Each figure is defined in [docs/metrics.md](docs/metrics.md). Square brackets hold 95 % intervals: Student's t
over seeds for means of several seeds (two or three seeds tell little, and it is wide), Wilson's interval for counts.
Demonstrations by scripted experts are called that: such figures do not compare with those from human demonstrations.
"""


def write_results(folder: Path, out: Path) -> Path:
    """Writes `out` from all runs below `folder`, atomically, and returns it.

    Raises:
        RunError: there is no run, one cannot be read, or `out` cannot be written.
    """
    write_bytes(Path(out), results(folder).encode(), RunError)
    return Path(out)


def check_results(folder: Path, out: Path) -> None:
    """Passes silently where `out` is what the runs below `folder` say.

    Raises:
        RunError: `out` is missing or differs; the sentence names the first line that does.
    """
    wanted = results(folder).splitlines()
    try:
        found = Path(out).read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise RunError(f"{out} could not be read ({problem.strerror}): make it with `{_command(folder)}`") from problem
    for number, (is_, should) in enumerate(zip(found, wanted, strict=False), start=1):
        if is_ != should:
            raise RunError(f"{out} is stale in line {number}: make it again with `{_command(folder)}`")
    if len(found) != len(wanted):
        raise RunError(f"{out} is stale in its length: make it again with `{_command(folder)}`")


def results(folder: Path) -> str:
    """The text of RESULTS.md.

    Raises:
        RunError: there is no run below `folder`, or one cannot be read.
    """
    folder = Path(folder)
    experiments: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("run.json")):
        experiments.setdefault(path.parent.parent, []).append(path)
    if not experiments:
        raise RunError(f"{folder} holds no run.json: put runs at {folder}/EXPERIMENT/RUN/run.json")
    parts = [HEAD.format(folder=folder.name, command=_command(folder))]
    for experiment, paths in experiments.items():
        parts.append(f"## {experiment.relative_to(folder) if experiment != folder else folder.name}\n")
        about = experiment / "about.md"
        if about.is_file():
            parts.append(about.read_text(encoding="utf-8").strip() + "\n")
        rewards = [path for path in paths if isinstance(read_record(path), RewardRecord)]
        if rewards:
            parts.append(markdown([read_reward_run(path) for path in rewards]))
        lifelong = [read_run(path) for path in paths if path not in rewards]
        parts += [_section(comparison) for comparison in compare(lifelong)] if lifelong else []
    return "\n".join(parts)


def _command(folder: Path) -> str:
    other = f" --folder {folder}" if Path(folder).name != "results" else ""
    return f"python -m skilltokens.report.results{other}"


def _section(comparison: Comparison) -> str:
    first = comparison.first
    made = first.record.demonstrations
    episodes = sorted({int(n) for group in comparison.groups for run in group.runs for n in run.episodes.ravel() if n})
    episodes_made = shown(sorted({int(n) for n in made.episodes}))
    choosers = shown(sorted({group.first.selected_by.replace("_", " ") for group in comparison.groups}))
    what = (
        f"{text.plural(len(comparison.tasks), 'task')} of {comparison.suite}, protocol {first.record.protocol}, "
        f"{first.record.observations} observations, {episodes_made} {made.source} "
        f"demonstrations a task; success on {first.split} states, {shown(episodes)} episodes a cell, the skill chosen "
        f"by {choosers}. "
        f"Tasks in order: {', '.join(comparison.tasks)}."
    )
    blocks = [
        what,
        _headline(comparison),
        *_pairs(comparison),
        _tasks(comparison),
        *_wordings(comparison),
        *_variants(comparison),
    ]
    blocks += [*_notes(comparison), _commands(comparison), _machines(comparison)]
    return "\n\n".join(blocks) + "\n"


def _headline(comparison: Comparison) -> str:
    head = ["method", "seeds", *(definition.title for definition in DEFINITIONS if definition is not HELD)]
    rows = [
        [
            _label(group),
            shown([run.seed for run in group.runs]),
            *(_cell(definition, group) for definition in DEFINITIONS if definition is not HELD),
        ]
        for group in comparison.groups
    ]
    return text.table(head, rows)


def _label(group: Group) -> str:
    return group.label + ("" if group.finished else f" (unfinished: {group.learned} learned)")


def _cell(definition: Definition, group: Group) -> str:
    figure = group.figure(definition)
    if figure.value is None and definition.key in LIFELONG and group.joint:
        return text.DASH
    interval = f" [{text.span(figure.interval, definition.kind)}]" if figure.interval is not None else ""
    if figure.interval is not None and figure.interval.low == figure.interval.high:
        interval = ""
    return text.number(figure.value, definition.kind) + interval


def _pairs(comparison: Comparison) -> list[str]:
    groups = comparison.groups
    pairs = [pair for other in groups[1:] if (pair := versus(groups[0], other)) is not None]
    if not pairs:
        return []
    rows = [
        [
            pair.b.label,
            f"{text.signed(pair.final.difference)} [{text.span(pair.final.interval)}]",
            f"{pair.final.wins} / {pair.final.ties} / {pair.final.losses}",
            f"{text.signed(pair.fwt.difference)} [{text.span(pair.fwt.interval)}]" if pair.fwt else text.DASH,
            text.plural(len(pair.seeds), "seed") if pair.final.over == "seeds" else "tasks (one seed)",
        ]
        for pair in pairs
    ]
    head = ["against", "final success", "better / same / worse", "FWT", "interval over"]
    return [f"{groups[0].label} less each other method, paired by seed and task:", text.table(head, rows)]


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
    return text.table(head, rows)


def _wordings(comparison: Comparison) -> list[str]:
    lines = []
    for group in comparison.groups:
        right, asked = chosen(group, held_out=True)
        if asked:
            low, high = metrics.wilson(right, asked)
            lines.append(f"{group.label} {right} of {asked} [{low:.2f} to {high:.2f}]")
    return [f"Held-out wordings that chose the right skill: {'; '.join(lines)}."] if lines else []


def _variants(comparison: Comparison) -> list[str]:
    """Each method on each variant of the suite: whether its words called the right skill, and the success."""
    rows = []
    for group in comparison.groups:
        for found in variants(group):
            low, high = metrics.wilson(found.successes, found.episodes)
            rate = found.successes / found.episodes
            called = f"{found.right} of {found.asked}" if found.asked else text.DASH
            rows.append([group.label, found.suite, called, f"{rate:.3f} [{low:.3f} to {high:.3f}]"])
    if not rows:
        return []
    head = ["on a variant", "suite", "right skill called", "success"]
    return [
        "Evaluated once at the end on variants of the suite, which no method was trained on:",
        text.table(head, rows),
    ]


def _notes(comparison: Comparison) -> list[str]:
    held = [f"{g.label} {_cell(HELD, g)}" for g in comparison.groups if g.figure(HELD).value is not None]
    notes = [f"FWT by LIBERO's own rule, the best point of each curve held: {'; '.join(held)}."] if held else []
    single = [group.label for group in comparison.groups if len(group.runs) == 1]
    if single:
        notes.append(
            f"One seed only: {text.listed(single)}; the interval of final success is Wilson's over pooled episodes, "
            "and another seed may fall outside it."
        )
    proved = []
    for group in comparison.groups:
        lower = [(np.tril(run.same, -1), np.tril(run.episodes > 0, -1)) for run in group.runs if not run.joint]
        same, later = (sum(int(cells[i].sum()) for cells in lower) for i in (0, 1))
        if same:
            proved.append(f"{group.label} {same} of {later}")
    if proved:
        notes.append(f"Later cells proved the same bits as an earlier one, not run again: {'; '.join(proved)}.")
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
        commands[f"skilltokens run {recipe} --methods {' '.join(dict.fromkeys(methods))} --seeds {seeds}"] = None
    return "```sh\n" + "\n".join(commands) + "\n```"


def _machines(comparison: Comparison) -> str:
    runs = [run for group in comparison.groups for run in group.runs]
    machines = dict.fromkeys(machine(run) for run in runs)
    commits = dict.fromkeys(commit for run in runs for commit in text.commits(run.record))
    return f"On {'; '.join(machines)}. Commit {', '.join(commits)}."


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns 0, or 2 after printing one sentence."""
    parser = argparse.ArgumentParser(prog="python -m skilltokens.report.results", description="Makes RESULTS.md.")
    parser.add_argument("--folder", type=Path, default=Path("results"), help="where the runs are")
    parser.add_argument("--out", type=Path, default=Path("RESULTS.md"), help="the file to write or to check")
    return write_or_check(words, parser, write_results, check_results)


if __name__ == "__main__":
    sys.exit(main())
