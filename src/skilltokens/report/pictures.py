"""The pictures of README.md: SVG files with their colours inside, for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from skilltokens.report.charts import retention
from skilltokens.report.drawing import sheet
from skilltokens.report.finding import NAMES, place_of
from skilltokens.report.published import SUITES, Published
from skilltokens.report.reward_page import glance
from skilltokens.report.reward_runs import rows_of, tasks_in
from skilltokens.report.summary import Group

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
