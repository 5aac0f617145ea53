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
from tests.hubstub import TOKEN, Hub, serving

from skilltokens.skills.library import SkillLibrary

ROOT = Path(__file__).parents[3]
STORY = ROOT / "examples" / "arm" / "story.sh"
OPENPI = os.environ.get("OPENPI_PYTHON", str(ROOT / ".venv-openpi" / "bin" / "python"))


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def test_from_a_lerobot_data_set_to_lerobot_eval(tmp_path: Path):
    if not Path(OPENPI).exists():
        pytest.fail(f"{OPENPI} is not there: `make lerobot` makes it")
    with serving(Hub()) as hub:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HF_ENDPOINT": hub.address,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",  # the stub has no such store
            "HF_HOME": str(tmp_path / "huggingface"),
            "OPENPI": OPENPI,
            "PORT": str(free_port()),
        }
        folder = tmp_path / "story"
        folder.mkdir()
        done = subprocess.run(
            ["bash", str(STORY), "me/arm"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]

    made, pulled = SkillLibrary.open(folder / "library"), SkillLibrary.open(folder / "pulled")
    assert made.names == ["touch-the-red-ball", "touch-the-blue-ball"]
    assert pulled.fingerprints() == made.fingerprints()
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
