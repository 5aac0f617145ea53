"""Does a suite keep the protocol? `check_suite` finds mistakes that would spoil an experiment and raise no error."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.demos.kinds import NUMBERS, kind_of
from skilltokens.simulation.signs import tell
from skilltokens.suites.units import doubt_units
from skilltokens.types import (
    ACTION,
    Array,
    DemonstrationError,
    Environment,
    Observation,
    Report,
    Split,
    Suite,
    SuiteError,
    Task,
    is_over,
    silent,
)

STEPS = 5
"""Steps that two rollouts of the same episode are compared over."""


def check_suite(suite: Suite, tasks: Sequence[Task] | None = None, report: Report = silent) -> None:
    """Tries the suite in this process, with a few resets and steps of each task.

    It checks that observations are what the suite declares; that an episode is the same when it is run again, after
    other episodes and in a fresh environment; that other indices and splits give other initial states; that the
    suite can be sent to worker processes; and that the actions of its own demonstrations, where it has some, are in its
    units (units.py).

    Args:
        tasks: the tasks to try; all of the suite's where left out.
        report: gets what may be a mistake and may be none; standard error, where it is silent.

    Raises:
        SuiteError: the first thing that is wrong.
    """
    try:
        pickle.dumps(suite)
    except Exception as problem:  # anything a user's class may raise
        raise SuiteError(
            f"suite {suite.name!r} cannot be sent to worker processes ({problem}): define its functions and classes at "
            "the top of a module"
        ) from problem
    for name, feature in suite.features.items():
        if name != ACTION and kind_of(name, feature) in NUMBERS:
            scale = suite.scales.get(name)
            width = feature.shape[-1]
            if scale is None or len(scale.center) != width or len(scale.unit) != width or min(scale.unit) <= 0:
                raise SuiteError(f"suite {suite.name!r} needs a scale of {width} positive units for {name!r}")
    for sentence in getattr(suite, "remarks", list)():
        tell(report, sentence)
    for task in suite.tasks if tasks is None else tasks:
        _check_task(suite, task)
        _check_units(suite, task, report)


def _check_task(suite: Suite, task: Task) -> None:
    """Raises SuiteError where the task's episodes cannot be repeated, or all start in one state."""
    first, second = suite.make(task), suite.make(task)
    try:
        alone = _rollout(suite, task, first, "test", 0)
        runs = {
            "again": _rollout(suite, task, first, "test", 0),
            "after another episode": [
                _rollout(suite, task, first, "train", 3),
                _rollout(suite, task, first, "test", 0),
            ][1],
            "in another environment, after another episode": [
                _rollout(suite, task, second, "validation", 1),
                _rollout(suite, task, second, "test", 0),
            ][1],
        }
        for when, run in runs.items():
            for step, (one, other) in enumerate(zip(alone, run, strict=True)):
                for name in one:
                    if not np.array_equal(one[name], other[name]):
                        raise SuiteError(
                            f"{suite.name} task {task.name!r} is not repeatable: at step {step}, {name} of test "
                            f"episode 0 is another {when}; draw all randomness from the seed of reset, "
                            "and reset all state"
                        )
        starts: list[tuple[Split, int]] = [("test", 1), ("validation", 0), ("train", 0)]
        if all(_same(alone[0], first.reset(split, index)) for split, index in starts):
            raise SuiteError(
                f"{suite.name} task {task.name!r} starts every episode in the same state: use the seed of reset"
            )
        _check_flag(suite, first)
    finally:
        first.close()
        second.close()


def _check_flag(suite: Suite, environment: Environment) -> None:
    """Goes on to the end of an episode where no success flag was seen yet: there it must be."""
    if getattr(environment, "flagged", True):
        return
    center, _ = _units(suite)
    environment.reset("test", 0)
    for _ in range(suite.horizon):
        environment.step(center)
        if is_over(environment):
            break


def _units(suite: Suite) -> tuple[Array, Array]:
    """The middle of the suite's actions (A,), and what is one unit of them."""
    scale, shape = suite.scales.get(ACTION), suite.features[ACTION].shape
    return (np.zeros(shape), np.ones(shape)) if scale is None else (np.array(scale.center), np.array(scale.unit))


def _check_units(suite: Suite, task: Task, report: Report) -> None:
    """Raises SuiteError where a replay shows that the demonstrations' actions are in other units; tells a doubt."""
    ask: Callable[[Task], DemonstrationStore | None] = getattr(suite, "store", lambda _: None)
    try:
        store = ask(task)
    except DemonstrationError:
        return  # none is there yet
    doubt = None if store is None else doubt_units(suite, store, replay=True)
    if doubt is not None and doubt.proven:
        raise SuiteError(doubt.sentence)
    if doubt is not None:
        tell(report, f"note: {doubt.sentence}")


def _rollout(suite: Suite, task: Task, environment: Environment, split: Split, index: int) -> list[Observation]:
    """The first observations of one episode under fixed actions that reach beyond the range of the suite's."""
    generator, (center, unit) = np.random.default_rng(index), _units(suite)
    observations = [environment.reset(split, index)]
    for _ in range(STEPS):
        action = (center + unit * generator.uniform(-1.5, 1.5, suite.features[ACTION].shape)).astype(np.float32)
        observation, success = environment.step(action)
        if not isinstance(success, bool):
            raise SuiteError(f"{suite.name} task {task.name!r}: step must return (observation, bool), not {success!r}")
        observations.append(observation)
    for observation in observations:
        _check_observation(suite, task, observation)
    return [{name: np.array(values) for name, values in observation.items()} for observation in observations]


def _check_observation(suite: Suite, task: Task, observation: Observation) -> None:
    declared = {name: feature for name, feature in suite.features.items() if name != ACTION}
    if observation.keys() != declared.keys():
        raise SuiteError(
            f"{suite.name} task {task.name!r} observes {sorted(observation)} where {sorted(declared)} are declared"
        )
    for name, feature in declared.items():
        value = np.asarray(observation[name])
        if value.shape != feature.shape or value.dtype != feature.dtype or not np.isfinite(value).all():
            raise SuiteError(
                f"{suite.name} task {task.name!r} observes {name} as {value.dtype} {value.shape}, finite: "
                f"{bool(np.isfinite(value).all())}, where finite {feature.dtype} {feature.shape} is declared"
            )


def _same(one: Observation, other: Observation) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)
