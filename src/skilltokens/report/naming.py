"""What runs of one table are called: the method, and the settings that tell it from others of the same method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from skilltokens.report import text
from skilltokens.report.configs import differences, shown
from skilltokens.report.runs import Run

FEW = 3
"""Settings that a name has at most, if all that differ are named with their values."""


def labels(firsts: Sequence[Run]) -> list[str]:
    """A label for each run, the first seed of its group; no two are alike.

    One run of a method is called by the method. Of several, each has the settings that differ between them; where these
    are more than FEW, those alone in which it differs from most others.
    """
    by_run = {id(run): name for rivals in _rivals(firsts) for run, name in zip(rivals, _labels(rivals), strict=True)}
    names = [by_run[id(run)] for run in firsts]
    counts, seen = Counter(names), Counter[str]()
    for place, name in enumerate(names):
        if counts[name] > 1:  # their settings differ in digits that are not shown
            seen[name] += 1
            names[place] = f"{name} no. {seen[name]}"
    return names


def _rivals(firsts: Sequence[Run]) -> list[list[Run]]:
    """The runs of each method."""
    methods = dict.fromkeys(run.method for run in firsts)
    return [[run for run in firsts if run.method == method] for method in methods]


def _labels(rivals: Sequence[Run]) -> list[str]:
    """Of runs of one method; two may be alike."""
    apart = differences(rivals)
    usual = _usual(apart) if len(apart) > FEW else None
    choosers = len({rival.selected_by for rival in rivals})
    labels = []
    for place, run in enumerate(rivals):
        names = [name for name in apart if usual is None or repr(apart[name][place]) != repr(usual[name])]
        if run.config.get("cotrain.share"):  # never without a word: it is more to learn from
            names = ["cotrain.share", *(name for name in names if name != "cotrain.share")]
        marks = [f"{_short(name, run)}={shown(run.config.get(name))}" for name in names]
        if choosers > 1:
            marks.append(f"by {run.selected_by.replace('_', ' ')}")
        labels.append(run.method + (f" ({', '.join(marks)})" if marks else ""))
    return labels


def _short(name: str, run: Run) -> str:
    """A setting's name without its section, where that is the method's, or the training's and no method's."""
    section, _, word = name.partition(".")
    return word if section == "method" or (section == "train" and f"method.{word}" not in run.config) else name


def _usual(apart: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The most frequent value of each setting, of equally frequent ones that of the first run."""
    frequent = {name: Counter(map(repr, values)).most_common(1)[0][0] for name, values in apart.items()}
    return {name: next(v for v in values if repr(v) == frequent[name]) for name, values in apart.items()}


def unnamed(firsts: Sequence[Run]) -> dict[str, str]:
    """For each method whose names leave settings out (see `labels`) what these are, as people write them."""
    usual: dict[str, str] = {}
    for rivals in _rivals(firsts):
        apart = differences(rivals)
        if len(apart) > FEW:
            values = _usual(apart).items()
            usual[rivals[0].method] = text.listed(
                [f"{_short(name, rivals[0])}={shown(value)}" for name, value in values]
            )
    return usual
