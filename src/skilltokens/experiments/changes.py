"""Where the figures of a repeated run differ from those of the run that it repeats."""

from __future__ import annotations

from collections.abc import Iterator

from skilltokens.experiments.records import LifelongRecord, RewardRecord


def lifelong_changes(before: LifelongRecord, after: LifelongRecord) -> Iterator[str]:
    """A line for each cell whose counts are others, and one for the bits of the policies."""
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


def reward_changes(before: RewardRecord, after: RewardRecord) -> Iterator[str]:
    """A line for each task whose curve is another, and one for the policy that is steered."""
    if before.model.fingerprints != after.model.fingerprints:
        yield "the policy that is steered is another (its fingerprints differ)"
    results = {result.task: result for result in after.results}
    for result in before.results:
        again = results.get(result.task)
        if again is None:
            yield f"{result.task}: not learned"
        elif (result.steps, result.successes) != (again.steps, again.successes):
            yield f"{result.task}: successes {result.successes}, now {again.successes}"


def surroundings(record: LifelongRecord | RewardRecord) -> dict[str, object]:
    """What may make a repetition differ: versions, processor, commit."""
    processor = getattr(record.made_on, "processor", record.made_on)
    return {**record.versions, "processor": processor, "commit": record.commit}
