"""`skilltokens run`: what all runs share, then one process a run, then the table and the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from skilltokens.cli.plan import make_plan


def main(words: Sequence[str]) -> int:
    try:
        return _run(words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command resumes where it stopped", file=sys.stderr)
        return 130


def _run(words: Sequence[str]) -> int:
    plan = make_plan(words)
    # Whatever can be known to fail is found here, before anything is made.
    left = [run for run in plan.runs if not plan.experiment.finished(run.folder, run.settings, run.recipe.name)]
    from skilltokens.cli.execute import carry_out, conclude, prepare, show_changes

    prepare(left)
    failures = carry_out(plan, left)
    status = conclude(plan, [failure for failure in failures.values() if failure is not None])
    show_changes(plan)
    return status
