"""The figures of a comparison as plain JSON values, and where two such values differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from skilltokens.metrics import Interval
from skilltokens.report.comparison.model import Comparisons, Contender, Pair, Table
from skilltokens.report.definitions import DEFINITIONS

CLOSE = 1e-6
"""A part by which figures may differ that were computed by other versions of the same libraries."""


def figures_of(comparisons: Comparisons) -> list[dict[str, Any]]:
    """Every figure of every table."""
    return [_table(table) for table in comparisons.tables]


def _table(table: Table) -> dict[str, Any]:
    return {
        "suite": table.suite,
        "tasks": list(table.tasks),
        "conditions": dict(table.conditions),
        "contenders": [_contender(contender) for contender in table.contenders],
        "pairs": [_pair(pair) for pair in table.pairs],
        "assumed": list(table.assumed),
        "remarks": list(table.remarks),
    }


def _contender(contender: Contender) -> dict[str, Any]:
    figures = {definition.key: contender.group.figure(definition) for definition in DEFINITIONS}
    return {
        "label": contender.label,
        "method": contender.group.method,
        "seeds": list(contender.seeds),
        "lessons": contender.group.learned,
        "figures": {
            key: {"value": figure.value, "seeds": list(figure.seeds), "interval": _interval(figure.interval)}
            for key, figure in figures.items()
            if figure.value is not None
        },
        "costs": {key: value for key, value in dataclasses.asdict(contender.costs).items() if value is not None},
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "a": pair.a.label,
        "b": pair.b.label,
        "seeds": list(pair.seeds),
        "lessons": pair.lessons,
        "difference": pair.difference,
        "interval": _interval(pair.final.interval),
        "over": pair.final.over,
        "wins": pair.final.wins,
        "ties": pair.final.ties,
        "losses": pair.final.losses,
        "bootstrap": _interval(pair.bootstrap),
        "fwt_difference": None if pair.fwt is None else pair.fwt.difference,
        "fwt_interval": None if pair.fwt is None else _interval(pair.fwt.interval),
        "successes": list(pair.successes),
        "episodes": list(pair.episodes),
        "paired": pair.paired,
        "discordant": None if pair.discordant is None else list(pair.discordant),
        "p": pair.p,
        "corrected": pair.corrected,
        "smallest": pair.smallest,
        "verdict": pair.verdict,
        "tasks": [
            {
                "task": task.task,
                "successes": list(task.successes),
                "episodes": list(task.episodes),
                "difference": task.difference,
                "p": task.p,
                "corrected": task.corrected,
            }
            for task in pair.tasks
        ],
    }


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def differences(said: Any, right: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ by more than rounding: the place, what is said, and what is right."""
    if isinstance(said, dict) and isinstance(right, dict):
        for key in dict.fromkeys([*right, *said]):
            yield from differences(said.get(key), right.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(said, list) and isinstance(right, list) and len(said) == len(right):
        for i, (mine, other) in enumerate(zip(said, right, strict=True)):
            yield from differences(mine, other, f"{place}[{_called(other, i)}]")
    elif not _equal(said, right):
        yield place, said, right


def _called(value: Any, number: int) -> str:
    """An entry of a list by its name, where it has one."""
    if isinstance(value, dict):
        names = [value[key] for key in ("label", "a", "b", "task") if isinstance(value.get(key), str)]
        if names:
            return " against ".join(names)
    return str(number)


def _equal(said: Any, right: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (said, right))
    if numbers:
        return math.isclose(said, right, rel_tol=CLOSE, abs_tol=CLOSE * CLOSE)
    return type(said) is type(right) and said == right
