"""Configurations of runs: compared, and written as people write settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skilltokens.experiments.records import Machine
from skilltokens.report.runs import Run

# What may differ between two runs of one group: it changes who is who, how fast it goes or what is shown, not what
# is measured.
_PER_RUN = (
    *("seed", "train.threads", "train.device", "train.kernel", "train.log_every"),
    *("evaluate.workers", "evaluate.step_limit", "evaluate.videos", "demonstrations.folder"),
    "cotrain.folders",
)


def measured(run: Run) -> dict[str, Any]:
    """The settings that what is measured depends on."""
    return {name: value for name, value in run.config.items() if name not in _PER_RUN}


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Settings that at least two runs have, and not with the same value: each run's, None where it has no such one."""
    configs = [measured(run) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    table = {name: [config[name] for config in configs if name in config] for name in names}
    return {
        name: [config.get(name) for config in configs]
        for name, values in table.items()
        if any(value != values[0] for value in values)
    }


def machine(run: Run) -> str:
    """The machine of a run in one line."""
    machine = run.record.timing.machine
    if isinstance(machine, Machine):
        return ", ".join([machine.system, machine.processor, f"{machine.cores} cores"])
    return shown(machine)


def digests(run: Run) -> str:
    """The beginnings of the demonstrations' digests, enough to tell whether two runs learned from the same."""
    digest = run.record.demonstrations.digest
    return " ".join(str(word)[:8] for word in (digest if isinstance(digest, list) else [digest]) if word)


def shown(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "none"
    return str(value)
