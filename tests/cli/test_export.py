"""`skilltokens export`: a skill in a folder, and one sentence for a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.skills.making import make_library

from skilltokens.cli import main


def test_a_skill_is_written_and_its_difference_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_library(tmp_path / "library")
    words = ["export", str(tmp_path / "library"), "--skill", "push", "--to", "numpy", "--out", str(tmp_path / "push")]
    assert main(words) == 0
    assert "of torch over" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "push").iterdir()) == ["README.md", "runner.py", "skill.npz"]
    assert main([*words[:3], "pusch", *words[4:]]) == 2
    assert "pusch" in capsys.readouterr().err
