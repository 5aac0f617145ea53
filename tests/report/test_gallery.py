"""The gallery: a video of a demonstration, drawn from the simulator's states that its store keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.suites.libero.making import moves_store
from tests.toy import TASKS, Toy

from skilltokens.demos import write_store
from skilltokens.report.gallery import LIMIT, main, record_demonstration
from skilltokens.simulation.video import FAILURE, SUCCESS
from skilltokens.suites import load_suite, task_of
from skilltokens.types import DemonstrationError

TASK = "turn_on_the_stove"


def test_a_video_of_a_demonstration_is_drawn_from_its_states(tmp_path: Path):
    suite = load_suite("libero-goal")
    task, video = task_of(suite, TASK), tmp_path / "video.webp"
    store = moves_store(tmp_path / "demos", suite, task, episodes=2, steps=10)
    assert record_demonstration(suite, task, store, 1, video) == 10
    assert video.stat().st_size < LIMIT
    environment: Any = suite.make(task)
    with Image.open(video) as content:
        assert getattr(content, "n_frames", 1) == 5  # steps 0, 3, 6, 9, the last of them again with its frame
        content.seek(1)
        shown = np.asarray(content.convert("RGB"), np.float32)
        content.seek(4)
        corner = np.asarray(content.convert("RGB"))[0, 0].astype(int)
    environment.restore(store["simulator.state"][10 + 3])
    assert np.abs(shown - environment.render()).mean() < 4
    assert np.abs(corner - SUCCESS).sum() < np.abs(corner - FAILURE).sum()


def test_of_a_store_without_states_there_is_no_video(tmp_path: Path):
    toy = Toy()
    store = write_store(
        tmp_path / "store", toy.demonstrate(TASKS[0], 1, 0, 0.1), task=TASKS[0], features=toy.features,
        source="scripted", suite="toy",
    )  # fmt: skip
    with pytest.raises(DemonstrationError, match=r"does not keep simulator\.state"):
        record_demonstration(toy, TASKS[0], store, 0, tmp_path / "video.webp")


def test_the_page_shows_every_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    suite = load_suite("libero-goal")
    suite.tasks = suite.tasks[:1]  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr("skilltokens.report.gallery.load_suite", lambda _: suite)
    moves_store(tmp_path / "demos", suite, suite.tasks[0], episodes=1, steps=4)
    assert main(["libero-goal", "--folder", str(tmp_path / "demos"), "--out", str(tmp_path / "docs")]) == 0
    page = (tmp_path / "docs" / "gallery.md").read_text()
    name = suite.tasks[0].name
    assert f"![{name}](gallery/libero-goal/{name}.webp)<br>{suite.tasks[0].instruction}<br>4 steps" in page
    assert (tmp_path / "docs" / "gallery" / "libero-goal" / f"{name}.webp").is_file()
    assert main(["libero-goal", "--folder", str(tmp_path / "none"), "--out", str(tmp_path / "docs")]) == 2
    assert "gallery: " in capsys.readouterr().err
