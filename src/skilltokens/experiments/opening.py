"""A lifelong run's record: opened or begun, and what is noted in it on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from skilltokens.configuration import changes_of, differences, flat, plain
from skilltokens.demos.store import DemonstrationStore
from skilltokens.experiments import provenance
from skilltokens.experiments.checkpoint import Work
from skilltokens.experiments.demonstrated import stores_there
from skilltokens.experiments.lessons import suites_own
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.records import (
    Demonstrations,
    Flow,
    LifelongRecord,
    Loss,
    Parameters,
    Resumed,
    Reuse,
    Start,
    TaskEntry,
    Timing,
)
from skilltokens.experiments.rereading import lifelong_settings_in, method_in
from skilltokens.experiments.settings import FREE, RunSettings
from skilltokens.files import RUN_SCHEMA
from skilltokens.methods import method_of
from skilltokens.methods.base import Method, Training, count
from skilltokens.methods.neighbours import noted
from skilltokens.model.policy import Policy
from skilltokens.train import Record
from skilltokens.types import OtherConfigurationError, RunError, Suite, Task

OTHERS = "the demonstrations are others than those this run began with: restore them, or choose a new folder with --out"


def open_run(
    folder: Path, settings: RunSettings[Any], recipe: str, suite: Suite, tasks: Sequence[Task]
) -> LifelongRecord:
    """The run in a folder, or a new one.

    Raises:
        RunError: run.json is damaged, or of another configuration.
    """
    path = folder / "run.json"
    if os.path.exists(path):
        record = read_lifelong(path)
        old = {"method": method_in(record), **flat(plain(lifelong_settings_in(record)))}
        check_same(folder, old, {"method": method_of(settings.method), **flat(plain(settings))}, FREE)
        if record.finished:
            own = suites_own(suite, tasks)
            _check_demonstrations(record, stores_there(settings, suite, own))
        return record
    return LifelongRecord(
        schema=RUN_SCHEMA,
        recipe=recipe,
        method=method_of(settings.method),
        suite=settings.suite,
        protocol=settings.protocol,
        observations="images" if any(len(f.shape) == 3 for f in suite.features.values()) else "state",
        seed=settings.seed,
        tasks=[TaskEntry(task.name, task.instruction) for task in tasks],
        demonstrations=Demonstrations(),
        cells=[],
        parameters=Parameters(base=0, trained=[], total=[]),
        timing=Timing(train_s=[], evaluate_s=[], machine=provenance.machine()),
        config=plain(settings),
        versions={**provenance.computing(settings.train.kernel), **suite.versions()},
        commit=provenance.commit(),
        started=provenance.now(),
        finished=None,
    )


def check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str]) -> None:
    """Raises OtherConfigurationError unless two flat configurations are equal, but for settings in `free`, which change
    no number."""
    changes = changes_of(old, new, free)
    if changes:
        raise OtherConfigurationError([str(folder)], changes)


def note_resumed(record: LifelongRecord, suite: Suite, kernel: str) -> str:
    """Writes down that a run is resumed under another commit or other versions than before, and says which; empty
    where nothing differs."""
    before, last_commit = dict(record.versions), record.commit
    for resumed in record.resumed:
        before |= resumed.versions
        last_commit = resumed.commit
    commit, now = provenance.commit(), {**provenance.computing(kernel), **suite.versions()}
    changed = {name: now.get(name) for name in sorted(before | now) if before.get(name) != now.get(name)}
    if not changed and last_commit == commit:
        return ""
    record.resumed.append(Resumed(at=provenance.now(), commit=commit, versions=changed))
    return differences({**before, "commit": last_commit}, {**before, **changed, "commit": commit})


def _check_demonstrations(record: LifelongRecord, stores: Sequence[DemonstrationStore | None]) -> None:
    """Raises RunError where others lie now than a finished run learned from: its figures are not theirs."""
    known = record.demonstrations.digest
    if not isinstance(known, list):
        return
    if any(store is not None and store.digest != digest for store, digest in zip(stores, known, strict=False)):
        raise RunError(OTHERS)


def note_demonstrations(record: LifelongRecord, stores: Sequence[DemonstrationStore]) -> None:
    """Writes down what is learned from; a run that is resumed must find the same demonstrations.

    Raises:
        RunError: they are others.
    """
    demonstrations = Demonstrations(
        stores[0].source, [store.episodes for store in stores], [store.digest for store in stores]
    )
    if record.demonstrations not in (Demonstrations(), demonstrations):
        raise RunError(OTHERS)
    record.demonstrations = demonstrations


def note_cotrained(record: LifelongRecord, digests: Sequence[str]) -> None:
    """Writes down the base's demonstrations that co-training may draw from; a run that is resumed must find the same.

    Raises:
        RunError: they are others.
    """
    if record.lessons and record.cotrained != list(digests):
        raise RunError(OTHERS)
    record.cotrained = list(digests)


def note_lesson(
    record: LifelongRecord,
    method: Method,
    training: Training,
    training_record: Record,
    work: Work,
    kept: int = 0,
) -> None:
    """Appends a lesson's parameters, losses, gradient norms, reuse of rows, kept data and times.

    Args:
        kept: bytes of demonstrations that are kept beside those that the method remembers.
    """
    parameters = record.parameters
    if not parameters.trained:
        parameters.base = count(method.base)
        # one of another make has no such trunk of ours
        trunk = method.base.trunk if isinstance(method.base, Policy) else None
        if trunk is not None:
            parameters.trunk = trunk.reference.parameters
    untrained = training.rule.untrained()
    parameters.trained.append(sum(parameter.numel() for parameter in training.parameters()) - untrained)
    parameters.total.append(method.stored())
    losses = [round(loss, 6) for loss in training_record.loss]
    record.learning.append(Loss(iterations=list(training_record.iterations), loss=losses))
    record.gradients.append(Flow(iterations=list(training_record.iterations), layers=training_record.gradients))
    reuse = method.reuse()
    if reuse is not None:
        record.reuse.append(
            Reuse(base=reuse["base"], new=reuse["new"], earlier=reuse["from"], start=reuse.get("start", ""))
        )
    neighbour = method.neighbour()
    if neighbour is not None:
        record.starts.append(msgspec.convert({"lesson": len(parameters.trained) - 1, **noted(neighbour)}, Start))
    remembered = method.remembered() + kept
    if remembered or record.remembered:
        record.remembered += [0] * (len(parameters.trained) - 1 - len(record.remembered))
        record.remembered.append(remembered)
    if training.rule.passes != 1 or record.passes:
        record.passes += [1.0] * (len(parameters.trained) - 1 - len(record.passes))
        record.passes.append(training.rule.passes)
    timing = record.timing
    times = [None] * len(timing.train_s) if timing.train_cpu_s is UNSET else timing.train_cpu_s
    timing.train_cpu_s = [*times, None if work.processor is None else round(work.processor, 1)]
    timing.train_s.append(round(work.seconds["train"], 1))
    timing.evaluate_s.append(round(work.seconds["evaluate"], 1))
