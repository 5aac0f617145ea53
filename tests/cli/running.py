"""`skilltokens run` on the toy suite, small enough for tests."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from skilltokens.cli import main

ROOT = Path(__file__).parents[2]
SMALL = shlex.split(
    "--suite tests.toy:Toy --tasks reach-red reach-blue --policy.width 32 --policy.layers 2 "
    "--train.iterations 20 --train.first-iterations 20 --train.batch 8 --method.share 0.3 "
    "--evaluate.episodes 4 --evaluate.group 4 --evaluate.points 2 --evaluate.no-videos --demonstrations.episodes 4"
)


def command(place: Path, out: str, *words: str, recipe: str = "demo") -> list[str]:
    """The words after `skilltokens`, for runs in PLACE/OUT on demonstrations in PLACE/demos."""
    return ["run", recipe, *SMALL, "--demonstrations.folder", str(place / "demos"), "--out", str(place / out), *words]


def run(
    words: Sequence[str], cwd: Path = ROOT, modules: Sequence[Path] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which finds modules in `modules` and those of the tests."""
    path = os.pathsep.join([*map(str, modules), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-m", "skilltokens", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def results_in(folder: Path) -> dict[str, Any]:
    """The numbers of a finished run."""
    content = json.loads((folder / "run.json").read_text())
    assert content["finished"]
    return {key: content[key] for key in ("evaluations", "parameters", "learning", "demonstrations", "selection")}


def sentence(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that a mistaken command ends with."""
    capsys.readouterr()
    assert main(words) == 2
    *before, line = capsys.readouterr().err.splitlines()
    assert all(first.startswith("starting ") for first in before)  # said before torch is there to find a mistake
    assert line.startswith("skilltokens: ")
    return line.removeprefix("skilltokens: ")


def install(folder: Path, group: str, **places: str) -> None:
    """What pip would write for a package with entry points, so that they are found where `folder` is on sys.path."""
    info = folder / "plugged-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {place}" for name, place in places.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
