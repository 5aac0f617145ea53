"""A run's folder at work: one process at a time, which first removes what killed ones left half written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from skilltokens.files import shown, sweep
from skilltokens.locking import check_free, locked
from skilltokens.types import Report, RunError, silent

ADVICE = "wait until it is done, or choose a new folder with --out"
PATIENCE = 1.0
"""Seconds to wait for another process, which may only have looked whether the folder is free."""


@contextlib.contextmanager
def working(folder: Path, report: Report = silent) -> Iterator[None]:
    """Holds the lock of a run's folder; a process that is killed holds it no longer.

    Raises:
        RunError: another process works there, or the folder cannot be written.
    """
    with locked(folder, RunError, wait=PATIENCE, advice=ADVICE, report=report):
        sweep(folder)
        yield


def check_alone(folder: Path) -> None:
    """Raises RunError where another process works in a run's folder now, or none can; removes what killed ones left."""
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it is made, or told where that fails
    except (OSError, ValueError) as problem:
        raise RunError(
            f"{shown(folder)} cannot be a run's folder ({problem.args[-1]}): choose another with --out"
        ) from problem
    check_free(folder, RunError, advice=ADVICE)
    sweep(folder)
