"""A published run as a recipe: its settings are read out of run.json, and what comes out is compared with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from skilltokens.configuration import differences
from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.recipes import Recipe
from skilltokens.experiments.records import LifelongRecord, RewardRecord, altered, read_record, run_file
from skilltokens.experiments.rereading import settings_in
from skilltokens.types import RunError, SettingError


def names_a_run(word: str) -> bool:
    """Whether a word on the command line is meant as a run and not as a recipe: a run.json, or a folder with one."""
    return word.endswith(".json") or (Path(word) / "run.json").is_file()


def recipe_in(path: Path) -> Recipe:
    """The recipe that repeats a run: one learner, the settings that it was made with.

    Raises:
        RunError: the file is missing or damaged, or of a version whose settings cannot be read.
    """
    record = read_record(path)
    experiment = experiment_in(record)
    try:
        settings = settings_in(record)
    except SettingError as problem:
        raise altered(run_file(path), str(problem)) from problem
    learner = experiment.learner(settings)

    def repeated(name: str) -> object:
        if name != learner:
            raise SettingError(f"{path} is a run of {learner!r}: it can be repeated by that alone, not by {name!r}")
        return settings

    return Recipe(f"repeat-{learner}", f"repeats {path}", experiment, (learner,), repeated)


def changes(old: Path, new: Path) -> list[str]:
    """Where a repeated run differs from the one that it repeats, a line each; none where every figure is the same.

    Raises:
        RunError: one of them cannot be read, or they are of two kinds.
    """
    before, after = read_record(old), read_record(new)
    if isinstance(before, LifelongRecord) and isinstance(after, LifelongRecord):
        lines = list(_lifelong_changes(before, after))
    elif isinstance(before, RewardRecord) and isinstance(after, RewardRecord):
        lines = list(_reward_changes(before, after))
    else:
        raise RunError(f"{old} and {new} are of two kinds of experiment: compare one with its own repetition")
    if not lines:
        return []
    here = differences(_surroundings(before), _surroundings(after))
    return [*lines, f"made under other conditions: {here}" if here else "made under the same versions"]


def _surroundings(record: LifelongRecord | RewardRecord) -> dict[str, object]:
    machine = record.timing.machine if isinstance(record, LifelongRecord) else record.machine
    processor = getattr(machine, "processor", machine)
    return {**record.versions, "processor": processor, "commit": record.commit}


def _lifelong_changes(before: LifelongRecord, after: LifelongRecord) -> Iterator[str]:
    if before.demonstrations != after.demonstrations:
        yield "the demonstrations are others (their digests differ)"
    cells = {(cell.after, cell.task, cell.progress): cell for cell in after.cells}
    same_bits = bits = 0
    for cell in before.cells:
        where = f"{before.tasks[cell.task].name} after {cell.after + 1} tasks, {cell.progress:.0%} of training"
        again = cells.get((cell.after, cell.task, cell.progress))
        if again is None:
            yield f"{where}: not evaluated"
            continue
        bits += bool(cell.policy)
        same_bits += cell.policy == again.policy != ""
        if (cell.successes, cell.episodes) != (again.successes, again.episodes):
            yield f"{where}: {cell.successes} of {cell.episodes}, now {again.successes} of {again.episodes}"
    if same_bits < bits:
        yield f"{same_bits} of {bits} evaluated policies have the same bits"


def _reward_changes(before: RewardRecord, after: RewardRecord) -> Iterator[str]:
    if before.model.fingerprints != after.model.fingerprints:
        yield "the policy that is steered is another (its fingerprints differ)"
    results = {result.task: result for result in after.results}
    for result in before.results:
        again = results.get(result.task)
        if again is None:
            yield f"{result.task}: not learned"
        elif (result.steps, result.successes) != (again.steps, again.successes):
            yield f"{result.task}: successes {result.successes}, now {again.successes}"
