"""The sentences of the page that are written from the figures."""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens.report.summary import DEFINITIONS, Comparison, Group
from skilltokens.report.text import listed, rate

_BY_KEY = {definition.key: definition for definition in DEFINITIONS}
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def title(comparisons: Sequence[Comparison]) -> str:
    """What the page is about, in a few words."""
    suites = list(dict.fromkeys(comparison.suite for comparison in comparisons))
    methods = list(dict.fromkeys(group.method for comparison in comparisons for group in comparison.groups))
    return f"{listed(methods)} on {listed(suites)}"


def lede(comparison: Comparison) -> list[str]:
    """What was done and what came of it, a sentence or two each."""
    groups = [group for group in comparison.groups if group.finished]
    serial = [group for group in groups if not group.joint]
    sentences = []
    if serial:
        sentences.append(_ending(serial, len(comparison.tasks)))
        sentences += _keeping(serial)
    together = [group for group in groups if group.joint]
    if together:
        values = [f"{g.label} reaches {rate(_value(g, 'final'))}" for g in together]
        sentences.append(f"Shown all tasks at once, {listed(values)}.")
    return sentences


def _ending(groups: list[Group], tasks: int) -> str:
    order = sorted(groups, key=lambda group: -(_value(group, "final") or 0))
    figures = [f"{group.label} solves {rate(_value(group, 'final'))}" for group in order]
    return f"After {_word(tasks)} lessons, {listed(figures)} of the test episodes over all tasks."


def _keeping(groups: list[Group]) -> list[str]:
    sentences = []
    kept = [group for group in groups if _value(group, "nbt") == 0 and not any(group.figure(_BY_KEY["nbt"]).seeds)]
    lost = [(group, nbt) for group in groups if (nbt := _value(group, "nbt")) is not None and group not in kept]
    if kept:
        share = [
            f" and trains {100 * value:.1f} % of the base a new skill"
            for g in kept[:1]
            if len(kept) == 1 and (value := _value(g, "trained")) is not None
        ]
        verb = "loses" if len(kept) == 1 else "lose"
        sentences.append(f"{listed([g.label for g in kept])} {verb} nothing (NBT exactly 0){''.join(share)}.")
    if lost:
        words = [f"{group.label} {'loses' if nbt > 0 else 'gains'} {rate(abs(nbt))}" for group, nbt in lost]
        sentences.append(f"{listed(words)} of a task's success on average while later ones are learned.")
    return sentences


def running(comparison: Comparison) -> list[str]:
    """One line for each run that is not finished."""
    lines = []
    for group in comparison.groups:
        for run in group.runs:
            if not run.finished:
                line = f"{group.label}, seed {run.seed}, is not finished: {run.learned} of {len(run.tasks)} tasks learned"
                lines.append(f"{line}; its figures are over those." if run.learned else f"{line}.")
    return lines


def _value(group: Group, key: str) -> float | None:
    return group.figure(_BY_KEY[key]).value


def _word(count: int) -> str:
    return _WORDS[count] if count < len(_WORDS) else str(count)

