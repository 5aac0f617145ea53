"""The whole way, as docs/attached.md tells it: a checkpoint of lerobot-train's, two further skills, lerobot-eval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skilltokens.attached.library import AttachedLibrary

STORY = Path(__file__).parents[3] / "examples" / "attached" / "story.sh"


def test_act_learns_a_second_and_a_third_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    done = subprocess.run(["bash", str(STORY)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]

    library = AttachedLibrary.open(tmp_path / "library")
    grown = AttachedLibrary.open(tmp_path / "outputs" / "third" / "checkpoints" / "last" / "pretrained_model")
    assert library.names == ["base", "handle-press-side"]
    assert grown.names == ["base", "handle-press-side", "faucet-close"]
    kept = {path.name: path.read_bytes() for path in (library.folder / "skills").iterdir()}
    assert kept.items() <= {path.name: path.read_bytes() for path in (grown.folder / "skills").iterdir()}.items()
    assert done.stdout.count("bit for bit") == 3, done.stdout[-3000:]

    info = json.loads((tmp_path / "evaluation" / "eval_info.json").read_text())
    successes = [sum(task["metrics"]["successes"]) for task in info["per_task"]]
    assert len(successes) == 3
    assert min(successes) >= 3, f"{successes} of 10 each; 9, 10 and 6 where this was written"
