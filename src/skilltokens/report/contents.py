"""What a report writes into a file, by the kind of experiment and the suffix: a page, tables, or drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from markupsafe import Markup

from skilltokens.report import charts, figures, page, reward_page
from skilltokens.report.drawing import sheet
from skilltokens.report.pdf import to_pdf
from skilltokens.report.reward_runs import RewardRun, check_alike, read_reward_run, rows_of, tasks_in
from skilltokens.report.runs import Run, read_run
from skilltokens.report.sheets import WRITERS, Sheet
from skilltokens.report.summary import compare
from skilltokens.types import RunError


class Content(Protocol):
    """What may be written about some runs."""

    def page(self) -> str:
        """The HTML page."""
        ...

    def sheets(self) -> list[Sheet]:
        """The tables."""
        ...

    def drawing(self) -> Markup:
        """The drawings, side by side, as one SVG."""
        ...


def bytes_of(content: Content, suffix: str) -> bytes:
    """The content of a file with this suffix."""
    if suffix == ".html":
        return content.page().encode()
    if suffix == ".svg":
        return f"{content.drawing()}\n".encode()
    if suffix == ".pdf":
        return to_pdf(str(content.drawing()))
    return WRITERS[suffix](content.sheets()).encode()


@dataclass(frozen=True)
class Lifelong:
    """Runs of learning from demonstrations."""

    runs: Sequence[Run]
    against: str

    def page(self) -> str:
        return page.render(self.runs, self.against)

    def sheets(self) -> list[Sheet]:
        return figures.lifelong_sheets(self.runs, self.against)

    def drawing(self) -> Markup:
        """Mean success over the skills learned so far, against their number: one panel a comparison."""
        comparisons = [one for one in compare(self.runs) if any(group.learned for group in one.groups)]
        if not comparisons:
            raise RunError("no lesson is done yet in these runs: there is nothing to draw")
        labels = dict.fromkeys(group.label for comparison in comparisons for group in comparison.groups)
        places = {label: index for index, label in enumerate(labels)}
        panels = [
            (f"{one.suite}, {len(one.tasks)} tasks", charts.retention(one.groups, len(one.tasks), places))
            for one in comparisons
        ]
        names = {index: label for label, index in places.items()}
        title = "Mean success over the skills learned so far"
        return sheet(title, names, panels, (360, 220), columns=2, dark=False)


@dataclass(frozen=True)
class Reward:
    """Runs of learning from reward."""

    runs: Sequence[RewardRun]
    against: str

    def page(self) -> str:
        return reward_page.render(self.runs, self.against)

    def sheets(self) -> list[Sheet]:
        return figures.reward_sheets(self.runs, self.against)

    def drawing(self) -> Markup:
        """Success against environment steps: one panel a task."""
        check_alike(self.runs)
        rows = {task: rows for task in tasks_in(self.runs) if (rows := rows_of(self.runs, task))}
        if not rows:
            raise RunError("no task is learned yet in these runs: there is nothing to draw")
        labels = dict.fromkeys(row.label for mine in rows.values() for row in mine)
        places = {label: index for index, label in enumerate(labels)}
        panels = [(task, reward_page.curves(mine, places)) for task, mine in rows.items()]
        names = {index: label for label, index in places.items()}
        return sheet("Success against environment steps", names, panels, (360, 220), columns=2, dark=False)


def content_of(kind: str, runs: Sequence[Path], against: str) -> Content:
    """What may be written about these files of one kind of experiment, "lifelong" or "reward".

    Raises:
        RunError: one cannot be read.
    """
    if kind == "reward":
        return Reward([read_reward_run(path) for path in runs], against)
    return Lifelong([read_run(path) for path in runs], against)
