"""Runs killed at their operations on files: given again, the same command ends as if nothing had happened.

`make soak` (tests/soak.py) does the same by the command line, at each operation.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
from tests.experiments.lifelong.runs import TASKS, Settings
from tests.killing import Command, check_kills

from skilltokens.experiments.lifelong import learn


def _run(settings: Settings, folder: Path) -> Command:
    return functools.partial(learn, settings, folder, recipe="small")


@pytest.mark.slow
def test_killed_at_any_operation_on_files_it_ends_with_the_same_files(settings: Settings, tmp_path: Path):
    tiny = dataclasses.replace(
        settings,
        tasks=TASKS[:2],
        train=dataclasses.replace(settings.train, iterations=2, first_iterations=2, batch=2, window=4),
        evaluate=dataclasses.replace(settings.evaluate, episodes=1, group=1, points=2, horizon=2),
    )
    deaths = check_kills(functools.partial(_run, tiny), tmp_path, 8)
    assert len(deaths) >= 8  # which of some hundred they are depends on their number; `make soak` tries each
