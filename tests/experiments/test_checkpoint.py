"""What a run keeps on disk to be resumed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.report.conftest import build_run

from skilltokens.experiments import checkpoint
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.records import Cell
from skilltokens.types import Progress, RunError

TIE = checkpoint.Tie(2, "run", "state")
TENSORS = {"parameter.0": torch.arange(6.0).view(2, 3), "optimizer.0.step": torch.tensor(3.0)}


def test_a_lesson_in_training_comes_back_as_it_was(tmp_path: Path):
    cell = Cell(
        after=2, progress=0.5, task=1, split="test", selected_by="instruction", skill=1, successes=3, episodes=4
    )
    checkpoint.save_progress(tmp_path, TIE, (TENSORS, {"step": 4, "rng": "{}"}), [cell], (1.5, 2.5))
    before = checkpoint.load_progress(tmp_path, TIE)
    assert before is not None
    tensors, plain = before.start
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert plain == {"step": 4, "rng": "{}"}
    assert (before.cells, before.seconds) == ([cell], [1.5, 2.5])


@pytest.mark.parametrize(("seconds", "processor"), [((1.5, 2.5), None), ((1.5, 2.5, 0.5), 0.5)])
def test_times_go_on_where_they_were_and_what_an_older_version_did_not_count_stays_unknown(
    tmp_path: Path, seconds: tuple[float, ...], processor: float | None
):
    record = read_lifelong(build_run(tmp_path / "run", learned=2).parent)
    checkpoint.save_progress(tmp_path, checkpoint.Tie.of(record, 2), (TENSORS, {"step": 4}), [], seconds)
    work = checkpoint.Work(tmp_path, 2, record)
    work.spent("evaluate")
    assert work.processor == processor
    work.spent("train")
    assert (work.processor is None) == (processor is None)
    assert (work.processor or 0.0) >= (processor or 0.0)
    work.keep((TENSORS, {"step": 5}))
    before = checkpoint.load_progress(tmp_path, checkpoint.Tie.of(record, 2))
    assert before is not None
    assert len(before.seconds) == len(seconds)


def test_damaged_it_counts_as_none_and_that_is_said(tmp_path: Path):
    assert checkpoint.load_progress(tmp_path, TIE) is None
    checkpoint.save_progress(tmp_path, TIE, (TENSORS, {"step": 4}), [], (0.0, 0.0))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:9], b"", b"x" * len(whole), whole.replace(b"step", b"stop")):
        path.write_bytes(content)
        reports: list[Progress] = []
        assert checkpoint.load_progress(tmp_path, TIE, reports.append) is None
        assert "lesson 3 starts again" in reports[0].note
    path.unlink()
    os.mkfifo(path)
    assert checkpoint.load_progress(tmp_path, TIE) is None


def test_that_of_an_earlier_lesson_is_of_no_use_and_that_of_another_run_is_refused(tmp_path: Path):
    checkpoint.save_progress(tmp_path, TIE, (TENSORS, {"step": 4}), [], (0.0, 0.0))
    assert checkpoint.load_progress(tmp_path, checkpoint.Tie(3, "run", "other")) is None
    for other in (checkpoint.Tie(1, "run"), checkpoint.Tie(2, "run", "other"), checkpoint.Tie(2, "another", "state")):
        with pytest.raises(RunError, match=r"is of another run than the run\.json beside it"):
            checkpoint.load_progress(tmp_path, other)


def test_a_state_comes_back_or_is_refused(tmp_path: Path):
    slanted = {"a": TENSORS["parameter.0"].T}
    known = checkpoint.save_state(tmp_path, 1, slanted)
    assert torch.equal(checkpoint.load_state(tmp_path, 1, known)["a"], slanted["a"])
    with pytest.raises(RunError, match=r"state-2\.safetensors does not exist"):
        checkpoint.load_state(tmp_path, 2, known)
    with pytest.raises(RunError, match=r"state-1\.safetensors is not the state that run.json was written for"):
        checkpoint.load_state(tmp_path, 1, "0" * 64)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"state-1\.safetensors is truncated or altered.*new folder"):
        checkpoint.load_state(tmp_path, 1, known)


def test_a_state_that_is_not_finite_is_never_kept(tmp_path: Path):
    with pytest.raises(RunError, match="'a' holds a number that is not finite"):
        checkpoint.save_state(tmp_path, 1, {"a": torch.tensor([1.0, torch.nan])})
    assert list(tmp_path.iterdir()) == []


def test_a_committed_lesson_leaves_its_own_state_only(tmp_path: Path):
    checkpoint.save_state(tmp_path, 1, TENSORS)
    checkpoint.save_state(tmp_path, 2, TENSORS)
    checkpoint.save_progress(tmp_path, TIE, (TENSORS, {}), [], (0.0, 0.0))
    checkpoint.forget(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["state-2.safetensors"]
