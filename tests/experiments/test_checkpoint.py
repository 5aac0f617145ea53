"""What a run keeps on disk to be resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from skilltokens.experiments import checkpoint
from skilltokens.experiments.records import Cell
from skilltokens.types import RunError

TENSORS = {"parameter.0": torch.arange(6.0).view(2, 3), "optimizer.0.step": torch.tensor(3.0)}


def test_a_lesson_in_training_comes_back_as_it_was(tmp_path: Path):
    cell = Cell(
        after=2, progress=0.5, task=1, split="test", selected_by="instruction", skill=1, successes=3, episodes=4
    )
    checkpoint.save_progress(tmp_path, 2, (TENSORS, {"step": 4, "rng": "{}"}), [cell], (1.5, 2.5))
    before = checkpoint.load_progress(tmp_path, 2)
    assert before is not None
    tensors, plain = before.start
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert plain == {"step": 4, "rng": "{}"}
    assert (before.cells, before.seconds) == ([cell], (1.5, 2.5))


def test_of_another_lesson_or_damaged_it_counts_as_none(tmp_path: Path):
    assert checkpoint.load_progress(tmp_path, 0) is None
    checkpoint.save_progress(tmp_path, 2, (TENSORS, {"step": 4}), [], (0.0, 0.0))
    assert checkpoint.load_progress(tmp_path, 1) is None
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:9], b"", b"x" * len(whole)):
        path.write_bytes(content)
        assert checkpoint.load_progress(tmp_path, 2) is None


def test_a_state_comes_back_or_is_refused(tmp_path: Path):
    slanted = {"a": TENSORS["parameter.0"].T}
    checkpoint.save_state(tmp_path, 1, slanted)
    assert torch.equal(checkpoint.load_state(tmp_path, 1)["a"], slanted["a"])
    with pytest.raises(RunError, match=r"state-2\.safetensors is missing or damaged"):
        checkpoint.load_state(tmp_path, 2)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"state-1\.safetensors is missing or damaged.*new folder"):
        checkpoint.load_state(tmp_path, 1)


def test_a_committed_lesson_leaves_its_own_state_only(tmp_path: Path):
    checkpoint.save_state(tmp_path, 1, TENSORS)
    checkpoint.save_state(tmp_path, 2, TENSORS)
    checkpoint.save_progress(tmp_path, 1, (TENSORS, {}), [], (0.0, 0.0))
    checkpoint.forget(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["state-2.safetensors"]
