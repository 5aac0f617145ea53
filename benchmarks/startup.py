"""`skilltokens --help` and `skilltokens list` against a Python that does nothing.

The ratio says how many bare starts of the interpreter they cost. Good: help below 6, the list below 15, a tenth of a
second each; a torch imported by accident would show as 50 or more (over 100 where this was written).
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from benchmarks.setting import Bench
from benchmarks.timing import Row, row, spent_by_children, take_turns


def run(bench: Bench) -> list[Row]:
    """Two rows; whole processes are timed, so a turn is one start."""
    sides = {
        "skilltokens --help": lambda: _start("-m", "skilltokens", "--help"),
        "skilltokens list": lambda: _start("-m", "skilltokens", "list"),
        "python -c pass": lambda: _start("-c", "pass"),
    }
    effort = dataclasses.replace(bench.effort, seconds=min(bench.effort.seconds, 0.05))
    times = take_turns(sides, effort, spent_by_children)
    return [
        row("startup", times, f"skilltokens {words}", "python -c pass", good)
        for words, good in (("--help", "below 6"), ("list", "below 15"))
    ]


def _start(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
