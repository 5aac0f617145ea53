"""Runs of learning from reward (run.json of schema skilltokens.reward/1) -> a table, Markdown, and one HTML page.

A row is one way to learn on one task, over its seeds. Nothing is stored that can be computed from the counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens import metrics
from skilltokens.files import read_json
from skilltokens.recipes import learner_names
from skilltokens.report import text
from skilltokens.types import RunError

SCHEMA = "skilltokens.reward/1"
GOOD = 0.8
"""The success that counts as learned: how many environment steps did it take?"""


@dataclass(frozen=True)
class RewardRun:
    """One run.json."""

    path: Path
    content: dict[str, Any]

    @property
    def learner(self) -> str:
        return str(self.content["learner"])

    @property
    def variant(self) -> str:
        """What tells this run's settings from those of others of its learner: tokens, encoder, inputs."""
        config = self.content["config"]
        parts = []
        if config["ppo"]["tokens"] != 1:
            parts.append(f"{config['ppo']['tokens']} tokens")
        if not config["adapt"]["body"]:
            parts.append("without body state")
        if config["adapt"].get("picture"):
            parts.append("from a picture")
        if tuple(config["ppo"]["hidden"]) != (128, 128):
            parts.append(f"hidden {'x'.join(map(str, config['ppo']['hidden']))}")
        return ", ".join(parts)

    def of(self, task: str) -> dict[str, Any] | None:
        """What was found on a task; None where it is not learned yet."""
        return next((found for found in self.content["results"] if found["task"] == task), None)


@dataclass(frozen=True)
class Row:
    """One way to learn on one task, over its seeds."""

    task: str
    label: str
    seeds: tuple[int, ...]
    found: tuple[dict[str, Any], ...]

    @property
    def final(self) -> tuple[int, int]:
        """Successes and episodes at the end of training, all seeds together."""
        return sum(each["successes"][-1] for each in self.found), sum(each["episodes"] for each in self.found)

    @property
    def needed(self) -> list[int | None]:
        """For each seed the environment steps at the first point with GOOD success; None where there is none."""
        return [reached(each) for each in self.found]

    @property
    def trained(self) -> int:
        return int(self.found[0]["trained"])

    @property
    def steps(self) -> int:
        return int(self.found[0]["steps"][-1])

    @property
    def minutes(self) -> float:
        return statistics.fmean(each["seconds"] for each in self.found) / 60

    def mean(self, measure: str) -> str:
        """Of closeness to the experts' motion, as text; a dash where there is none."""
        known = [each["closeness"][measure] for each in self.found if "closeness" in each]
        return f"{statistics.fmean(known):.2f}" if known else text.DASH

    def changed(self) -> dict[tuple[str, float], tuple[int, int]]:
        """Successes and episodes under other physics, all seeds together."""
        cells: dict[tuple[str, float], tuple[int, int]] = {}
        for each in self.found:
            for cell in each.get("changed", []):
                good, tried = cells.get((cell["what"], cell["factor"]), (0, 0))
                cells[cell["what"], cell["factor"]] = (good + cell["successes"], tried + cell["episodes"])
        return cells


def reached(found: dict[str, Any]) -> int | None:
    """Environment steps at the first point of the curve with GOOD success."""
    for steps, good in zip(found["steps"], found["successes"], strict=True):
        if good >= GOOD * found["episodes"]:
            return int(steps)
    return None


def read_reward(path: Path) -> RewardRun:
    """One run.json, or the one in a folder.

    Raises:
        RunError: it is missing, damaged or of another kind.
    """
    path = Path(path) / "run.json" if Path(path).is_dir() else Path(path)
    content = read_json(path, SCHEMA, RunError)
    try:
        for found in content["results"]:
            _ = found["task"], found["steps"][-1], found["successes"][-1], found["episodes"], found["trained"]
            _ = found["seconds"], found["instruction"]
        _ = content["learner"], content["config"]["ppo"]["tokens"], content["tasks"][0]["name"], content["seed"]
    except (LookupError, TypeError) as problem:
        raise RunError(f"{path} is altered ({problem!r} is missing): restore it from a copy") from problem
    return RewardRun(path, content)


def is_reward(path: Path) -> bool:
    """Whether a run.json is of learning from reward."""
    try:
        return f'"{SCHEMA}"' in Path(path).read_text(encoding="utf-8")[:400]
    except OSError:
        return False


def tasks_in(runs: Sequence[RewardRun]) -> list[str]:
    """Every task, in the order of the runs."""
    return list(dict.fromkeys(task["name"] for run in runs for task in run.content["tasks"]))


def rows_of(runs: Sequence[RewardRun], task: str) -> list[Row]:
    """The rows of one task: learners in their own order, then variants."""
    order = list(learner_names())
    labels = dict.fromkeys(
        sorted({(run.learner, run.variant) for run in runs}, key=lambda pair: (order.index(pair[0]), pair[1]))
    )
    rows = []
    for learner, variant in labels:
        mine = [run for run in runs if (run.learner, run.variant) == (learner, variant) and run.of(task) is not None]
        mine.sort(key=lambda run: run.content["seed"])
        if mine:
            label = f"{learner} ({variant})" if variant else learner
            found = tuple(each for run in mine if (each := run.of(task)) is not None)
            rows.append(Row(task, label, tuple(run.content["seed"] for run in mine), found))
    return rows


# ---------------------------------------------------------------- words


def cells(row: Row) -> list[str]:
    """A row of the table, as text: label, seeds, final success, steps to GOOD, steps in all, parameters, closeness."""
    good, tried = row.final
    low, high = metrics.wilson(good, tried)
    return [
        row.label,
        str(len(row.seeds)),
        f"{good / tried:.3f} [{low:.3f} to {high:.3f}]",
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
    "told from motion",
    "training time",
]


SHORT_HEADS = ["learner", "seeds", "success", f"to {GOOD:.0%}", "steps", "trained", "distance", "told", "time"]
"""The same for a terminal."""


def needed(row: Row) -> str:
    """Steps to GOOD: the median over seeds, a seed that never gets there being the worst."""
    found = sorted(n if n is not None else float("inf") for n in row.needed)
    middle = found[(len(found) - 1) // 2] if len(found) % 2 else found[len(found) // 2]
    never = sum(n is None for n in row.needed)
    there = f"{middle:,.0f}" if middle != float("inf") else "never"
    return there if never in (0, len(found)) else f"{there} ({never} of {len(found)} never)"


def print_table(paths: Sequence[Path]) -> None:
    """The table on the terminal, task by task."""
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens.cli.table import output

    runs = [read_reward(path) for path in paths]
    for task in tasks_in(runs):
        table = Table(title=f"{runs[0].content['suite']}: {task}", title_justify="left", box=SIMPLE, pad_edge=False)
        for head in SHORT_HEADS:
            table.add_column(head, justify="left" if head == "learner" else "right", no_wrap=True)
        for row in rows_of(runs, task):
            table.add_row(*(cell.replace("[", "\\[") for cell in cells(row)))
        output().print(table)


CLOSENESS = (
    "*Distance to motion* is the mean distance to the nearest state of the experts' motion, that of held-out motion "
    "being 1; *told from motion* is the accuracy of a discriminator, .5 being none."
)


def about(runs: Sequence[RewardRun]) -> str:
    """What was steered and how success was counted, in two sentences."""
    content = runs[0].content
    model, adapt = content["model"], content["config"]["adapt"]
    if "motion" in model:
        what = (
            f"a behaviour model of {model['parameters']:,} parameters, distilled from {model['motion']['steps']:,} "
            "steps of motion by PPO experts, then frozen"
        )
    else:
        skills = text.plural(len(model.get("fingerprints", [])), "skill")
        what = f"a frozen library of {skills} on a base of {model.get('parameters', 0):,} parameters"
    return (
        f"Learning from reward with {content['suite']}: {what}. Success on {adapt['split']} states, "
        f"{adapt['episodes']} episodes a point."
    )


def unchanged(runs: Sequence[RewardRun]) -> bool:
    """Whether after every run the frozen policies had the same bits as before it."""
    models = [run.content["model"] for run in runs]
    return all(m.get("fingerprints") and m["fingerprints"] == m.get("fingerprints_after") for m in models)


def markdown(runs: Sequence[RewardRun]) -> str:
    """The section of RESULTS.md."""
    first = runs[0]
    model = first.content["model"]
    blocks = [f"{about(runs)} {CLOSENESS}" if "motion" in model else about(runs)]
    for task in tasks_in(runs):
        rows = rows_of(runs, task)
        if rows:
            blocks += [f"**{task}**", text.table(HEADS, [cells(row) for row in rows])]
            blocks += [text.table(*each) for each in (physics(rows), prompted(rows)) if each[1]]
    if "tracking" in model:
        said = "How the model follows goals, 40 steps along recorded motion:"
        blocks += [said, text.table(*tracking(model["tracking"]))]
    if unchanged(runs):
        skills = text.plural(len(model["fingerprints"]), "skill")
        blocks.append(f"After every run the frozen library ({skills}) had the same bits as before it (SHA-256).")
    commands = dict.fromkeys(str(run.content.get("command", "")) for run in runs)
    blocks.append("```sh\n" + "\n".join(command for command in commands if command) + "\n```")
    machines = dict.fromkeys(_machine(run) for run in runs)
    commits = dict.fromkeys(str(run.content.get("commit") or "unknown")[:12] for run in runs)
    blocks.append(f"On {'; '.join(machines)}. Commit {', '.join(commits)}.")
    return "\n\n".join(blocks) + "\n"


def physics(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The table of success under other gravity and friction: its heads and rows, none where nobody was measured."""
    columns = list(dict.fromkeys(key for row in rows for key in row.changed()))
    body = []
    for row in rows:
        good, tried = row.final
        there = row.changed()
        body.append([row.label, f"{good / tried:.2f}", *(_share(there.get(key)) for key in columns)])
    head = ["success with", "as it is", *(f"{what} x {factor:g}" for what, factor in columns)]
    return head, body if columns else []


def prompted(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The table of goals given beside what was learned: heads and rows, one for each speed asked for."""
    body = [
        [row.label, f"{cell['asked']:.1f}", f"{cell['speed']:.1f}", f"{cell['successes'] / cell['episodes']:.2f}"]
        for row in rows
        for cell in row.found[0].get("prompted", [])
    ]
    return ["with a goal beside", "speed asked for (m/s)", "speed while it moved (m/s)", "success"], body


def _share(cell: tuple[int, int] | None) -> str:
    return text.DASH if cell is None else f"{cell[0] / cell[1]:.2f}"


def tracking(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["goals given", "way off (m)", "joints off (rad)", "the recording moved (m)"]
    return head, [[r["goals"], f"{r['way']:.2f}", f"{r['joints']:.2f}", f"{r['moved']:.2f}"] for r in rows]


def _machine(run: RewardRun) -> str:
    machine = run.content["machine"]
    return f"{machine.get('processor', 'unknown')}, {machine.get('cores', '?')} cores"
