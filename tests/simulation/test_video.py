"""Videos of evaluated episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.faults import Faulty
from tests.toy import TASKS, Still, Toy, ToyExpert

from skilltokens.simulation.rollout import evaluate, record_video
from skilltokens.simulation.video import FAILURE, LIMIT, SUCCESS, write_video
from skilltokens.types import Outcome, SuiteError

SUITE, TASK = Toy(), TASKS[0]
EXPERT = ToyExpert(TASK)


@pytest.mark.parametrize("every", [1, 4])
def test_a_video_shows_the_episode_that_is_counted(every: int, tmp_path: Path) -> None:
    path = tmp_path / "video.webp"
    outcome = record_video(EXPERT, SUITE, TASK, "test", 3, path, every=every)
    assert [outcome] == evaluate(EXPERT, SUITE, TASK, "test", [3])
    with Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        assert frames == len(range(0, outcome.steps, every)) + 2, "these moments, the last one, and it held"
        image.seek(frames - 1)
        image.load()
        assert image.info["duration"] >= 1000
        assert np.allclose(np.asarray(image.convert("RGB"))[0, 0], SUCCESS, atol=30)


def test_a_video_shows_failure_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "video.webp"
    assert record_video(Still(), SUITE, TASK, "test", 3, path, horizon=5) == Outcome(False, 5)
    with Image.open(path) as image:
        image.seek(getattr(image, "n_frames", 1) - 1)
        assert np.allclose(np.asarray(image.convert("RGB"))[0, 0], FAILURE, atol=30)


def test_a_video_is_small_however_long_and_noisy(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 240, 240, 3), np.uint8)
    write_video(tmp_path / "video.webp", list(noise), True, 15)
    assert (tmp_path / "video.webp").stat().st_size < LIMIT


def test_a_video_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "video.webp"
    path.write_bytes(b"old")
    with pytest.raises(SuiteError):
        record_video(EXPERT, Faulty(fault="step raises"), TASK, "test", 3, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
