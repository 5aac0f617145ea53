"""Cells that a run's settings promise and its record lacks."""

from __future__ import annotations

from collections.abc import Iterator

from skilltokens.report.runs import Run


def missing_cells(run: Run) -> Iterator[str]:
    """A sentence for each kind of cell that is not there: lessons, old tasks after each lesson, points of a curve.

    Of others' results only lessons are asked for: what they tested on the way is theirs to choose.
    """
    tasks = len(run.tasks)
    if run.learned < tasks:
        yield f"only {run.learned} of its {tasks} lessons are tested"
    if run.foreign or run.joint or not run.learned:
        return
    rows = range(run.together - 1, run.learned)
    if run.config.get("evaluate.old", "each") == "end":
        due = [(t, k) for t in rows for k in range(t + 1) if t == tasks - 1 or run.row(k) == t]
    else:
        due = [(t, k) for t in rows for k in range(t + 1)]
    lacking = [(t, k) for t, k in due if not run.episodes[t, k]]
    if lacking:
        places = ", ".join(f"{run.tasks[k]} after lesson {t + 1}" for t, k in lacking[:3])
        yield f"{len(lacking)} cells are missing ({places}{', ...' if len(lacking) > 3 else ''})"
    points = len(run.config.get("evaluate.at", ())) or run.config.get("evaluate.points", 1)
    alone = range(run.together if run.together > 1 else 0, run.learned)
    short = [k for k in alone if len(run.curves[k].progress if k in run.curves else ()) != points]
    if short:
        yield f"the learning curve of {run.tasks[short[0]]} has not {points} points" + (
            f", and {len(short) - 1} more" if len(short) > 1 else ""
        )
