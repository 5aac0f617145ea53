"""Runs of learning from reward -> one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from skilltokens.files import write_bytes
from skilltokens.recipes import learner_names
from skilltokens.report import reward, text
from skilltokens.report.reward import HEADS, beside, cells, headline, tracking, unchanged
from skilltokens.report.reward_runs import GOOD, RewardRun, Row, check_alike, read_reward, rows_of, tasks_in
from skilltokens.report.svg import Plot, element, picture, sample, tone
from skilltokens.report.template import embedded, fill
from skilltokens.types import RunError


def write_report(paths: Sequence[Path], out: Path) -> Path:
    """Writes one self-contained HTML page about runs of learning from reward, and returns its path.

    Raises:
        RunError: a run cannot be read, none is given, or `out` cannot be written.
    """
    if not paths:
        raise RunError("no run was named: give the run.json files, or the folders that hold them")
    write_bytes(Path(out), render([read_reward(path) for path in paths]).encode(), RunError)
    return Path(out)


def render(runs: Sequence[RewardRun]) -> str:
    """The page as text."""
    check_alike(runs)
    sections = [(task, rows) for task in tasks_in(runs) if (rows := rows_of(runs, task))]
    return fill(
        "reward.html.j2",
        first=runs[0],
        runs=runs,
        heads=HEADS,
        sections=[
            {
                "task": task,
                "said": _said(runs, task),
                "rows": [(tone(i), cells(row)) for i, row in enumerate(rows)],
                "chart": curves(rows),
                "legend": [(tone(i), row.label, sample(i)) for i, row in enumerate(rows)],
                "tables": beside(rows),
                "films": _films(runs, task),
            }
            for task, rows in sections
        ],
        headline=headline(runs) if len(sections) > 1 else ([], []),
        good=f"{GOOD:.0%}",
        tracking=tracking(runs[0].content["model"].get("tracking", [])),
        about=learner_names(),
        unchanged=unchanged(runs),
        said=reward.about(runs),
    )


def _films(runs: Sequence[RewardRun], task: str) -> list[tuple[str, str]]:
    """The films of the first seed of each learner, as addresses that hold the film itself."""
    found: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: run.content["seed"]):
        film = (run.of(task) or {}).get("film")
        address = embedded(run.path.parent, str(film))[0] if film else None
        if address is not None:
            found.setdefault(run.learner, address)
    return list(found.items())


def _said(runs: Sequence[RewardRun], task: str) -> str:
    return next(each["instruction"] for run in runs for each in run.content["tasks"] if each["name"] == task)


def curves(rows: Sequence[Row]) -> Markup:
    """Success against environment steps: one line a learner, the mean over seeds, their range as a band."""
    last = max(row.steps for row in rows) or 1
    plot = Plot(30, 10, 348, 186, low=(0, 0), high=(last, 1))
    parts = [plot.rules(((0.0, "0"), (0.25, ""), (0.5, ".5"), (GOOD, ".8"), (1.0, "1")))]
    feet = [(last * share, f"{last * share / 1000:,.0f}k") for share in (0, 0.25, 0.5, 0.75, 1)]
    parts.append(plot.feet(feet, "environment steps"))
    said = []
    for index, row in enumerate(rows):
        xs = [float(n) for n in row.found[0]["steps"]]
        table = np.array([each["successes"] for each in row.found]) / row.found[0]["episodes"]
        means = table.mean(0)
        if len(xs) == 1:  # nothing is trained: a line across
            xs, means = [0.0, float(last)], np.repeat(means, 2)
        elif len(table) > 1:
            parts.append(element("g", plot.band(xs, table.min(0).tolist(), table.max(0).tolist()), class_=tone(index)))
        titles = [f"{row.label}: {text.rate(float(y))} after {x:,.0f} steps" for x, y in zip(xs, means, strict=True)]
        parts.append(plot.series(index, xs, means.tolist(), titles, size=2.8))
        said.append(f"{row.label} ends at {text.rate(float(means[-1]))}")
    return picture(360, 220, f"Success against environment steps: {'; '.join(said)}.", *parts)
