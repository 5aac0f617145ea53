"""The whole way, as docs/lerobot.md tells it: LeRobot's data, a library, the Hub, a server, lerobot-eval."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hubstub import at_home

from skilltokens.skills.library import SkillLibrary

ROOT = Path(__file__).parents[3]
STORY = ROOT / "examples" / "arm" / "story.sh"
OPENPI = os.environ.get("OPENPI_PYTHON", str(ROOT / ".venv-openpi" / "bin" / "python"))


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def test_from_a_lerobot_data_set_to_lerobot_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not Path(OPENPI).exists():
        pytest.fail(f"{OPENPI} is not there: `make lerobot` makes it")
    folder = tmp_path / "story"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("OPENPI", OPENPI)
    monkeypatch.setenv("PORT", str(free_port()))
    with at_home(monkeypatch, tmp_path) as hub:
        words = ["bash", str(STORY), "me/arm"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]

    grown, pulled = SkillLibrary.open(folder / "library"), SkillLibrary.open(folder / "pulled")
    assert grown.names == ["touch-the-red-ball", "touch-the-blue-ball"]
    assert pulled.fingerprints() == grown.fingerprints()
    assert list(hub.repositories) == ["me/arm"]

    errors = [float(error) for error in re.findall(r"answers, ([\d.]+) degrees", done.stdout)]
    assert len(errors) == 2
    assert max(errors) < 4, "the demonstrated actions move by 6 degrees a step"

    info = json.loads((folder / "evaluation" / "eval_info.json").read_text())
    successes = [sum(task["metrics"]["successes"]) for task in info["per_task"]]
    assert len(successes) == 2
    assert min(successes) >= 5, f"{successes} of 10 each"
    films = [Path(film) for task in info["per_task"] for film in task["metrics"]["video_paths"]]
    assert len(films) == 20
    assert all((folder / film).stat().st_size > 1000 for film in films)
