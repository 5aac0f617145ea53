"""What a plan would do, without doing it: its runs, how far each is, and the time for what is left."""

from __future__ import annotations

from collections.abc import Sequence

from skilltokens.cli.execute import remaining
from skilltokens.cli.planned import Plan, PlannedRun
from skilltokens.cli.remaining import in_words
from skilltokens.cli.saying import say
from skilltokens.experiments.states import state_of
from skilltokens.machine import cores


def show(plan: Plan, left: Sequence[PlannedRun], noun: str) -> int:
    """Prints it, and returns the exit status.

    Args:
        noun: what the runs are called, in the plural.
    """
    states = {str(run.folder): state_of(run.folder) for run in plan.runs}
    width = max(map(len, states))
    for name, state in states.items():
        say(f"{name:<{width}}  {state.words}")
    estimate = remaining(plan, left)
    done = len(plan.runs) - len(left)
    alone = not plan.cluster or bool(plan.jobs)
    room = f"{plan.jobs or cores()} at once" if alone else "as many at once as the cluster has room for"
    say(f"{len(plan.runs)} {noun}: {done} done, {len(left)} to do, {room}")
    if left and alone:
        first = ", by a first guess" if estimate.guessed else ""
        say(f"they take {in_words(estimate.left())}{first}; demonstrations that are missing come first")
    return 0
