"""How far the run in a folder has come, as its run.json and its lock say. Free of torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skilltokens.experiments.reading import read_record
from skilltokens.experiments.records import LifelongRecord, RewardRecord
from skilltokens.locking import check_free
from skilltokens.types import RunError

State = Literal["done", "runs", "stopped", "waiting"]
"""done; a process works on it; it was stopped, or died; there is nothing yet."""


@dataclass(frozen=True)
class RunState:
    """A run's folder as it is now."""

    folder: Path
    state: State
    record: LifelongRecord | RewardRecord | None
    """None where there is no run.json yet."""

    @property
    def lessons(self) -> int:
        """Lessons that are done."""
        if self.record is None:
            return 0
        return self.record.lessons if isinstance(self.record, LifelongRecord) else len(self.record.results)

    @property
    def total(self) -> int:
        """Lessons of the run; 0 where it has not begun."""
        if self.record is None:
            return 0
        together = (self.record.first or 1) if isinstance(self.record, LifelongRecord) else 1
        return len(self.record.tasks) - together + 1

    @property
    def share(self) -> float:
        """How much of it is done, by its lessons."""
        return 1.0 if self.state == "done" else self.lessons / self.total if self.total else 0.0

    @property
    def seconds(self) -> float:
        """What its lessons took so far."""
        if isinstance(self.record, LifelongRecord):
            return sum(self.record.timing.train_s) + sum(self.record.timing.evaluate_s)
        return sum(result.seconds for result in self.record.results) if self.record is not None else 0.0

    @property
    def words(self) -> str:
        """For a table: `done`, `runs, 3 of 10 lessons done`, `stopped in lesson 4 of 10`, `waiting`."""
        if self.state == "runs":
            return f"runs, {self.lessons} of {self.total} lessons done" if self.total else "runs"
        if self.state == "stopped":
            return f"stopped in lesson {min(self.lessons + 1, self.total)} of {self.total}"
        return self.state


def state_of(folder: Path) -> RunState:
    """The run in a folder.

    Raises:
        RunError: its run.json is damaged.
    """
    path = Path(folder) / "run.json"
    record = read_record(path) if os.path.exists(path) else None
    if record is not None and record.finished:
        return RunState(folder, "done", record)
    try:
        check_free(folder, RunError)
    except RunError:
        return RunState(folder, "runs", record)
    return RunState(folder, "waiting" if record is None else "stopped", record)
