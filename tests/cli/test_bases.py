"""Protocol A+ from the command line: one command makes the base and the runs on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.running import results_in, run

from skilltokens.experiments.reading import read_lifelong
from skilltokens.files import digest

TINY = (
    *("--tasks", "push", "--policy.width", "16", "--policy.layers", "1", "--policy.history", "4"),
    *("--train.iterations", "4", "--train.batch", "4", "--method.share", "0.5", "--method.mu", "1"),
    *("--evaluate.episodes", "2", "--evaluate.group", "2", "--evaluate.points", "2", "--evaluate.horizon", "20"),
)


@pytest.mark.slow
def test_one_command_makes_a_base_on_meta_world_and_the_runs_on_it(tmp_path: Path):
    words = ["run", "metaworld-few", "--pretrain", "tests.bases:metaworld_two", *TINY, "--methods", "t2s", "sequential"]
    words += ["--demonstrations.episodes", "1", "--out", "runs"]
    done = run(words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "base tests.bases:metaworld_two" in done.stderr
    base = read_lifelong(tmp_path / "bases" / "tests.bases-metaworld_two")
    assert ([task.name for task in base.tasks], base.method) == (["reach", "window-open"], "multitask")
    for method in ("t2s", "sequential"):
        record = read_lifelong(tmp_path / "runs" / f"{method}-seed0")
        assert record.base is not None
        assert record.base.skills == ["reach", "window-open"]
        assert record.demonstrations.episodes == [1]
    assert sorted(path.name for path in (tmp_path / "demos").iterdir()) == ["1", "2"]
    before = {path: digest(path) for path in (tmp_path / "bases").rglob("*") if path.is_file()}
    again = run([*words, "--seeds", "0", "1"], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert results_in(tmp_path / "runs" / "t2s-seed1")
    assert {path: digest(path) for path in (tmp_path / "bases").rglob("*") if path.is_file()} == before
