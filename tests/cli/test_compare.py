"""`skilltokens compare`, as a user meets it: runs that were really made, exit codes, and one sentence for a mistake."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import sentence
from tests.formats import small_run
from tests.report.conftest import build_run

from skilltokens.cli import main
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.records import LifelongRecord
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.runs import read_run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of two methods, finished."""
    place = tmp_path_factory.mktemp("runs")
    for method in ("t2s", "sequential"):
        for seed in (0, 1, 2):
            build_run(place / f"{method}-seed{seed}", method, seed, tasks=4, points=3)
    return place


@pytest.mark.slow
def test_runs_that_were_really_made_pair_by_their_initial_states(tmp_path: Path, capsys: Capture):
    settings: Any = small_run(tmp_path / "demos")
    settings = dataclasses.replace(settings, evaluate=dataclasses.replace(settings.evaluate, episodes=3, group=3))
    for name, method in (("t2s", settings.method), ("sequential", SequentialSettings())):
        record = learn(dataclasses.replace(settings, method=method), tmp_path / name, recipe="small")
        assert isinstance(record, LifelongRecord)
    (table,) = compare_runs([read_run(tmp_path / name) for name in ("t2s", "sequential")]).tables
    (pair,) = table.pairs
    assert pair.paired
    assert pair.episodes == (6, 6)
    assert main(["compare", str(tmp_path / "t2s"), str(tmp_path / "sequential")]) == 0
    output = capsys.readouterr().out
    assert "McNemar" in output
    assert "t2s and sequential can't be told apart" in output


def test_the_table_says_who_leads_under_which_conditions(runs: Path, capsys: Capture):
    assert main(["compare", str(runs)]) == 0
    output = capsys.readouterr().out
    assert "4 tasks of metaworld, 3 seeds" in output
    assert "demonstrations 30 scripted a task" in output
    assert "t2s leads sequential by 0." in output
    assert "Fisher" in output


def test_success_below_a_bound_is_exit_status_one(runs: Path, capsys: Capture):
    assert main(["compare", str(runs), "--fail-below", "0.1"]) == 0
    assert main(["compare", str(runs), "--fail-below", "0.8"]) == 1
    assert "sequential is below 0.8: its final success is 0." in capsys.readouterr().out
    assert main(["compare", str(runs), "--against", "sequential", "--fail-below", "0.1"]) == 0
    assert main(["compare", str(runs), "--against", "t2s", "--fail-below", "-0.02"]) == 1
    assert "sequential is below -0.02: its final success less that of t2s is" in capsys.readouterr().out


def test_a_bound_that_nobody_can_answer_is_a_mistake(runs: Path, tmp_path: Path, capsys: Capture):
    build_run(tmp_path / "lora", "lora", tasks=4, points=3, learned=2)
    words = ["compare", str(runs), str(tmp_path / "lora"), "--fail-below", "0.1"]
    assert "lora is unfinished" in sentence(words, capsys)
    build_run(tmp_path / "other", "lora", 5, tasks=4, points=3)
    words = ["compare", str(runs), str(tmp_path / "other"), "--fail-below", "0.1", "--against", "t2s"]
    assert "no seed and lesson in common" in sentence(words, capsys)
    build_run(tmp_path / "apart", "lora", tasks=3, points=3)
    words = ["compare", str(runs), str(tmp_path / "apart"), "--fail-below", "0.1", "--against", "t2s"]
    assert "lora can't be compared with t2s" in sentence(words, capsys)


def test_a_comparison_is_written_checked_and_entered(runs: Path, tmp_path: Path, capsys: Capture):
    out = tmp_path / "all.json"
    assert main(["compare", str(runs), "--out", str(out)]) == 0
    assert main(["compare", "--check", str(out)]) == 0
    assert "of its 6 runs" in capsys.readouterr().out
    build_run(tmp_path / "lora", "lora", tasks=4, points=3)
    assert main(["compare", str(out), str(tmp_path / "lora"), "--against", "lora", "--out", str(out)]) == 0
    assert "lora leads sequential" in capsys.readouterr().out
    content = json.loads(out.read_text())
    content["tables"][0]["contenders"][0]["label"] = "best"
    out.write_text(json.dumps(content))
    assert main(["compare", "--check", str(out)]) == 1
    faults = capsys.readouterr().out.splitlines()
    assert faults[0] == "the digest of the file is not that of its content"
    assert any("label" in fault for fault in faults)


def test_unequal_runs_are_apart_and_that_is_said(runs: Path, tmp_path: Path, capsys: Capture):
    def other(content: dict[str, Any]) -> None:
        content["demonstrations"]["episodes"] = [5] * 4

    build_run(tmp_path / "few", "lora", tasks=4, points=3, change=other)
    assert main(["compare", str(runs), str(tmp_path / "few")]) == 0
    output = capsys.readouterr().out
    assert "Apart: " in output
    assert "demonstrations 30 scripted a task against 5 scripted a task" in output
    words = ["compare", str(runs / "t2s-seed0"), str(tmp_path / "few")]
    assert "demonstrations 30 scripted a task against 5" in sentence(words, capsys)


def test_what_is_assumed_is_said(runs: Path, tmp_path: Path, capsys: Capture):
    tasks = [task["name"] for task in json.loads((runs / "t2s-seed0" / "run.json").read_text())["tasks"]]
    lines = "".join(f"er,0,{task},15,20\n" for task in tasks)
    (tmp_path / "er.csv").write_text(f"method,seed,task,successes,episodes\n{lines}")
    words = ["compare", str(runs), f"{tmp_path}/er.csv:suite=metaworld,protocol=A"]
    assert main(words) == 0
    assert "or take it to be equal with --assume-equal" in capsys.readouterr().out
    assert main([*words, "--assume-equal"]) == 0
    output = capsys.readouterr().out
    assert "er does not say order of the tasks, base library" not in output
    assert "er does not say order of the tasks, observations, " in output


MISTAKES: list[tuple[list[str], str]] = [
    ([], "no run was named"),
    (["nowhere"], "nowhere does not exist"),
    (["RUNS", "--against", "lara"], "--against lara: nothing here is called so"),
    (["RUNS", "--out", "table.docx"], "has no suffix that says what to write"),
    (["RUNS", "--fail-below", "90"], "a success rate lies from 0 to 1"),
    (["RUNS", "--check", "all.json"], "--check goes with one comparison's JSON"),
    (["--check", "RUNS"], "is a folder where a file is needed"),
    (["RUNS/t2s-seed0/run.json:seed=3"], "only method=NAME, for a run, can be said behind it"),
]


@pytest.mark.parametrize(("words", "problem"), MISTAKES, ids=[problem for _, problem in MISTAKES])
def test_a_mistake_is_one_sentence(words: list[str], problem: str, runs: Path, capsys: Capture):
    assert problem in sentence(["compare", *(word.replace("RUNS", str(runs)) for word in words)], capsys)


def test_nothing_is_written_where_something_is_wrong(runs: Path, tmp_path: Path, capsys: Capture):
    out = tmp_path / "all.json"
    sentence(["compare", str(runs), "--against", "lara", "--out", str(out)], capsys)
    assert not out.exists()
    out.mkdir()
    assert "is a folder" in sentence(["compare", str(runs), "--out", str(out)], capsys)


def test_names_of_files_cannot_colour_the_terminal(tmp_path: Path, capsys: Capture):
    path = tmp_path / "er.csv"
    path.write_text("method,task,successes,episodes\n\x1b[31m[red]er,push,1,2\n")
    assert main(["compare", str(path)]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "[red]er" in output
