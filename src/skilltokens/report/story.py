"""The sentences of the page that are written from the figures, with the methods' names in bold."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from skilltokens.escaping import terminal
from skilltokens.report.summary import DEFINITIONS, Comparison, Group
from skilltokens.report.text import MINUS, listed

_BY_KEY = {definition.key: definition for definition in DEFINITIONS}
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def title(comparisons: Sequence[Comparison]) -> str:
    """What the page is about, for the browser's tab."""
    suites = list(dict.fromkeys(comparison.suite for comparison in comparisons))
    methods = list(dict.fromkeys(group.method for comparison in comparisons for group in comparison.groups))
    return f"{listed(methods)} on {listed(suites)}"


def heading(comparison: Comparison) -> str:
    """What was done, as a heading."""
    count = len(comparison.tasks)
    skills = f"{word(count).capitalize()} skill{'' if count == 1 else 's'}"
    if count == 1:
        return skills
    return f"{skills}, {'all at once' if all(group.joint for group in comparison.groups) else 'one after another'}"


def lede(comparison: Comparison) -> list[Markup]:
    """What came of it, a sentence or two each; only methods that are equally far stand in one sentence."""
    serial = [group for group in comparison.groups if not group.joint and group.learned]
    sentences = []
    for learned in sorted({group.learned for group in serial}, reverse=True):
        level = [group for group in serial if group.learned == learned]
        sentences += [_ending(level, learned, len(comparison.tasks)), *_keeping(level)]
    together = [group for group in comparison.groups if group.joint and group.learned]
    if together:
        values = [Markup("{} reaches {}").format(_name(g), _percent(_value(g, "final"))) for g in together]
        sentences.append(Markup("Shown all tasks at once, {}.").format(listed_markup(values)))
    return sentences


def _ending(groups: list[Group], learned: int, tasks: int) -> Markup:
    order = sorted(groups, key=lambda group: -(_value(group, "final") or 0))
    figures = [
        Markup("{}{} {}").format(_name(group), "" if i else " solves", _percent(_value(group, "final")))
        for i, group in enumerate(order)
    ]
    unit = "task" if groups[0].first.together > 1 else "lesson"  # a lesson may teach several tasks
    when = f"After {word(learned)} {unit}{'' if learned == 1 else 's'}"
    when += f" of {word(tasks)}" if learned < tasks else ""
    over = "it" if learned == 1 else f"all {word(learned)}"
    return Markup("{}, {} of the test episodes over {}.").format(when, listed_markup(figures), over)


def _keeping(groups: list[Group]) -> list[Markup]:
    """Who lost nothing, and who lost how much: by NBT, or by the end alone where old tasks were tested then only."""
    sentences = []
    for key, name, when in (
        ("nbt", "NBT is exactly 0", "while later ones are learned"),
        ("lost", "nothing is lost by the end", "by the end"),
    ):
        level = [group for group in groups if group.untested is (key == "lost")]
        values = [(group, value) for group in level if (value := _value(group, key)) is not None]
        kept = [group for group, _ in values if not any(group.figure(_BY_KEY[key]).seeds)]
        if kept:
            sentences.append(_forgetting_nothing(kept, name))
        changed = [(group, value) for group, value in values if group not in kept]
        if changed:
            words = [
                Markup("{} {} {} points{}").format(
                    _name(g), "loses" if value >= 0 else "gains", f"{100 * abs(value):.0f}", _miscalled(g)
                )
                for g, value in changed
            ]
            sentences.append(Markup("On each task, {} on average {}.").format(listed_markup(words), when))
    return sentences


def _forgetting_nothing(groups: list[Group], name: str) -> Markup:
    share = _value(groups[0], "trained")
    cost = f", and trains {_percent(share)} of the base a new skill" if len(groups) == 1 and share is not None else ""
    verb = "forgets" if len(groups) == 1 else "forget"
    return Markup("{} {} nothing: {}{}.").format(listed_markup([_name(g) for g in groups]), verb, name, cost)


def _miscalled(group: Group) -> str:
    """How much of what was lost is forgotten, where another task's skill acted in some cell."""
    forgotten = _value(group, "forgotten")
    if forgotten is None or not group.miscalled.any():
        return ""
    return f" ({100 * forgotten:.0f} forgotten, the rest miscalled: another task's skill answered)".replace("-", MINUS)


def together(comparison: Comparison) -> str:
    """How the run began, where that is not with one task from scratch; empty otherwise."""
    first = next((group.first for group in comparison.groups if not group.joint), None)
    if first is None:
        return ""
    sentences = []
    if first.together > 1:
        sentences.append(
            f"The first lesson taught {word(first.together)} tasks together: they have no learning curve of their "
            "own, so FWT and AUC are over the other tasks."
        )
    if first.record.base is not None:
        base, skills = first.record.base, first.record.base.skills
        what = f"a library of {word(len(skills))} skill{'' if len(skills) == 1 else 's'} on a base"
        what = f"a policy of another make ({terminal(base.type)})" if base.type else what
        sentences.append(f"The runs began from {what} of {base.parameters:,} parameters.")
    if len(set(comparison.tasks)) < len(comparison.tasks):
        sentences.append("Tasks come back in this stream, and are taught again.")
    return " ".join(sentences)


def running(comparison: Comparison) -> list[str]:
    """One line for each run that is not finished."""
    lines = []
    for group in comparison.groups:
        for run in group.runs:
            if not run.finished:
                taught = run.learned if run.joint else max(run.learned, run.record.lessons)
                line = f"{group.label}, seed {run.seed}, is not finished: {taught} of {len(run.tasks)} tasks learned"
                over = "those" if taught == run.learned else "the first: old tasks are tested at the end alone"
                lines.append(f"{line}; its figures are over {over}." if run.learned else f"{line}.")
    return lines


def _value(group: Group, key: str) -> float | None:
    return group.figure(_BY_KEY[key]).value


def _percent(value: float | None) -> str:
    """Whole per cent of a success, tenths of a small share."""
    if value is None:
        return "nothing known"
    sign = MINUS if value < 0 else ""
    digits = 1 if 0 < abs(value) < 0.1 else 0
    return f"{sign}{100 * abs(value):.{digits}f}\N{NO-BREAK SPACE}%"


def _name(group: Group) -> Markup:
    return Markup("<b>{}</b>").format(terminal(group.label))


def listed_markup(words: Sequence[Markup]) -> Markup:
    """`a, b and c`."""
    if len(words) == 1:
        return words[0]
    return Markup("{} and {}").format(Markup(", ").join(words[:-1]), words[-1])


def word(count: int) -> str:
    """A small number as a word."""
    return _WORDS[count] if count < len(_WORDS) else str(count)
