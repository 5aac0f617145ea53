"""`skilltokens evaluate`: the skills of a library on a suite, called by their instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.profile.options import ProfileOptions, profiled
from skilltokens.cli.saying import cells, say
from skilltokens.settings import STEP_LIMIT, check_device
from skilltokens.suites.context import Context, in_context
from skilltokens.suites.limits import check_episodes
from skilltokens.types import Actor, LibraryError, Progress, Report, SettingError, Suite, Task, part_of

if TYPE_CHECKING:
    from skilltokens.cli.opening import Library
    from skilltokens.simulation.pool import Pool


@dataclass(frozen=True)
class EvaluateOptions(ProfileOptions):
    """Runs a library's skills on the tasks of a suite and prints how often they succeed, with 95 % Wilson intervals.

    The library is given each task's instruction and no task id; the table shows which skill the instruction called, and
    marks it where another skill was learned on that task. What was counted is written into the library and its card.
    Without a simulator, --stores says how far a skill's actions are from demonstrated ones.

    examples:
      skilltokens evaluate library
      skilltokens evaluate library --tasks push window-close --episodes 50 --workers 2
      skilltokens evaluate library --suite mymodule:MyRobot-v0 --tasks myrobot-v0
      skilltokens evaluate library --tasks push --instruction "shove the puck to the goal"
      skilltokens evaluate library --stores demos/metaworld/push demos/metaworld/window-close
    """

    library: tyro.conf.Positional[Path]
    """The library's folder."""
    suite: str = ""
    """The suite, or a Gymnasium id; empty: the suite that the skills were learned on. See `skilltokens list suites`."""
    tasks: tuple[str, ...] = ()
    """Tasks by name; empty: those whose names the library's skills have."""
    instruction: str | None = None
    """Give this sentence instead of each task's own instruction."""
    threshold: float | None = None
    """Confidence from 0 to 1 below which no skill is called; 0: one always is; left out: the library's default."""
    stores: tuple[Path, ...] = ()
    """Demonstration stores: measure the error of the actions on them, and run no simulator."""
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
    ahead: int = 1
    """Actions that are taken for each look at the observation, for a library that was learned with --policy.chunk."""
    workers: int = 1
    """Processes that run the simulators; 0: this process runs them, and a hanging step cannot be ended then. Changes no
    result."""
    step_limit: float = STEP_LIMIT
    """Seconds that a step may take in a worker, a reset five times as many, before it is tried anew; 0: no limit."""
    threads: int = 1
    """Threads of torch while acting; more than 1 are seldom faster for so small a policy."""
    device: str = "cpu"
    """Where to act: cpu, cuda or cuda:1."""
    loader: str = ""
    """Of a library beside another make's policy, who makes that: MODULE:FUNCTION, or the name of an installed one."""
    base: str = ""
    """Where that policy is now, if it was moved."""


HEAD = ("task", "instruction", "skill called", "confidence", "success", "95 % interval")
"""The columns of the table that is printed."""
STORE_HEAD = ("store", "instruction", "skill called", "confidence", "mean error of an action", "one action always")
"""The same for stores."""


def main(words: Sequence[str]) -> int:
    options = parse(EvaluateOptions, words, "skilltokens evaluate")
    _check(options)
    with profiled(options.profile, "evaluate"):
        return _evaluate(options)


def _evaluate(options: EvaluateOptions) -> int:
    import torch

    from skilltokens.cli.opening import open_library

    library = open_library(options.library, loader=options.loader, base=options.base, device=options.device)
    torch.set_num_threads(options.threads)
    results = _on_stores(options, library) if options.stores else _in_simulators(options, library)
    _show(STORE_HEAD if options.stores else HEAD, [result.row for result in results])
    for result in results:
        for sentence in result.sentences:
            say(f"note: {sentence}")
    try:
        for result in results:
            if result.skill and result.notes:
                library.note(result.skill, result.notes)
    except LibraryError as problem:  # a library may be read-only: the figures stand above
        say(f"note: not written into the library: {problem}")
    return 0


@dataclass(frozen=True)
class _Result:
    """What was measured of one task or store."""

    row: tuple[str, ...]
    skill: str = ""
    """The skill of which the library keeps what was counted; empty: it keeps nothing."""
    notes: dict[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


def _show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens.cli.tables import output

    table = Table(*head, box=SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*cells(row))
    output().print(table)


def _in_simulators(options: EvaluateOptions, library: Library) -> list[_Result]:
    from skilltokens.cli.progress import Single
    from skilltokens.simulation.pool import Pool
    from skilltokens.skills.library import SkillLibrary
    from skilltokens.suites import load_suite
    from skilltokens.suites.remarks import remarks_on

    suite = load_suite(options.suite or _suite_of(library))
    library.check_features(suite.features, f"suite {suite.name!r}")
    if isinstance(library, SkillLibrary):
        library.check_actions(suite)
    check_episodes(suite, options.split, options.episodes, options.horizon)
    tasks = _tasks(options, suite, library.names)
    for sentence in remarks_on(suite, tasks):
        say(f"note: {sentence}")
    results: list[_Result] = []
    with Single("evaluating") as report, Pool(suite, options.workers, report, options.step_limit) as pool:
        for number, task in enumerate(tasks):
            part = part_of(report, number, len(tasks), "evaluate")
            results.append(_evaluated(options, library, suite, task, pool, part))
    return results


def _on_stores(options: EvaluateOptions, library: Library) -> list[_Result]:
    from skilltokens.cli.progress import Single
    from skilltokens.configuration import plain
    from skilltokens.demos import DemonstrationStore
    from skilltokens.skills.worth import action_error

    results: list[_Result] = []
    with Single("evaluating") as report:
        for number, path in enumerate(options.stores):
            report(Progress("evaluate", number, len(options.stores), str(path)))
            store = DemonstrationStore.open(path)
            store.verify()
            library.check_features(store.features, str(path))
            instruction = store.task.instruction if options.instruction is None else options.instruction
            ranking = library.select(instruction, options.threshold, report)
            if ranking.chosen is None:
                row = (store.task.name, instruction, "none", f"{ranking.confidence:.2f}", "", "")
                results.append(_Result(row, sentences=(ranking.sentence(),)))
                continue
            name = library.names[ranking.chosen]
            worth = action_error(_actor(options, library, name), store, range(store.episodes))
            sentences = _wrong(library, name, store.suite, store.task.name)
            figures = (f"{ranking.confidence:.2f}", f"{worth.error:.3f}", f"{worth.still:.3f}")
            notes = {} if sentences else {"error": {"demonstrations": store.digest, **plain(worth)}}
            row = (store.task.name, instruction, f"{name}{' (wrong)' * bool(sentences)}", *figures)
            results.append(_Result(row, name, notes, sentences))
    return results


def _wrong(library: Library, called: str, suite: str, task: str) -> tuple[str, ...]:
    """A sentence where another skill was learned on this task than the one that was called."""
    own = {
        record.name
        for record in library.records
        for about in [record.about()]
        if about.get("task", record.name) == task and about.get("suite", suite) == suite
    }
    if not own or called in own:
        return ()
    names = " and ".join(map(repr, sorted(own)))
    return (f"task {task!r} called {called!r}, and {names} was learned on it: miscalled, which is not forgotten",)


def _check(options: EvaluateOptions) -> None:
    for name, least in (("episodes", 1), ("horizon", 0), ("group", 1), ("ahead", 1), ("threads", 1)):
        if getattr(options, name) < least:
            raise SettingError(f"--{name} {getattr(options, name)} is impossible: use {least} or more")
    check_device(options.device)
    if options.ahead > 1 and options.stores:
        raise SettingError("--ahead is for simulators: on --stores every demonstrated step is looked at")


def _evaluated(
    options: EvaluateOptions, library: Library, suite: Suite, task: Task, pool: Pool, report: Report
) -> _Result:
    """Rolls out the skill that one task's instruction calls."""
    from skilltokens import metrics
    from skilltokens.simulation.rollout import evaluate
    from skilltokens.skills.library import SkillLibrary

    own = in_context(suite, task, options.context).instruction
    instruction = own if options.instruction is None else options.instruction
    ranking = library.select(instruction, options.threshold, report)
    confidence = f"{ranking.confidence:.2f}"
    if ranking.chosen is None:
        return _Result((task.name, instruction, "none", confidence, "", ""), sentences=(ranking.sentence(),))
    name = library.names[ranking.chosen]
    outcomes = evaluate(
        _actor(options, library, name),
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
    sentences = _wrong(library, name, suite.name, task.name)
    counts = {"suite": suite.name, "split": options.split, "successes": successes, "episodes": len(outcomes)}
    ahead = isinstance(library, SkillLibrary) and library.policy_settings.chunk > 1
    counts |= {"ahead": options.ahead} if ahead else {}
    kept = options.instruction is None and not sentences and task.name == library.state.newest(name).about().get("task")
    figures = (f"{successes} of {len(outcomes)}", f"{low:.2f} to {high:.2f}")
    row = (task.name, instruction, f"{name}{' (wrong)' * bool(sentences)}", confidence, *figures)
    return _Result(row, name, counts if kept else {}, sentences)


def _actor(options: EvaluateOptions, library: Library, name: str) -> Actor:
    """The actor of a skill.

    Raises:
        SettingError: --ahead is asked for of a policy of another make.
    """
    from skilltokens.model.ahead import Ahead
    from skilltokens.skills.library import SkillLibrary

    if isinstance(library, SkillLibrary):
        return Ahead(library.actor_of(name, options.device, traced=not options.stores), options.ahead)
    if options.ahead > 1:
        raise SettingError(
            f"--ahead is for this package's own policies, and {library.folder} stands beside another make's, whose "
            "configuration says how many actions it takes for a look: leave it out"
        )
    return library.actor_of(name)


def _suite_of(library: Library) -> str:
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
