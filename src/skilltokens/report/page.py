"""run.json files -> one self-contained HTML page: nothing is loaded from anywhere, so it can be mailed or archived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from skilltokens import metrics
from skilltokens.report import charts, inside, story, text
from skilltokens.report.configs import differences, digests, machine, shown
from skilltokens.report.definitions import BETWEEN, DEFINITIONS, LIFELONG, Definition
from skilltokens.report.runs import Run
from skilltokens.report.summary import (
    Comparison,
    Group,
    chosen,
    compare,
    defined,
    named,
    pairs,
    right_skill,
    strangers,
    variants,
)
from skilltokens.report.svg import sample, tone
from skilltokens.report.template import embedded, fill


def render(runs: Sequence[Run], against: str = "") -> str:
    """The page of runs as text.

    Seeds are grouped by method and configuration; runs on other tasks, demonstrations or states get a section of
    their own, never a row in the same table. Unfinished runs are shown as far as they are.

    Args:
        against: the method that each other one is compared with in pairs; empty: the first.

    Raises:
        RunError: a run is given twice, or there is none of `against`.
    """
    comparisons = compare(runs)
    bases = named(comparisons, against) if against else {}
    shown_figures = defined([group for comparison in comparisons for group in comparison.groups])
    return fill(
        "page.html.j2",
        sections=[section(comparison, f"c{i}-" if i else "", bases.get(i)) for i, comparison in enumerate(comparisons)],
        definitions=shown_figures,
        runs=runs,
        title=story.title(comparisons),
        machine=machine,
        digests=digests,
        rate=text.rate,
        plural=text.plural,
        duration=text.duration,
        commits=text.commits,
        shown=shown,
    )


def section(comparison: Comparison, prefix: str, base: Group | None = None) -> dict[str, Any]:
    """All that the template shows of one comparison; ids begin with `prefix`. Pairs are against `base`, if given."""
    groups, tasks = comparison.groups, comparison.tasks
    ordered = list(enumerate(groups))
    serial = [(i, g) for i, g in ordered if not g.joint and g.learned > 1]
    panels = [(k, name, charts.learning(groups, k, name)) for k, name in enumerate(tasks)]
    return {
        "prefix": prefix,
        "comparison": comparison,
        "heading": story.heading(comparison),
        "lede": story.lede(comparison),
        "together": story.together(comparison),
        "running": story.running(comparison),
        "legend": [(tone(i), g.label, sample(i)) for i, g in ordered],
        "headline": [headline(group, i, groups) for i, group in ordered],
        "columns": columns_of(groups),
        "versus": [(pair.b.label if base is None else pair.a.label, pair) for pair in pairs(groups, base)],
        "base": base,
        "short": text.abbreviations(tasks),
        "untested": any(group.untested for group in groups),
        "retention": charts.retention(groups, len(tasks)) if serial else None,
        "dumbbells": [(g, tone(i), charts.dumbbells(g, i, tasks)) for i, g in serial],
        "miscalled": any(group.miscalled.any() for group in groups),
        "matrices": [(g, tone(i), matrix(g)) for i, g in ordered if g.learned],
        "learning": [(k, name, panel) for k, name, panel in panels if panel is not None],
        "losses": [(g, chart) for i, g in ordered if (chart := charts.losses(g, i)) is not None],
        "parameters": inside.parameters(comparison),
        "costs": [(g, inside.costs(g)) for g in groups],
        "reuse": [
            (g, tone(i), run, inside.reuse(run, i), inside.origins(run))
            for i, g in ordered
            if (run := with_key(g, "reuse")) is not None
        ],
        "flows": [(tone(i), flow) for i, g in ordered if (flow := inside.flow(g, i)) is not None],
        "videos": [(g, tone(i), videos(run)) for i, g in ordered if (run := with_key(g, "videos")) is not None],
        "selection": [wordings(g, tone(i)) for i, g in ordered],
        "variants": [(g, tone(i), counts) for i, g in ordered if (counts := variants(g))],
        "wilson": lambda good, tried: metrics.Interval(*(float(end) for end in metrics.wilson(good, tried))),
        "differences": differences([g.first for g in groups]) if len(groups) > 1 else {},
        "held": [(g, tone(i), g.figure(next(d for d in DEFINITIONS if d.key == "held"))) for i, g in ordered],
        "points": sorted({n for g in groups for r in g.runs for c in r.curves.values() if (n := len(c.progress)) > 1}),
        "number": text.number,
        "span": text.span,
        "spread": text.spread,
        "signed": text.signed,
    }


@dataclass(frozen=True)
class Cell:
    """One figure of the headline table, ready to show."""

    definition: Definition
    value: str
    span: str
    note: str
    best: bool
    bar: Markup | None


def columns_of(groups: Sequence[Group]) -> tuple[Definition, ...]:
    """The figures of the headline table."""
    return tuple(definition for definition in defined(groups) if definition.key != "held")


def headline(group: Group, index: int, groups: Sequence[Group]) -> dict[str, Any]:
    """One row of the headline table."""
    return {
        "group": group,
        "tone": tone(index),
        "sample": sample(index),
        "cells": [_cell(definition, group, index, groups) for definition in columns_of(groups)],
    }


def _cell(definition: Definition, group: Group, index: int, groups: Sequence[Group]) -> Cell:
    figure = group.figure(definition)
    note = ""
    if figure.value is None:
        if definition.key in LIFELONG and group.joint:
            note = "one lesson"
        elif definition.key in BETWEEN and group.untested:
            note = "not tested in between"
        elif definition.key in ("fwt", "auc"):
            note = "no curve"
    elif definition.key in ("nbt", "lost") and all(value == 0 for value in figure.seeds):
        note = "exactly"
    elif figure.basis == "same":
        note = "the same in every seed"
    elif definition.key == "trained" and group.first.base and group.first.trunk:
        share = figure.value * group.first.base / (group.first.base + group.first.trunk)
        note = f"{100 * share:.1f} % with the frozen trunk"
    elif definition.key == "stored" and group.first.stored:
        base = group.first.stored[0]  # none where the suite's expert acts
        note = f"{figure.value / base:.2f} \N{MULTIPLICATION SIGN} base" if base else ""
    elif figure.basis == "episodes":
        note = "one seed"
    bar = charts.whisker(figure.value, figure.interval, index) if definition.key == "final" and figure.value else None
    value, span = text.number(figure.value, definition.kind), text.span(figure.interval, definition.kind)
    return Cell(definition, value, span, note, best(definition, group, groups), bar)


def best(definition: Definition, group: Group, groups: Sequence[Group]) -> bool:
    """Whether the group's figure is the best, to the digits shown, of the lifelong methods that are equally far.

    A method that gets all tasks at once is no rival but a mark to measure by. Where all tie, none is best.
    """
    rivals = [g.figure(definition).value for g in groups if g.learned == group.learned and not g.joint]
    values = [value for value in rivals if value is not None]
    mine = group.figure(definition).value
    if mine is None or group.joint or len({text.number(value, definition.kind) for value in values}) < 2:
        return False
    top = max(values) if definition.better == "higher" else min(values)
    return text.number(mine, definition.kind) == text.number(top, definition.kind)


def matrix(group: Group) -> list[dict[str, Any]]:
    """Rows of the success matrix: lesson t, and a cell for each task.

    None stands where the task had not been seen; a cell of value None was not tested.
    """
    good, tried, same = group.cells
    low, high = metrics.wilson(good, tried)
    tasks = group.first.tasks
    rows = []
    for t in range(group.first.together - 1, len(tasks)):
        cells: list[dict[str, Any] | None] = []
        for k in range(len(tasks)):
            n = int(tried[t, k])
            if n == 0 or (k > t and not group.joint):
                cells.append(None if k > t else {"value": None})
                continue
            p = float(good[t, k]) / n
            when = "after all tasks, learned together" if group.joint else f"after lesson {t + 1}, {tasks[t]}"
            title = f"{tasks[k]} {when}: {good[t, k]} of {n} ({text.rate(p)}, {low[t, k]:.2f} to {high[t, k]:.2f})"
            seeds = f" in {group.miscalled[t, k]} of {text.plural(len(group.runs), 'seed')}" * (len(group.runs) > 1)
            called = f", miscalled{seeds}: another task's skill acted" if group.miscalled[t, k] else ""
            cells.append(
                {
                    "value": p,
                    "percent": round(100 * p),
                    "same": bool(same[t, k]),
                    "own": t == k and not group.joint,
                    "miscalled": bool(group.miscalled[t, k]),
                    "title": title + called + (", same bits" if same[t, k] else ""),
                }
            )
        rows.append({"number": t + 1, "name": "all together" if group.joint else tasks[t], "cells": cells})
    return [row for row in rows if any(cell and cell["value"] is not None for cell in row["cells"])]


def with_key(group: Group, key: Literal["reuse", "videos"]) -> Run | None:
    """The group's first seed whose run.json holds `key`."""
    return next((run for run in group.runs if getattr(run.record, key)), None)


def videos(run: Run) -> list[dict[str, Any]]:
    """Each video as a data URI with its caption; `uri` is None, and `why` says so, where the file cannot be shown."""
    last = run.learned - 1
    out = []
    for k, name in enumerate(run.tasks):
        word = run.record.videos.get(name)
        if word is None:
            continue
        uri, why = embedded(run.path.parent, word)
        row = last if run.joint or last >= k else k
        good, tried = int(run.successes[row, k]), int(run.episodes[row, k])
        out.append(
            {"name": name, "instruction": run.instructions[k], "uri": uri, "why": why, "good": good, "tried": tried}
        )
    return out


def wordings(group: Group, tone_: str) -> dict[str, Any]:
    """How a group's skills are chosen, and how often wordings chose the right one."""
    out: dict[str, Any] = {"group": group, "tone": tone_, "by": group.first.selected_by.replace("_", " ")}
    for key, held_out in (("held", True), ("known", False)):
        right, total = chosen(group, held_out)
        low, high = metrics.wilson(right, total)
        interval = metrics.Interval(float(low), float(high))
        out[key] = {"right": right, "total": total, "rate": right / total if total else None, "interval": interval}
    out["wrong"] = [
        (e.wording, run.tasks[e.task], e.called or run.tasks[e.chosen or 0], e.held_out, e.cosine)
        for run in group.runs[:1]
        for e in run.record.selection
        if not right_skill(run, e.task, e.chosen)
    ]
    out["strangers"] = strangers(group)
    return out
