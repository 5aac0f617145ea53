"""The trials of `skilltokens tune`, from their run.json files: which settings were best, and every trial in a table.

tuning.json (docs/formats.md) keeps all of them with their counts, tuning.md lists them for the docs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.configuration import plain
from skilltokens.escaping import markdown, shell
from skilltokens.experiments.rereading import lifelong_settings_in
from skilltokens.files import sealed, write_bytes, write_json
from skilltokens.report.runs import Run
from skilltokens.report.text import fenced, listed, named, plural, rate, table
from skilltokens.types import RunError

SCHEMA = "skilltokens.tuning/1"
HEAD = ("method", "settings", "final", "learned", "lost", "")
"""Of the table of trials."""


@dataclass(frozen=True)
class Trial:
    """One trial of a method: its run, or None where that failed."""

    method: str
    number: int
    changes: Mapping[str, Any]
    """What it changes in the recipe's settings of the method."""
    folder: Path
    run: Run | None

    @property
    def figures(self) -> tuple[float, float, float | None] | None:
        """(final, learned, lost), means over the tasks, a joint method's learned its final; None where it failed."""
        figures = self.run.figures if self.run is not None else None
        if figures is None:
            return None
        return figures.final, figures.final if figures.learned is None else figures.learned, figures.lost

    @property
    def cost(self) -> tuple[float, int, int]:
        """Passes of a batch through the policy, parameters stored and bytes remembered at the end."""
        assert self.run is not None
        record = self.run.record
        steps = [lesson.iterations[-1] + 1 for lesson in record.learning]
        passes = record.passes or [1.0] * len(steps)
        effort = sum(each * count for each, count in zip(passes, steps, strict=True))
        return effort, max(record.parameters.total, default=0), max(record.remembered, default=0)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the most final success; of equal ones that which learned most, then the cheapest, then the first.

    None where every trial failed.
    """

    def rank(trial: Trial) -> tuple[float, ...]:
        final, learned, _ = trial.figures or (0.0, 0.0, None)
        return (-final, -learned, *trial.cost, trial.number)

    return min((trial for trial in trials if trial.figures is not None), key=rank, default=None)


def by_method(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The trials of each method, in their order."""
    return {name: [t for t in trials if t.method == name] for name in dict.fromkeys(t.method for t in trials)}


def shown_settings(trials: Sequence[Trial]) -> dict[int, dict[str, Any]]:
    """For each trial of one method by its number, the values of all settings that any of its trials changes."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.changes))
    known = next((t.run.record.config["method"] for t in trials if t.run is not None and not t.changes), {})
    return {t.number: {name: t.changes.get(name, known.get(name)) for name in names} for t in trials}


def rows_of(trials: Sequence[Trial]) -> list[list[str]]:
    """A row for each trial, as `HEAD` names the columns; the chosen one of each method is marked."""
    rows = []
    for name, tried in by_method(trials).items():
        settings, best = shown_settings(tried), best_of(tried)
        for trial in tried:
            values = ", ".join(f"{key} {_short(value)}" for key, value in settings[trial.number].items())
            own = " (the recipe's)" if not trial.changes else ""
            figures = [rate(f) for f in trial.figures] if trial.figures is not None else ["failed", "", ""]
            rows.append([name, f"{values}{own}".strip(), *figures, "chosen" if trial is best else ""])
    return rows


def words_of(trial: Trial) -> str:
    """The options that give a run the settings of a trial; empty where they are the recipe's own."""
    pairs = [(f"--method.{name}".replace("_", "-"), str(value)) for name, value in trial.changes.items()]
    return shell(*(word for pair in pairs for word in pair))


def fragment(trials: Sequence[Trial]) -> str:
    """What was chosen, as parts of a grid's file (docs/grids.md), one a method."""
    tables = []
    for name, tried in by_method(trials).items():
        best = best_of(tried)
        if best is not None:
            settings = shown_settings(tried)[best.number]
            # A number, a truth value or a string of JSON is one of TOML.
            lines = [f"settings.method.{key} = {json.dumps(value)}" for key, value in settings.items()]
            tables.append("\n".join(["[[part]]", f"methods = [{json.dumps(name)}]", *lines]))
    return "\n\n".join(tables)


def write_tuning(out: Path, recipe: str, command: str, trials: Sequence[Trial], docs: Path | None = None) -> list[Path]:
    """Writes OUT/tuning.json and OUT/tuning.md, and the latter to `docs` too where that is named; returns the files.

    At least one trial must have gone to its end.

    Raises:
        RunError: one cannot be written.
    """
    write_json(out / "tuning.json", sealed(content_of(recipe, command, trials)), RunError)
    pages = [out / "tuning.md", *([docs] if docs is not None else [])]
    for page in pages:
        write_bytes(page, markdown_of(recipe, command, trials).encode(), RunError)
    return [out / "tuning.json", *pages]


def content_of(recipe: str, command: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """What tuning.json holds, without its seal."""
    first = _first(trials)
    settings = plain(lifelong_settings_in(first.record))
    methods = [
        {
            "method": name,
            "chosen": best.number if (best := best_of(tried)) is not None else None,
            "trials": [_trial(trial) for trial in tried],
        }
        for name, tried in by_method(trials).items()
    ]
    return {
        "schema": SCHEMA,
        "recipe": recipe,
        "command": command,
        "suite": first.suite,
        "tasks": list(first.tasks),
        "split": first.split,
        "seed": first.seed,
        "methods": methods,
        "config": {name: value for name, value in settings.items() if name != "method"},
        "versions": first.record.versions,
        "commit": first.record.commit,
    }


def markdown_of(recipe: str, command: str, trials: Sequence[Trial]) -> str:
    """Every trial in a table, with what was the same for all of them."""
    first, tried = _first(trials), next(iter(by_method(trials).values()))
    episodes, config = int(first.episodes[-1].max()), first.config
    demonstrations = max(first.record.demonstrations.episodes)
    same = (
        f"{plural(len(tried), 'trial')} for each method, seed {first.seed}, {demonstrations} demonstrations a task, "
        f"{config['train.iterations']} iterations ({config['train.first_iterations']} for a first task), on "
        f"{plural(len(first.tasks), 'task')} of {first.suite}: {listed(list(first.tasks))}. Success is that on "
        f"{plural(episodes, f'{first.split} state')} a task; test states were not looked at. Chosen is the trial with "
        "the most final success; of equal ones that which had learned most, then the cheaper one, then the first."
    )
    head, rows = named(HEAD, rows_of(trials))
    rows = [[row[0], markdown(row[1]), *row[2:]] for row in rows]
    return f"# Trials of {markdown(recipe)}\n\n{markdown(same)}\n\n{table(head, rows)}\n\n{fenced([command])}\n"


def _first(trials: Sequence[Trial]) -> Run:
    """A run for what all have in common."""
    return next(trial.run for trial in trials if trial.run is not None)


def _trial(trial: Trial) -> dict[str, Any]:
    run, figures = trial.run, trial.figures
    if run is None or figures is None:
        return {"changes": dict(trial.changes), "run": trial.folder.name, "failed": True}
    effort, stored, remembered = trial.cost
    return {
        "changes": dict(trial.changes),
        "run": trial.folder.name,
        "successes": [int(count) for count in run.successes[-1]],
        "episodes": [int(count) for count in run.episodes[-1]],
        "final": figures[0],
        "learned": figures[1],
        "lost": figures[2],
        "passes": effort,
        "stored": stored,
        "remembered": remembered,
        "settings": run.record.config["method"],
    }


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
