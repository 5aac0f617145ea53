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
    experiment = plan.experiment
    # Whatever can be known to fail is found here, before anything is made.
    left = [run for run in plan.runs if not experiment.finished(run.folder, run.settings, plan.recipe.name)]
    if left:
        from skilltokens.cli.progress import Single

        with Single("preparing") as report:
            experiment.prepare(left[0].settings, report)  # the plan overrides these for all runs alike
    from skilltokens.cli.execute import carry_out, conclude, show_changes

    failures = carry_out(plan, left, words)
    status = conclude(plan, failures)
    show_changes(plan)
    return status
