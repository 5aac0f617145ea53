"""The tables of docs/scenes.md, made from the counts of benchmarks/scenes.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.scene_sights import MOVERS
from skilltokens.metrics import wilson

COLUMNS = ("right skill chosen", "right skill vetoed", "wrong skill vetoed", "an eleventh refused", "left out refused")


def tables(content: dict[str, Any]) -> str:
    """All tables, with a blank line between them."""
    who = ("demonstrations", "moved by", "seen")
    parts = [_table(who, content["figures"])]
    if "sensors" not in content:  # pictures
        parts += [_pairs(content["figures"]), _costs(content["bytes"], {})]
        return "\n\n".join(parts)
    parts.append(_table(who, content["with_robot"]))
    parts += [_pairs(content["figures"]), _eleventh(content["figures"])]
    parts.append(_table(("noise of demonstrations", "noise when judged"), content["sensors"], COLUMNS))
    parts.append(_table(("all tasks", "moved by", "seen"), [content["every"]], COLUMNS[:3]))
    for suite in content.get("libero", ()):
        parts.append(_table((suite["suite"], "moved by", "seen"), suite["figures"], (*COLUMNS[:3], COLUMNS[4])))
    parts.append(_costs(content["bytes"], content["milliseconds_of_1000_skills"]))
    return "\n\n".join(parts)


def _costs(size: int, milliseconds: dict[str, float]) -> str:
    rows = [("one density", f"{size} bytes")]
    rows += [(f"judging by 1,000 skills, {seen} seen", f"{time} ms") for seen, time in milliseconds.items()]
    return "\n".join(["| cost | |", "|---|---:|", *(f"| {name} | {cost} |" for name, cost in rows)])


def _table(head: Sequence[str], figures: list[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    lines = ["| " + " | ".join((*head, *columns)) + " |", "|---" * len(head) + "|---:" * len(columns) + "|"]
    for figure in figures:
        if "teaching" in figure:
            start = [f"{1000 * figure[name]:g} mm" for name in ("teaching", "judging")]
        else:
            first = f"{len(figure['skills'])} skills, " if head[0] != "demonstrations" else ""
            start = [f"{first}{figure['demonstrations']}", MOVERS[figure["mover"]], str(figure["seen"])]
        shares = dict[str, str](zip(COLUMNS, _shares(figure), strict=True))
        lines.append("| " + " | ".join([*start, *(shares[column] for column in columns)]) + " |")
    return "\n".join(lines)


def _shares(figure: dict[str, Any]) -> list[str]:
    """The cells of COLUMNS."""
    chosen, accepted = np.array(figure["chosen"]), np.array(figure["accepted"])
    tried, many = chosen.sum(1), len(chosen)
    vetoed = tried[:, None] - accepted
    refused, others = np.sum([*figure["eleventh"].values(), (0, 0)], axis=0)
    return [
        _share(chosen.diagonal().sum(), tried.sum()),
        _share(vetoed.diagonal().sum(), tried.sum()),
        _share(vetoed.sum() - vetoed.diagonal().sum(), (many - 1) * tried.sum()),
        _share(refused, others),
        _share(sum(figure["left_out"]), tried.sum()),
    ]


def _pairs(figures: list[dict[str, Any]]) -> str:
    """The confusion matrices without their zeros: which of CW10's skills are taken for another."""
    lines = [
        "| demonstrations | scene of | asked for | chosen | not vetoed | episodes |",
        "|---|---|---|---:|---:|---:|",
    ]
    for figure in _at_first(figures):
        names = figure["skills"]
        for i, name in enumerate(names):
            tried = sum(figure["chosen"][i])
            for j, skill in enumerate(names):
                chosen, accepted = figure["chosen"][i][j], figure["accepted"][i][j]
                if (i != j and accepted) or (i == j and chosen < tried):
                    cells = (figure["demonstrations"], name, skill, chosen, accepted, tried)
                    lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _eleventh(figures: list[dict[str, Any]]) -> str:
    """The eleventh tasks that are not always refused."""
    figures = _at_first(figures)
    head = " | ".join(f"{figure['demonstrations']} demonstrations" for figure in figures)
    lines = [f"| eleventh task, refused with | {head} |", "|---" + "|---:" * len(figures) + "|"]
    for name in figures[0]["eleventh"]:
        cells = [figure["eleventh"][name] for figure in figures]
        if any(refused < tried for refused, tried in cells):
            lines.append(f"| {name} | {' | '.join(f'{refused} of {tried}' for refused, tried in cells)} |")
    return "\n".join(lines)


def _at_first(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of the first observation alone."""
    return [figure for figure in figures if figure["seen"] == 1]


def _share(good: int, tried: int) -> str:
    """ "98.5 % [97.5, 99.1]"; nothing where nothing was tried."""
    if not tried:
        return ""
    low, high = (100 * float(bound) for bound in wilson(good, tried))
    return f"{100 * good / tried:.1f} % [{low:.1f}, {high:.1f}]"
