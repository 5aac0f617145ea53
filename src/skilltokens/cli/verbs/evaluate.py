"""`skilltokens evaluate`: the skills of a library on a suite, called by their instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from skilltokens.cli.options import parse
from skilltokens.settings import check_device
from skilltokens.suites.limits import check_episodes
from skilltokens.types import SettingError, Suite, Task, part_of

if TYPE_CHECKING:
    from skilltokens.skills.library import SkillLibrary


@dataclass(frozen=True)
class EvaluateOptions:
    """Rolls out a library's skills on a suite and prints successes with 95 % intervals (Wilson's).

    The policy gets each task's instruction and nothing else; the table says which skill that called.

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
    """Tasks by name; empty: those that a skill of the library is named after."""
    instruction: str | None = None
    """Say this instead of the tasks' own instructions."""
    episodes: int = 20
    """Episodes a task."""
    split: Literal["validation", "test"] = "test"
    """Initial states: validation states choose settings, test states are reported."""
    horizon: int = 0
    """The most steps of an episode; 0: the suite's own limit."""
    group: int = 10
    """Episodes that act in one fixed batch; part of what bit-exact actions depend on."""
    workers: int = 0
    """Simulator processes; 0 steps them in this process."""
    threads: int = 1
    """Threads of torch while acting; more rarely pay for so small a policy."""
    device: str = "cpu"
    """Where to act: cpu, cuda or cuda:1."""


def main(words: Sequence[str]) -> int:
    options = parse(EvaluateOptions, words, "skilltokens evaluate")
    for name, least in (("episodes", 1), ("horizon", 0), ("group", 1), ("threads", 1)):
        if getattr(options, name) < least:
            raise SettingError(f"--{name} {getattr(options, name)} is impossible: use {least} or more")
    check_device(options.device)
    import torch
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens import metrics
    from skilltokens.cli.progress import Single
    from skilltokens.cli.tables import output
    from skilltokens.simulation.pool import Pool
    from skilltokens.simulation.rollout import evaluate
    from skilltokens.skills.library import SkillLibrary
    from skilltokens.suites import load_suite

    library = SkillLibrary.open(options.library)
    suite = load_suite(options.suite or _suite_of(library))
    library.check_features({n: f for n, f in suite.features.items() if n in library.features}, f"suite {suite.name!r}")
    check_episodes(suite, options.split, options.episodes, options.horizon)
    tasks = _tasks(options, suite, [skill.name for skill in library.skills])
    table = Table(
        "task", "instruction", "skill called", "cosine", "success", "95 % interval", box=SIMPLE, pad_edge=False
    )
    torch.set_num_threads(options.threads)
    with Single("evaluating") as report, Pool(suite, options.workers, report) as pool:
        for number, task in enumerate(tasks):
            said = task.instruction if options.instruction is None else options.instruction
            chosen, cosine = library.select(said, report)
            outcomes = evaluate(
                library.actor(said, options.device),
                suite,
                task,
                options.split,
                range(options.episodes),
                group=options.group,
                pool=pool,
                horizon=options.horizon or None,
                report=part_of(report, number, len(tasks), "evaluate"),
            )
            good = sum(outcome.success for outcome in outcomes)
            low, high = metrics.wilson(good, len(outcomes))
            skill = library.skills[chosen].name
            interval = f"{float(low):.2f} to {float(high):.2f}"
            table.add_row(task.name, said, skill, f"{cosine:.2f}", f"{good} of {len(outcomes)}", interval)
    output().print(table)
    return 0


def _suite_of(library: SkillLibrary) -> str:
    """The suite that a library's notes name."""
    from skilltokens.suites import suite_names

    named = {note["suite"] for note in library.notes if "suite" in note}
    if len(named) == 1 and named <= set(suite_names()):
        return named.pop()
    raise SettingError(f"{library.folder} does not say which suite its skills are of: name it with --suite")


def _tasks(options: EvaluateOptions, suite: Suite, skills: Sequence[str]) -> list[Task]:
    from skilltokens.suites import task_of

    if options.tasks:
        return [task_of(suite, name) for name in options.tasks]
    found = [task for task in suite.tasks if task.name in skills]
    if not found:
        raise SettingError(
            f"no skill of {options.library} ({', '.join(skills)}) is named after a task of {suite.name!r}: "
            "say which tasks with --tasks"
        )
    return found
