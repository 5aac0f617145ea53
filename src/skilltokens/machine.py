"""The machine that work is done on, and that a figure or a proof was made on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


TRIM, MMAP = -1, -3
"""glibc's numbers of M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h)."""


def keep_freed_memory(megabytes: int = 256) -> None:
    """This process keeps so much freed memory at hand and does not return it to the system; without glibc, nothing
    happens.

    A training step takes and frees the same arrays again and again. Usually glibc returns them in between, and the
    system then fills every page with zeros anew: some 1,800 pages a step of the default policy.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM, megabytes << 20)
        mallopt(MMAP, 32 << 20)  # the most that glibc itself goes to: larger arrays are returned at once
