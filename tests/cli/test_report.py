"""`skilltokens report`: which runs it finds."""

from __future__ import annotations

from pathlib import Path

from skilltokens.cli.verbs.report import find_runs


def test_what_a_killed_process_did_not_finish_is_no_run(tmp_path: Path):
    for name in ("t2s-seed0", "t2s-seed0/.run.json.tmp-abc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    assert find_runs([tmp_path]) == [tmp_path / "t2s-seed0" / "run.json"]
