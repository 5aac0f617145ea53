"""Runs a client in the environment of its own package."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skilltokens.types import Array

ROOT = Path(__file__).parents[2]


def write_readings(folder: Path, seen: Sequence[Mapping[str, Array]]) -> None:
    """FOLDER/seen.npz: for each feature (steps, *shape)."""
    arrays: dict[str, Any] = {name: np.stack([one[name] for one in seen]) for name in seen[0]}
    np.savez(folder / "seen.npz", **arrays)


def answers(lane: str, script: Path, port: int, folder: Path) -> dict[str, str]:
    """What `script PORT FOLDER` says in .venv-LANE (or by the interpreter in $LANE_PYTHON): name, tab, text a line."""
    python = os.environ.get("LANE_PYTHON", str(ROOT / f".venv-{lane}" / "bin" / "python"))
    if not Path(python).exists():
        pytest.fail(f"{python} is not there: `make {lane}` makes it")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(script), str(port), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
