"""The page's drawings of what happens inside: parameters by skill, rows reused, gradient flow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from skilltokens.experiments.records import Flow as Norms
from skilltokens.report.runs import Run
from skilltokens.report.summary import Comparison, Group
from skilltokens.report.svg import Plot, element, path, picture, tone


@dataclass(frozen=True)
class Stack:
    """One stacked bar: segments of (share of the full width, label, kind, title), and its sum."""

    name: str
    tone: str
    segments: tuple[tuple[float, str, str, str], ...]
    total: str
    description: str
    number: int | None = None
    """Of the skill, where the name is a task's."""


def parameters(comparison: Comparison) -> list[Stack]:
    """Parameters stored in the end, one bar a method on one scale: the first lesson's policy, then each lesson's."""
    widest = max((group.first.stored[-1] for group in comparison.groups if group.first.stored), default=1)
    stacks = []
    for index, group in enumerate(comparison.groups):
        totals = group.first.stored
        if not totals:
            continue
        steps = [totals[0]] + [after - before for before, after in itertools.pairwise(totals)]
        names = ["all tasks" if group.joint else task for task in comparison.tasks]
        segments = tuple(
            (100 * step / widest, str(k + 1) if k else "base", "new" if k else "base", f"{names[k]}: {step:,}")
            for k, step in enumerate(steps)
            if step > 0
        )
        times = totals[-1] / max(totals[0], 1)  # the suite's expert stores nothing
        total = f"{totals[-1]:,} ({times:.2f} \N{MULTIPLICATION SIGN} base)"
        stacks.append(Stack(group.label, tone(index), segments, total, f"{group.label} stores {total} parameters."))
    return stacks


def costs(group: Group) -> list[tuple[str, int, str, int]]:
    """Per lesson of the group's first seed: its name, parameters trained, their share of the base, and the total."""
    run = group.first
    names = [f"all {len(run.tasks)} tasks"] if group.joint else list(run.tasks)
    share = [
        f"{100 * trained / run.base:.1f} %{_with_trunk(run, trained)}" if run.base else "" for trained in run.trained
    ]
    return list(zip(names, run.trained, share, run.stored, strict=False))


def _with_trunk(run: Run, trained: int) -> str:
    """The share of a base that counts the frozen trunk too, where there is one."""
    return f" ({100 * trained / (run.base + run.trunk):.1f} % with the trunk)" if run.base and run.trunk else ""


def reuse(run: Run, index: int) -> list[Stack]:
    """Which rows each skill has active, one bar a skill on one scale: the base's, earlier skills', its own."""
    entries = run.record.reuse
    widest = max((e.base + e.new + sum(e.earlier.values()) for e in entries), default=0) or 1
    number = {name: k + 1 for k, name in enumerate(run.tasks)}
    stacks = []
    for k, entry in enumerate(entries[: len(run.tasks)]):
        parts = [("base", "base", entry.base, "the base")]
        parts += [(str(number.get(name, name)), "from", rows, name) for name, rows in entry.earlier.items()]
        start = entry.start
        origin = f", started from {start}" if start else ""
        parts.append(("new", "new", entry.new, f"its own{origin}"))
        segments = tuple(
            (100 * rows / widest, label, kind, f"{rows:,} rows: {name}") for label, kind, rows, name in parts if rows
        )
        total = sum(rows for _, _, rows, _ in parts)
        mark = f" ← {number[start]}" if start in number else ""
        description = ", ".join(f"{rows:,} from {name}" for _, _, rows, name in parts if rows)
        task = run.tasks[k]
        stacks.append(Stack(task, tone(index), segments, f"{total:,}{mark}", f"{task}: {description}.", k + 1))
    return stacks


def origins(run: Run) -> tuple[list[int], list[list[dict[str, Any] | None]]] | None:
    """Rows by skill (down) and by the earlier skill that had added them (across), as a table of counts with shades.

    Returns the numbers of the skills that others reuse, and a row of cells for every skill; None where no skill uses
    any but the base's rows and its own.
    """
    entries = run.record.reuse
    first = {name: k for k, name in reversed(list(enumerate(run.tasks)))}
    givers = sorted({first[name] for e in entries for name, rows in e.earlier.items() if rows and name in first})
    if not givers:
        return None
    most = max(rows for e in entries for rows in e.earlier.values())
    table: list[list[dict[str, Any] | None]] = []
    for k, entry in enumerate(entries[: len(run.tasks)]):
        counts = [entry.earlier.get(run.tasks[j], 0) if j < k else None for j in givers]
        table.append([None if n is None else {"rows": n, "shade": n / most, "giver": run.tasks[j]}
                      for j, n in zip(givers, counts, strict=True)])  # fmt: skip
    return [j + 1 for j in givers], table


@dataclass(frozen=True)
class Flow:
    """Gradient norms of one run: whether any reached a shared row, and a panel a layer."""

    label: str
    seed: int
    records: int
    largest: float
    where: str
    panels: tuple[tuple[str, Markup], ...]

    @property
    def columns(self) -> int:
        """Panels of one transformer layer, for a row each."""
        fronts = [name.rpartition(".")[0] for name, _ in self.panels]
        return min(max(3, *(fronts.count(front) for front in fronts)), 8)

    @property
    def clean(self) -> bool:
        """Every norm on shared rows is exactly zero."""
        return self.largest == 0


def flow(group: Group, index: int) -> Flow | None:
    """The gradient flow of the group's first seed that recorded it; None where no seed did."""
    run = next((run for run in group.runs if run.record.gradients), None)
    if run is None:
        return None
    lessons = run.record.gradients
    layers = list(dict.fromkeys(name for lesson in lessons for name in lesson.layers))
    shared = [
        (norm, f"{name}, lesson {k + 1}")
        for k, lesson in enumerate(lessons)
        for name, norms in lesson.layers.items()
        for norm in norms.get("shared") or []
    ]
    largest, where = max(shared, default=(0.0, ""), key=lambda pair: pair[0])
    specific = [
        norm for e in lessons for norms in e.layers.values() for norm in norms.get("specific") or [] if norm > 0
    ]
    if not layers or not (specific or shared):
        return None
    low = math.floor(math.log10(min(specific, default=0.1)))
    high = math.ceil(math.log10(max([*specific, largest], default=1.0) or 1.0))
    panels = tuple((name, _panel(name, lessons, index, low, max(high, low + 1))) for name in layers)
    return Flow(group.label, run.seed, len(shared), largest, where, panels)


def _power(exponent: int) -> str:
    """10 to the power of `exponent`, as people write it."""
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return "1" if exponent == 0 else f"10{raised}"


def _panel(layer: str, lessons: Sequence[Norms], index: int, low: int, high: int) -> Markup:
    """Norms against iterations, lessons one after another; logarithmic, with a line for exact zero at the foot."""
    floor = low - 1.0
    total = sum(max(lesson.iterations, default=0) for lesson in lessons) or 1
    plot = Plot(34, 6, 166, 78, low=(0, floor), high=(total, high))

    def height(norm: float) -> float:
        return math.log10(norm) if norm > 10.0**low else floor if norm == 0 else float(low)

    parts = [plot.rules([(floor, "0"), (low, _power(low)), (high, _power(high))])]
    start = 0.0
    for k, lesson in enumerate(lessons):
        norms, xs = lesson.layers.get(layer, {}), [start + i for i in lesson.iterations]
        for kind, class_ in (("specific", tone(index)), ("shared", "shared")):
            values = norms.get(kind) or []
            if values:
                points = plot.points(xs, [height(norm) for norm in values])
                title = element("title", f"lesson {k + 1}, {kind} rows: {min(values):.2g} to {max(values):.2g}")
                parts.append(element("g", title, element("path", class_="line", d=path(points)), class_=class_))
        start += max(lesson.iterations, default=0)
        if k + 1 < len(lessons):
            x = plot.x(start)
            parts.append(element("line", class_="grid", x1=x, x2=x, y1=plot.top, y2=plot.bottom))
    shared = [norm for lesson in lessons for norm in lesson.layers.get(layer, {}).get("shared") or []]
    label = f"Gradient norms of {layer}: shared rows at most {max(shared, default=0.0):.2g}."
    return picture(170, 86, label, *parts)
