"""What a command asks of the order of tasks, and cannot have: one sentence, before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.running import sentence

Capture = pytest.CaptureFixture[str]
TOY = ["run", "demo", "--suite", "tests.toy:Toy", "--tasks", "reach-red", "reach-blue", "between"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--protocol", "B"], "protocol B teaches several tasks together at first: say how many with --first"),
        (["--protocol", "B", "--first", "1"], "say how many with --first"),
        (["--protocol", "B", "--first", "4"], "--first 4 is more than the 3 tasks of the run"),
        (["--protocol", "B", "--first", "2", "--lessons", "1"], "--first 2 is more than the 1 tasks of the run"),
        (["--protocol", "B", "--first", "2", "--order", "power-law", "--lessons", "9"], "so each once"),
        (["--first", "2"], "--first 2 is for protocol B: add --protocol B"),
        (["--first", "0"], "first 0 is impossible: use 1 or more"),
        (["--protocol", "A+"], "protocol A+ begins from a skill library: name its folder with --base"),
        (["--base", "empty"], "--base empty is for protocol A+: add --protocol A+"),
        (["--protocol", "A+", "--base", "nowhere"], "nowhere/library.json does not exist"),
        (["--protocol", "A+", "--base", "empty"], "empty/library.json does not exist"),
        (["--protocol", "A+", "--base", "store"], "store/library.json has schema 'skilltokens.demos/1'"),
        (["--protocol", "A+", "--base", "half"], "half/library.json is damaged or altered"),
        (["--protocol", "A+", "--base", "odd"], "odd/library.json is damaged or altered"),
        (["--protocol", "A+", "--base", "open"], "open/library.json is truncated or altered (its digest differs)"),
        (["--lessons", "50"], "--lessons 50 is more than the 3 tasks, each of which is taught once: use 3 or fewer"),
        (["--order", "shuffled", "--lessons", "4"], "--lessons 4 is more than the 3 tasks"),
        (["--order", "power-law"], "say how many lessons with --lessons"),
        (["--order", "power-law", "--lessons", "-1"], "lessons -1 is impossible"),
        (["--order", "power-law", "--lessons", "4", "--exponent", "-1"], "exponent -1 is impossible: use 0 or more"),
        (["--order-seed", "-3"], "order_seed -3 is impossible: use 0 or more"),
        (["--protocol", "C"], "invalid choice 'C' for argument '--protocol'"),
    ],
)
def test_an_impossible_protocol_is_one_sentence_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "empty": None,
        "store": {"schema": "skilltokens.demos/1"},
        "half": {"schema": "skilltokens.library/1", "encoder": "minilm"},
        "open": {"schema": "skilltokens.library/2", "encoder": "minilm", "policy": {"settings": {}}},
        "odd": {"schema": "skilltokens.library/1", "encoder": "minilm", "policy": {"settings": {"width": "wide"}}},
    }.items():
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "library.json").write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))
    assert said in sentence([*TOY, *words], capsys)
    assert sorted(tmp_path.rglob("*")) == before
