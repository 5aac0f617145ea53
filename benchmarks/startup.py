"""`skilltokens --help` against a Python that does nothing.

The ratio says how many bare starts of the interpreter the command's help costs. Good: below 15, a fraction of a second;
a torch imported by accident would show as 50 or more (over 100 where this was written).
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from benchmarks.setting import Bench
from benchmarks.timing import Row, row, spent_by_children, take_turns


def run(bench: Bench) -> list[Row]:
    """One row; whole processes are timed, so a turn is one start."""
    sides = {
        "skilltokens --help": lambda: _start("-m", "skilltokens", "--help"),
        "python -c pass": lambda: _start("-c", "pass"),
    }
    effort = dataclasses.replace(bench.effort, seconds=min(bench.effort.seconds, 0.05))
    times = take_turns(sides, effort, spent_by_children)
    return [row("startup", times, "skilltokens --help", "python -c pass", "below 15")]


def _start(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
