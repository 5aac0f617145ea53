"""Runs in a folder: listed with what sets them apart, resumed from their own run.json, told when nothing changes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.running import ROOT, command, results_in, run, sentence

from skilltokens.cli import main
from skilltokens.cli.plan import make_plan
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.states import state_of
from skilltokens.files import sealed
from skilltokens.locking import locked
from skilltokens.types import Progress

OWN = ["--suite", "tests.toy:Toy"]
"""What no file may decide."""


class Stop(Exception):
    """Ends a run in the middle."""


def in_lesson(number: int) -> Callable[[Progress], None]:
    """A report that ends a run in one of its lessons."""

    def report(news: Progress) -> None:
        if news.lesson == number and news.stage == "train":
            raise Stop

    return report


def words_of(place: Path, *words: str) -> list[str]:
    return command(place, "runs", *words)[1:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs in PLACE/runs: one that is done, one that died in its second lesson, one that did in its first."""
    place = tmp_path_factory.mktemp("listed")
    words = words_of(place, "--methods", "t2s", "sequential", "--seeds", "0-1", "--tag", "wide")
    done, begun, other, _ = make_plan(words).runs
    learn(done.settings, done.folder, recipe="demo", tag="wide")
    with pytest.raises(Stop):
        learn(begun.settings, begun.folder, in_lesson(1), "demo", tag="wide")
    slower = replace(other.settings, train=replace(other.settings.train, rate=0.002))
    with pytest.raises(Stop):
        learn(slower, other.folder, in_lesson(0), "demo")
    return place


def listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The rows of the table, its head first, cut at two spaces."""
    assert main(["list", "runs", *words]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    return [line.split("   ") for line in lines if line and not line.startswith("─")]


def table(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    head, *lines = listed(words, capsys)
    keys = [key.strip() for key in head if key.strip()]
    out = []
    for line in lines:
        texts = [text.strip() for text in line]
        out.append({"folder": texts[-1], "text": " | ".join(text for text in texts if text), "keys": " ".join(keys)})
    return out


def test_how_far_a_run_is(place: Path):
    done, begun, other = (state_of(place / "runs" / name) for name in ("t2s-seed0", "t2s-seed1", "sequential-seed0"))
    assert (done.state, done.words, done.share) == ("done", "done", 1.0)
    assert (begun.state, begun.words, begun.share) == ("stopped", "stopped in lesson 2 of 2", 0.5)
    assert (other.state, other.words, other.share) == ("stopped", "stopped in lesson 1 of 2", 0.0)
    assert done.seconds > 0
    assert state_of(place / "nowhere").state == "waiting"
    with locked(place / "runs" / "t2s-seed1"):
        assert state_of(place / "runs" / "t2s-seed1").words == "runs, 1 of 2 lessons done"


def test_the_table_has_what_sets_runs_apart(place: Path, capsys: pytest.CaptureFixture[str]):
    rows = table([str(place / "runs")], capsys)
    assert [Path(row["folder"]).name for row in rows] == ["sequential-seed0", "t2s-seed0", "t2s-seed1"]
    assert rows[0]["text"].startswith("sequential | 0 | train.rate=0.002 | stopped in lesson 1 of 2 | - | ")
    final = json.loads((place / "runs" / "t2s-seed0" / "run.json").read_text())["evaluations"][-2:]
    success = sum(cell["successes"] for cell in final) / 8
    assert rows[1]["text"].startswith(f"t2s | 0 | train.rate=0.001 | done | {success:.2f} | ")
    assert "wide" in rows[1]["text"]
    assert rows[0]["keys"] == "method seed settings state final age tag folder"


def test_tags_and_states_choose(place: Path, capsys: pytest.CaptureFixture[str]):
    def names(*words: str) -> list[str]:
        return [Path(row["folder"]).name for row in table([str(place / "runs"), *words], capsys)]

    assert names("--tag", "wide") == ["t2s-seed0", "t2s-seed1"]
    assert names("--state", "stopped") == ["sequential-seed0", "t2s-seed1"]
    assert names("--state", "done", "stopped", "--tag", "wide") == ["t2s-seed0", "t2s-seed1"]
    assert "holds no run of that tag or state" in sentence(["list", "runs", str(place), "--tag", "odd"], capsys)
    assert "holds no runs" in sentence(["list", "runs", str(place / "demos")], capsys)
    assert "--tag and --state are of runs" in sentence(["list", "tasks", "--tag", "odd"], capsys)


def test_cells_of_a_grid_that_wait_or_failed_are_listed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cells = [
        {"name": "t2s-seed0", "method": "t2s", "seed": 0, "state": "done"},
        {"name": "t2s-seed1", "method": "t2s", "seed": 1, "state": "failed", "failure": "the disk is full"},
        {"name": "lora-seed3", "method": "lora", "seed": 3, "state": "waiting"},
        {"name": "../../etc", "method": "lora", "seed": 3, "state": "waiting"},
    ]
    for name in ("t2s-seed0", "t2s-seed1"):
        shutil.copytree(place / "runs" / name, tmp_path / name)
    content = {"schema": "skilltokens.grid/1", "name": "x", "grid": {"recipe": "demo"}, "cells": cells}
    (tmp_path / "grid.json").write_text(json.dumps(sealed(content)))
    rows = [row["text"] for row in table([str(tmp_path)], capsys)]
    assert len(rows) == 3
    assert "lora | 3 | waiting | -" in rows[0]
    assert " | done | " in rows[1]
    assert " | failed: the disk is full | " in rows[2]


def test_a_damaged_run_hides_no_other(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(place / "runs" / "t2s-seed0", tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text("{}")
    rows = [row["text"] for row in table([str(tmp_path)], capsys)]
    assert " | done | " in rows[0]
    assert "damaged: " in rows[1]


# ---------------------------------------------------------------- going on


def test_a_plan_from_a_folder_is_its_runs_as_they_are(place: Path):
    plan = make_plan(["--resume", str(place / "runs"), *OWN, "--demonstrations.folder", str(place / "demos")])
    assert [(run.name, run.recipe.name) for run in plan.runs] == [
        ("sequential-seed0", "demo"),
        ("t2s-seed0", "demo"),
        ("t2s-seed1", "demo"),
    ]
    assert plan.runs[0].settings.train.rate == 0.002
    assert plan.out == place / "runs"
    alone = make_plan(
        [f"--resume={place / 'runs' / 't2s-seed1'}", *OWN, "--demonstrations.folder", str(place / "demos")]
    )
    assert [run.folder for run in alone.runs] == [place / "runs" / "t2s-seed1"]
    assert alone.out == place / "runs"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "names code or folders of this machine"),
        ([*OWN, "--out", "x"], "goes on with the runs as they are: leave out --out"),
        ([*OWN, "--seeds", "0-2"], "leave out --seeds"),
        ([*OWN, "--train.itrations", "3"], "has no option --train.itrations"),
    ],
)
def test_what_cannot_be_resumed_so_is_told(
    words: list[str], said: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    more = ["--demonstrations.folder", str(place / "demos")] if words else []
    assert said in sentence(["run", "--resume", str(place / "runs"), *words, *more], capsys)


def test_a_folder_without_runs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "holds no run.json" in sentence(["run", "--resume", str(tmp_path)], capsys)
    (tmp_path / "grid.json").write_text("{}")
    assert f"`skilltokens grid {tmp_path}` goes on with it" in sentence(["run", "--resume", str(tmp_path)], capsys)


def test_a_run_goes_on_without_the_words_that_began_it(place: Path, tmp_path: Path):
    shutil.copytree(place / "runs", tmp_path / "runs")
    words = [*OWN, "--demonstrations.folder", str(place / "demos")]
    done = run(["run", "--resume", str(tmp_path / "runs" / "t2s-seed1"), *words])
    assert done.returncode == 0, done.stderr
    assert "t2s" in done.stdout
    assert "sequential" in done.stdout, "the table has the runs beside it"
    whole = make_plan(words_of(place, "--method", "t2s", "--seed", "1")).runs[0]
    learn(whole.settings, tmp_path / "whole", recipe="demo")
    assert results_in(tmp_path / "runs" / "t2s-seed1") == results_in(tmp_path / "whole")
    assert json.loads((tmp_path / "runs" / "t2s-seed1" / "run.json").read_text())["tag"] == "wide"
    assert state_of(tmp_path / "runs" / "sequential-seed0").state == "stopped"


# ---------------------------------------------------------------- finished and other runs


def test_what_changes_nothing_on_a_finished_run_is_said(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    words = ["run", *words_of(place, "--method", "t2s", "--seed", "0")]
    free = ["--evaluate.videos", "--evaluate.workers", "3", "--tag", "other"]
    assert main([*words, *free]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: --evaluate.workers changes nothing: the run t2s-seed0 is finished",
        "note: --evaluate.videos changes nothing: the run t2s-seed0 is finished",
        "note: --tag changes nothing: the run t2s-seed0 is finished",
    ]
    assert main([*words, "--evaluate.workers", "1", "--tag", "wide"]) == 0
    assert "note: " not in capsys.readouterr().err, "as it was run"


def test_a_mismatch_names_every_setting_once(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    changes = {"--train.rate": "0.5", "--train.clip": "2", "--train.average": "0", "--train.batch": "9", "--seed": "0"}
    words = words_of(place, "--methods", "t2s", "sequential", *(word for pair in changes.items() for word in pair))
    said = sentence(["run", *words], capsys)
    folders = ", ".join(str(place / "runs" / name) for name in ("t2s-seed0", "sequential-seed0"))
    assert said.startswith(f"{folders} hold runs of another configuration (")
    for name in ("train.clip", "train.average", "train.batch"):
        assert said.count(name) == 1
    assert f"train.rate was 0.001, is 0.5 in {place / 'runs' / 't2s-seed0'}" in said
    assert "give these settings to resume them, or choose a new folder with --out" in said


def test_a_dry_run_makes_nothing(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    before = sorted(os.listdir(place / "runs"))
    assert (
        main(["run", *words_of(place, "--methods", "t2s", "lora", "--seeds", "0-1", "--jobs", "1", "--dry-run")]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    states = [line.split(maxsplit=1)[1] for line in lines[:4]]
    assert states == ["done", "stopped in lesson 2 of 2", "waiting", "waiting"]
    assert lines[4] == "4 runs: 1 done, 3 to do, 1 at once"
    assert "guess" not in lines[5], "the run that is done tells how long they take"
    assert sorted(os.listdir(place / "runs")) == before
