"""results/**/run.json -> every published figure, made from the runs behind it and checked against them.

`python -m skilltokens.report.results [--folder results] [--check]`

Writes, beside that folder, RESULTS.md, docs/*.svg and the marked parts of README.md, and in it a page for each
experiment. `--check` writes nothing and fails where one of these files is not what the runs say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from skilltokens.escaping import markdown, shell, terminal
from skilltokens.files import write_bytes
from skilltokens.report import details, few, reward, text
from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.contests import PLOTS, TOURNAMENT, TOURNAMENT_PAGE, contests, picture, summary, tournament
from skilltokens.report.definitions import DEFINITIONS
from skilltokens.report.finding import basis, name_of, page_of, place_of, sentences, suites_table
from skilltokens.report.pictures import pictures
from skilltokens.report.published import Published, main_comparisons, read_published
from skilltokens.report.readme import filled
from skilltokens.report.reward_runs import GOOD, rows_of, tasks_in
from skilltokens.report.summary import Comparison, versus
from skilltokens.report.transfer import read_matrices, transfer_files
from skilltokens.report.transfer import summary as summary_of_transfer
from skilltokens.types import RunError, SkilltokensError

HEAD = """# Results

Made from the `run.json` files under `{folder}/` by `make results`: do not edit it, change the runs.
"""
READING = """Square brackets hold 95 % intervals: Student's t over seeds for means of several seeds (two or three
tell little, and it is wide), Wilson's interval for counts. [docs/metrics.md](docs/metrics.md) defines each figure.
Demonstrations by scripted experts are called that: such figures do not compare with those from human demonstrations.
Each experiment has a page with every task, the comparisons in pairs, the commands, the machine and what was tried.
"""
PARTS = {
    "Learning from demonstrations": lambda experiment: not experiment.ablation and bool(experiment.comparisons),
    "Learning from reward": lambda experiment: not experiment.ablation and not experiment.comparisons,
    "Ablations": lambda experiment: experiment.ablation,
}
"""The parts of RESULTS.md, and which experiments stand in each."""
FINAL = next(definition for definition in DEFINITIONS if definition.key == "final")
SHORT = ("final", "fwt", "nbt", "forgotten", "miscalled", "auc")
"""The figures of RESULTS.md; an experiment's page has all."""
MOST = 8
"""More learners and settings than these are counted in the summary, not named."""


def texts_of(folder: Path) -> dict[Path, str]:
    """The text of every file that is made from the runs below `folder`, by its path.

    Raises:
        RunError: there is no run below `folder`, one cannot be read, or README.md has no place for the results.
    """
    folder = Path(folder)
    root, published = folder.parent, read_published(folder)
    many = contests(published)
    transfer = read_matrices(folder)
    page = results(published, many, folder.name)
    files = {root / "RESULTS.md": page + ("\n" + summary_of_transfer(transfer, folder.name) if transfer else "")}
    files |= transfer_files(folder)
    files |= {e.folder / "README.md": details.page(e, root, many.get(e.name)) for e in published}
    files |= {e.folder / PLOTS: picture(many[e.name]) for e in published if e.name in many}
    files |= {root / path: drawing for path, drawing in pictures(published).items()}
    for experiment in published:
        if experiment.name == TOURNAMENT in many:
            files[root / TOURNAMENT_PAGE] = tournament(experiment, many[experiment.name])
    readme = root / "README.md"
    if readme.is_file():
        files[readme] = filled(published, many, _read(readme))
    return files


def write_results(folder: Path) -> list[Path]:
    """Writes what is made from the runs below `folder`, each file atomically, and returns the paths.

    Raises:
        RunError: as `texts_of`, or a file cannot be written.
    """
    files = texts_of(folder)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.encode(), RunError)
    return list(files)


def check_results(folder: Path) -> None:
    """Passes silently where every file is what the runs below `folder` say.

    Raises:
        RunError: one is missing or differs; the sentence names the first line that does.
    """
    for path, content in texts_of(folder).items():
        lines, fresh = _read(path).splitlines(), content.splitlines()
        differing = (i for i, (a, b) in enumerate(zip(lines, fresh, strict=False), start=1) if a != b)
        number = next(differing, None)
        if number is not None or len(lines) != len(fresh):
            where = f"line {number}" if number is not None else "its length"
            raise RunError(f"{path} is stale in {where}: make it again with `{_command(folder)}`")


def results(published: Sequence[Published], many: Mapping[str, Comparisons], folder: str = "results") -> str:
    """The text of RESULTS.md: all experiments in one table, how to read it, and each one's headline table."""
    parts = [HEAD.format(folder=folder)]
    main = main_comparisons(published)
    if main:
        parts.append(f"{sentences(main)} {few.sentence(many)}".strip() + "\n")
    present = {title: [e for e in published if belongs(e)] for title, belongs in PARTS.items()}
    present = {title: experiments for title, experiments in present.items() if experiments}
    parts += [_summary(present) + "\n", READING]
    if main:
        parts += ["## Methods by suites\n", suites_table(main) + "\n", basis(main) + "\n"]
    for title, experiments in present.items():
        parts.append(f"## {title}\n")
        parts += [_section(experiment, many.get(experiment.name)) for experiment in experiments]
    return text.stacked("\n".join(parts))


def _summary(parts: dict[str, list[Published]]) -> str:
    """One row for each experiment, with links to its part and its page: how much was learned, and how it ended."""
    rows = []
    for title, experiments in parts.items():
        rows.append([f"**[{title}](#{title.lower().replace(' ', '-')})**", "", "", "", ""])
        for experiment in experiments:
            place = f"#{experiment.name}"
            ends = [text.linked(experiment.name, place), text.linked("page", page_of(experiment))]
            apart = details.differences_of(experiment.comparisons)
            rows += [
                [ends[0], *_endings(comparison, what), ends[1]]
                for comparison, what in zip(experiment.comparisons, apart, strict=True)
            ]
            if experiment.rewards:
                rows.append([ends[0], *_outcome(experiment), ends[1]])
    head = ["experiment", "tasks", "seeds", f"final success, or tasks held at {100 * GOOD:.0f} %", "page"]
    return text.table(head, rows).replace("---:", "---")


def _endings(comparison: Comparison, what: str) -> list[str]:
    """The cells of learning from demonstrations: tasks, seeds, and how each method ended.

    Args:
        what: tells the comparison from others of its experiment.
    """
    groups = sorted(comparison.groups, key=lambda group: place_of(name_of(group)))
    values = {group.label: group.figure(FINAL).value or 0.0 for group in groups}
    if len(groups) > MOST:
        groups.sort(key=lambda group: -values[group.label])
    words = [f"{markdown(name_of(group))} {text.rate(values[group.label])}" for group in groups]
    tasks = f"{len(comparison.tasks)}{', ' * bool(what)}{markdown(what)}"
    return [tasks, _range({len(group.runs) for group in groups}), ", ".join(words)]


def _outcome(experiment: Published) -> list[str]:
    """The cells of learning from reward: tasks, seeds, and on how many of its tasks each learner got there."""
    tasks = tasks_in(experiment.rewards)
    rows = [row for task in tasks for row in rows_of(experiment.rewards, task)]
    counts: dict[str, list[bool]] = {}
    for row in rows:
        counts.setdefault(row.label, []).append(not reward.needed(row).startswith("never"))
    if len(counts) > MOST:
        good = sum(all(held) for held in counts.values())
        learners = text.listed(list(dict.fromkeys(run.learner for run in experiment.rewards)))
        ending = f"on all of them with {good} of {len(counts)} settings of {learners}"
    else:
        ending = ", ".join(f"{label} {sum(held)} of {len(held)}" for label, held in counts.items())
    return [str(len(tasks)), _range({len(row.seeds) for row in rows}), markdown(ending)]


def _range(counts: set[int]) -> str:
    return " to ".join(str(count) for count in dict.fromkeys((min(counts), max(counts))))


def _section(experiment: Published, contest: Comparisons | None) -> str:
    """An experiment's part of RESULTS.md; what its page says besides is not repeated."""
    blocks = [f"### {markdown(experiment.name)}"]
    if experiment.sentence:
        blocks.append(experiment.sentence)
    if contest is not None:
        blocks.append(summary(contest, f"{experiment.place}/{PLOTS}"))
    else:
        for comparison in experiment.comparisons:
            blocks += [details.figures(comparison, SHORT), *_against_lora(comparison)]
    if experiment.rewards:
        blocks.append(text.table(*text.named(*reward.headline(experiment.rewards))))
    blocks.append(text.linked("Every task, commands and machine", page_of(experiment)))
    return "\n\n".join(blocks) + "\n"


def _against_lora(comparison: Comparison) -> list[str]:
    """The paired difference that matters most, in a sentence."""
    groups = {group.label: group for group in comparison.groups}
    pair = versus(groups["t2s"], groups["lora"]) if {"t2s", "lora"} <= set(groups) else None
    if pair is None:
        return []
    figures = [("final success", pair.final), *([("FWT", pair.fwt)] if pair.fwt else [])]
    words = [f"{name} {text.apart(figure)}" for name, figure in figures]
    over = text.plural(len(pair.seeds), "seed") if pair.final.over == "seeds" else "tasks (one seed)"
    return [f"T2S less LoRA, in pairs: {', '.join(words)}; intervals over {over}."]


def _command(folder: Path) -> str:
    other = f" --folder {shell(str(folder))}" if Path(folder).name != "results" else ""
    return f"python -m skilltokens.report.results{other}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise RunError(f"{path} could not be read ({problem.strerror}): make it with `make results`") from problem


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns 0, or 2 after printing one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m skilltokens.report.results", description="Makes RESULTS.md and what else is made from the runs."
    )
    parser.add_argument("--folder", type=Path, default=Path("results"), help="where the runs are")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    options = parser.parse_args(words)
    try:
        if options.check:
            check_results(options.folder)
        else:
            print(*write_results(options.folder), sep="\n")
    except SkilltokensError as problem:
        print(f"skilltokens: {terminal(str(problem))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
