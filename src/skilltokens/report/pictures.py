"""The pictures of README.md: SVG files with their colours inside, for light and dark pages.

They are the report's own drawings, side by side on a ground of their own: a page that shows them as images cannot lend
them its colours. Which of the two sets is shown follows the reader's browser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from skilltokens.report.charts import retention
from skilltokens.report.finding import NAMES, place_of
from skilltokens.report.published import SUITES, Published
from skilltokens.report.reward_page import glance
from skilltokens.report.reward_runs import rows_of, tasks_in
from skilltokens.report.summary import Group
from skilltokens.report.svg import dash, element, marker, tone

WIDTH = 820
_STYLES = Path(__file__).parent / "assets" / "style.css"
_RULES = """
svg{{overflow:visible}}
text{{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;fill:{soft}}}
.head{{font-size:15px;font-weight:600;fill:{ink}}}.key{{font-size:14px;fill:{ink}}}
.mid{{text-anchor:middle}}.end{{text-anchor:end}}
.paper{{fill:{card};stroke:{line}}}
.grid{{stroke:{grid}}}
.line{{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}
.band{{opacity:.14}}
"""
_NARROW = "@media (max-width:560px){text{font-size:14px}.head{font-size:21px}.key{font-size:17px}}"
"""On a narrow screen the picture shrinks; its words do so less."""

FORGETTING = "docs/forgetting.svg"
REWARD = "docs/reward.svg"
COMPARED = ("t2s", "sequential", "lora")
SUITES_SHOWN = ("metaworld-cw10", "libero-goal")
LEARNERS_SHOWN = {
    "token": "token alone",
    "token-goal": "token beside the command",
    "goal": "command alone, untrained",
    "finetune-goal": "fine-tuning beside the command",
    "mlp": "PPO from scratch",
}
REWARD_SHOWN = "task-tokens-walker2d"


def pictures(published: Sequence[Published]) -> dict[str, str]:
    """The pictures that can be made of what is published: their text, by where they go."""
    drawings = {FORGETTING: forgetting(published), REWARD: reward_curves(published)}
    return {path: str(drawing) + "\n" for path, drawing in drawings.items() if drawing is not None}


def forgetting(published: Sequence[Published]) -> Markup | None:
    """Mean success over all skills learned so far, against their number: one panel a suite."""
    panels = []
    names: dict[int, str] = {}
    for name in SUITES_SHOWN:
        experiment = next((e for e in published if e.name == name and e.comparisons), None)
        if experiment is not None:
            comparison = experiment.comparisons[0]
            groups = _compared(comparison.groups)
            names |= {index: NAMES[group.method] for index, group in enumerate(groups)}
            panels.append((SUITES[name], retention(groups, len(comparison.tasks))))
    if not panels:
        return None
    names = dict(sorted(names.items(), key=lambda item: place_of(item[1])))
    return sheet("Mean success over the skills learned so far", names, panels, (360, 220))


def reward_curves(published: Sequence[Published]) -> Markup | None:
    """Success against environment steps on a body that can fall: one panel a task."""
    experiment = next((e for e in published if e.name == REWARD_SHOWN and e.rewards), None)
    if experiment is None:
        return None
    runs = [run for run in experiment.rewards if run.learner in LEARNERS_SHOWN]
    places = {learner: index for index, learner in enumerate(LEARNERS_SHOWN)}
    panels = [
        (task, glance([row for row in rows_of(runs, task) if row.label in places], places)) for task in tasks_in(runs)
    ]
    names = {index: LEARNERS_SHOWN[learner] for learner, index in places.items()}
    return sheet("Success against environment steps", names, panels, (180, 118))


def _compared(groups: Sequence[Group]) -> list[Group]:
    """The groups to draw, in the order that gives each method its colour in the report."""
    return [group for method in COMPARED for group in groups if group.label == method]


def sheet(title: str, names: Mapping[int, str], panels: Sequence[tuple[str, Markup]], size: tuple[int, int]) -> Markup:
    """A title, the key of the lines and the panels in one row.

    Args:
        names: what stands beside each colour.
        panels: the drawings with their titles.
        size: of each drawing, in its own units.
    """
    gap = 24
    key, rows = _key(names, gap, 54, WIDTH - gap)
    top = 60 + 24 * rows
    width = (WIDTH - gap * (len(panels) + 1)) / len(panels)
    height = width * size[1] / size[0]
    parts = [
        element("style", Markup(_style())),
        element("rect", class_="paper", x=0.5, y=0.5, width=WIDTH - 1, height=top + height + 23, rx=10),
        element("text", title, class_="head", x=gap, y=30),
        key,
    ]
    for number, (name, drawing) in enumerate(panels):
        left = gap + number * (width + gap)
        parts.append(element("text", name, class_="head", x=left, y=top + 4))
        parts.append(element("svg", drawing, x=left, y=top + 12.0, width=width, height=height))
    label = f"{title}: {', '.join(names.values())}, on {', '.join(name for name, _ in panels)}."
    return element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {top + height + 24:.0f}",
        width=WIDTH,
        role="img",
        aria_label=label,
    )


def _key(names: Mapping[int, str], left: float, y: float, right: float) -> tuple[Markup, int]:
    """What stands for whom, and in how many rows: a piece of line with its mark and a name, one after another."""
    parts, x, rows = [], left, 1
    for index, name in names.items():
        width = 60 + 8.6 * len(name)
        if x + width > right and x > left:
            x, y, rows = left, y + 24, rows + 1
        line = element("line", class_="line", x1=x, x2=x + 30, y1=y, y2=y, stroke_dasharray=dash(index))
        parts.append(element("g", line, marker(index, x + 15, y, 4), class_=tone(index)))
        parts.append(element("text", name, class_="key", x=x + 37, y=y + 4.8))
        x += width
    return Markup("").join(parts), rows


def _style() -> str:
    """The rules with the report's colours written out, those of dark pages in a query of their own."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", _STYLES.read_text(encoding="utf-8"))
    light, dark = ({name: pair[index] for name, *pair in pairs} for index in (0, 1))
    return f"{_filled(light)}@media (prefers-color-scheme:dark){{{_filled(dark)}}}\n{_NARROW}\n"


def _filled(colours: Mapping[str, str]) -> str:
    tones = "".join(
        f".m{i} .line{{stroke:{c}}}.m{i} .fill,.m{i} .band{{fill:{c}}}\n"
        for i in range(len(LEARNERS_SHOWN))
        for c in [colours[f"c{i}"]]
    )
    return _RULES.format(**{name: colours[name] for name in ("soft", "ink", "card", "line", "grid")}) + tones
