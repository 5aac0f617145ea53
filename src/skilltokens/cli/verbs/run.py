"""`skilltokens run`: what all runs share, then one process a run, then the table and the report."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from skilltokens.cli.checking import tell_idle, unfinished
from skilltokens.cli.plan import make_plan
from skilltokens.cli.planned import typed_options
from skilltokens.cli.together import check_plan
from skilltokens.types import silent


def main(words: Sequence[str]) -> int:
    try:
        return _run(words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command resumes where it stopped", file=sys.stderr)
        return 130


def _run(words: Sequence[str]) -> int:
    plan = make_plan(words)
    check_plan(plan)
    left = unfinished(plan)
    if plan.dry:
        from skilltokens.cli.outlook import show

        return show(plan, left, "runs")
    from skilltokens.cli.execute import carry_out, conclude, prepare, show_changes

    tell_idle(plan, left, typed_options(words))
    failures = {**prepare(plan, left)}
    failures |= carry_out(plan, [run for run in left if run.name not in failures])
    status = conclude(plan, [failure for failure in failures.values() if failure is not None])
    show_changes(plan)
    return status


def follow(_: Sequence[str], job: str) -> None:
    """Shares the trainings of one run, named by its file, which another process leads."""
    from skilltokens.cli.job import read_job
    from skilltokens.cli.worker import do_job

    do_job(dataclasses.replace(read_job(Path(job)), profile=None), silent)
