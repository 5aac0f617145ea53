"""`skilltokens evaluate`: the skills of a library on a suite, called by their instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from skilltokens.cli.options import parse
from skilltokens.settings import check_device
from skilltokens.suites.context import Context, in_context
from skilltokens.suites.limits import check_episodes
from skilltokens.types import Report, SettingError, Suite, Task, part_of

if TYPE_CHECKING:
    from skilltokens.simulation.pool import Pool
    from skilltokens.skills.library import SkillLibrary


@dataclass(frozen=True)
class EvaluateOptions:
    """Runs a library's skills on the tasks of a suite and prints how often they succeed, with 95 % Wilson intervals.

    The library is given each task's instruction and no task id; the table shows which skill the instruction called.

    examples:
      skilltokens evaluate library
      skilltokens evaluate library --tasks push window-close --episodes 50 --workers 2
      skilltokens evaluate library --tasks push --instruction "shove the puck to the goal"
    """

    library: tyro.conf.Positional[Path]
    """The library's folder."""
    suite: str = ""
    """The suite; empty: the one that the skills were learned on. See `skilltokens list suites`."""
    tasks: tuple[str, ...] = ()
    """Tasks by name; empty: those whose names the library's skills have."""
    instruction: str | None = None
    """Give this sentence instead of each task's own instruction."""
    context: Context = "none"
    """scene: say each task's scene in its instruction, for a library that was learned with --context scene."""
    episodes: int = 20
    """Episodes a task."""
    split: Literal["validation", "test"] = "test"
    """Initial states: validation states are for choosing settings, test states for reporting."""
    horizon: int = 0
    """The most steps of an episode; 0: the suite's own limit."""
    group: int = 10
    """Episodes whose actions are computed in one batch; the same actions to the bit need the same number."""
    workers: int = 0
    """Processes that run the simulators; 0: this process runs them. Changes no result."""
    threads: int = 1
    """Threads of torch while acting; more than 1 are seldom faster for so small a policy."""
    device: str = "cpu"
    """Where to act: cpu, cuda or cuda:1."""


HEAD = ("task", "instruction", "skill called", "cosine", "success", "95 % interval")
"""The columns of the table that is printed."""


def main(words: Sequence[str]) -> int:
    options = parse(EvaluateOptions, words, "skilltokens evaluate")
    _check(options)
    import torch
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import cells
    from skilltokens.cli.tables import output
    from skilltokens.simulation.pool import Pool
    from skilltokens.skills.library import SkillLibrary
    from skilltokens.suites import load_suite

    library = SkillLibrary.open(options.library)
    suite = load_suite(options.suite or _suite_of(library))
    library.check_features({n: f for n, f in suite.features.items() if n in library.features}, f"suite {suite.name!r}")
    check_episodes(suite, options.split, options.episodes, options.horizon)
    tasks = _tasks(options, suite, [skill.name for skill in library.skills])
    table = Table(*HEAD, box=SIMPLE, pad_edge=False)
    torch.set_num_threads(options.threads)
    with Single("evaluating") as report, Pool(suite, options.workers, report) as pool:
        for number, task in enumerate(tasks):
            part = part_of(report, number, len(tasks), "evaluate")
            table.add_row(*cells(_row(options, library, suite, task, pool, part)))
    output().print(table)
    return 0


def _check(options: EvaluateOptions) -> None:
    for name, least in (("episodes", 1), ("horizon", 0), ("group", 1), ("threads", 1)):
        if getattr(options, name) < least:
            raise SettingError(f"--{name} {getattr(options, name)} is impossible: use {least} or more")
    check_device(options.device)


def _row(
    options: EvaluateOptions, library: SkillLibrary, suite: Suite, task: Task, pool: Pool, report: Report
) -> tuple[str, ...]:
    """Rolls out the skill that one task's instruction calls; returns its row of the table, as HEAD names it."""
    from skilltokens import metrics
    from skilltokens.simulation.rollout import evaluate

    own = in_context(suite, task, options.context).instruction
    instruction = own if options.instruction is None else options.instruction
    number, cosine = library.select(instruction, report)
    outcomes = evaluate(
        library.actor(instruction, options.device),
        suite,
        task,
        options.split,
        range(options.episodes),
        group=options.group,
        pool=pool,
        horizon=options.horizon or None,
        report=report,
    )
    successes = sum(outcome.success for outcome in outcomes)
    low, high = (float(end) for end in metrics.wilson(successes, len(outcomes)))
    skill = library.skills[number].name
    rate = f"{successes} of {len(outcomes)}"
    return task.name, instruction, skill, f"{cosine:.2f}", rate, f"{low:.2f} to {high:.2f}"


def _suite_of(library: SkillLibrary) -> str:
    """The suite that a library's notes name."""
    from skilltokens.suites import suite_names

    suites = {note["suite"] for note in library.notes if "suite" in note}
    if len(suites) == 1 and suites <= set(suite_names()):
        return suites.pop()
    raise SettingError(f"{library.folder} does not say which suite its skills are of: name it with --suite")


def _tasks(options: EvaluateOptions, suite: Suite, skills: Sequence[str]) -> list[Task]:
    from skilltokens.suites import task_of

    if options.tasks:
        return [task_of(suite, name) for name in options.tasks]
    tasks = [task for task in suite.tasks if task.name in skills]
    if not tasks:
        raise SettingError(
            f"no skill of {options.library} ({', '.join(skills)}) is named after a task of {suite.name!r}: "
            "say which tasks with --tasks"
        )
    return tasks
