"""Runs of learning from reward -> one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from skilltokens.behaviour.learners import LEARNERS
from skilltokens.report import reward, reward_pairs, reward_story, text
from skilltokens.report.reward import HEADS, beside, cells, headline, tracking, unchanged
from skilltokens.report.reward_runs import GOOD, RewardRun, Row, check_alike, rows_of, tasks_in
from skilltokens.report.svg import Plot, dash, element, path, picture, sample, tone
from skilltokens.report.template import embedded, fill


def render(runs: Sequence[RewardRun], against: str = "") -> str:
    """The page of runs of learning from reward as text.

    Args:
        against: the learner that each other one is compared with in pairs; empty: none.

    Raises:
        RunError: the runs are of different experiments, or there is none of `against`.
    """
    check_alike(runs)
    learners = reward_story.held(runs)
    sections = [(task, rows) for task in tasks_in(runs) if (rows := rows_of(runs, task))]
    labels = dict.fromkeys(row.label for _, rows in sections for row in rows)
    places = {label: index for index, label in enumerate(labels)}  # one colour in all tasks
    return fill(
        "reward.html.j2",
        first=runs[0],
        runs=runs,
        heads=HEADS,
        sections=[
            {
                "task": task,
                "instruction": _instruction(runs, task),
                "rows": [(tone(places[row.label]), cells(row)) for row in rows],
                "chart": curves(rows, places),
                "glance": glance(rows, places),
                "legend": _legend([row.label for row in rows], places),
                "tables": beside(rows),
                "videos": _videos(runs, task),
            }
            for task, rows in sections
        ],
        legend=_legend(list(places), places),
        headline=headline(runs) if len(sections) > 1 else ([], []),
        good=f"{GOOD:.0%}",
        tracking=tracking(runs[0].record.model.tracking),
        learners=[(tone(places[one.label]), one) for one in learners],
        sentences=reward_story.sentences(learners),
        pairs=reward_pairs.table(runs, against) if against else ([], []),
        against=against,
        about={name: learner.summary for name, learner in LEARNERS.items()},
        unchanged=unchanged(runs),
        summary=reward.about(runs),
    )


def _legend(labels: Sequence[str], places: Mapping[str, int]) -> list[tuple[str, str, Markup]]:
    return [(tone(places[label]), label, sample(places[label])) for label in labels]


def _videos(runs: Sequence[RewardRun], task: str) -> list[tuple[str, str]]:
    """The videos of the first seed of each learner, as addresses that hold the video itself."""
    videos: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: run.record.seed):
        result = run.of(task)
        address = embedded(run.path.parent, result.video)[0] if result is not None and result.video else None
        if address is not None:
            videos.setdefault(run.learner, address)
    return list(videos.items())


def _instruction(runs: Sequence[RewardRun], task: str) -> str:
    return next(entry.instruction for run in runs for entry in run.record.tasks if entry.name == task)


def curves(rows: Sequence[Row], places: Mapping[str, int]) -> Markup:
    """Success against environment steps: one line a learner, the mean over seeds, their range as a band.

    Args:
        places: of each row's label, which says its colour.
    """
    last = max(row.steps for row in rows) or 1
    plot = Plot(30, 10, 348, 186, low=(0, 0), high=(last, 1))
    parts = [plot.rules(((0.0, "0"), (0.25, ""), (0.5, ".5"), (GOOD, ".8"), (1.0, "1")))]
    feet = [(last * share, f"{last * share / 1000:,.0f}k") for share in (0, 0.25, 0.5, 0.75, 1)]
    parts.append(plot.feet(feet, "environment steps"))
    endings = []
    for row in rows:
        index = places[row.label]
        xs, means, band = _curve(plot, row, index)
        parts.append(band)
        titles = [f"{row.label}: {text.rate(y)} after {x:,.0f} steps" for x, y in zip(xs, means, strict=True)]
        parts.append(plot.series(index, xs, means, titles, size=2.8))
        endings.append(f"{row.label} ends at {text.rate(means[-1])}")
    return picture(360, 220, f"Success against environment steps: {'; '.join(endings)}.", *parts)


def glance(rows: Sequence[Row], places: Mapping[str, int]) -> Markup:
    """The same small, to see all tasks at once: lines and bands without marks."""
    last = max(row.steps for row in rows) or 1
    plot = Plot(20, 6, 166, 100, low=(0, 0), high=(last, 1))
    parts = [plot.rules(((0.0, "0"), (GOOD, ".8"), (1.0, ""))), plot.feet([(0.0, "0"), (last, f"{last / 1000:,.0f}k")])]
    for row in rows:
        index = places[row.label]
        xs, means, band = _curve(plot, row, index)
        parts.append(band)
        line = element("path", class_="line", d=path(plot.points(xs, means)), stroke_dasharray=dash(index))
        parts.append(element("g", element("title", row.label), line, class_=tone(index)))
    return picture(180, 118, f"Success against environment steps of {', '.join(row.label for row in rows)}.", *parts)


def _curve(plot: Plot, row: Row, index: int) -> tuple[list[float], list[float], Markup]:
    """Environment steps, the mean over seeds at each, and the band that spans the seeds, if there are several."""
    xs = [float(n) for n in row.results[0].steps]
    table = np.array([result.successes for result in row.results]) / row.results[0].episodes
    if len(xs) == 1:  # nothing is trained: a line across
        return [0.0, plot.high[0]], table.mean(0).tolist() * 2, Markup("")
    if len(table) == 1:
        return xs, table[0].tolist(), Markup("")
    band = plot.band(xs, table.min(0).tolist(), table.max(0).tolist())
    return xs, table.mean(0).tolist(), element("g", band, class_=tone(index))
