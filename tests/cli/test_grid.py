"""`skilltokens grid` whole: cells in processes, what is done and what failed, stopped and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import ROOT, results_in, run, sentence

from skilltokens.cli import main
from skilltokens.files import sealed

SMALL = """
recipe = "demo"
methods = {methods}
out = "{place}/{out}"
[settings]
suite = "tests.toy:Toy"
tasks = ["reach-red", "reach-blue"]
policy = {{ width = 32, layers = 2 }}
train = {{ iterations = 20, first-iterations = 20, batch = 8 }}
evaluate = {{ episodes = 4, group = 4, points = 2, videos = false }}
demonstrations.folder = "{place}/demos"
demonstrations.episodes = 4
method.share = {share}
"""
"""A grid of the toy suite."""


def grid(place: Path, out: str, methods: str = '["t2s", "sequential"]', more: str = "", share: float = 0.3) -> str:
    path = place / f"{out}.toml"
    path.write_text(SMALL.format(methods=methods, place=place, out=out, share=share) + more)
    return str(path)


def states(folder: Path) -> dict[str, str]:
    return {cell["name"]: cell["state"] for cell in kept(folder)}


def kept(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "grid.json").read_text())["cells"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grids")


@pytest.fixture(scope="module")
def whole(place: Path) -> subprocess.CompletedProcess[str]:
    """Two methods, never interrupted."""
    return run(["grid", grid(place, "whole")])


def test_every_cell_is_a_run_and_all_stand_in_a_table(whole: subprocess.CompletedProcess[str], place: Path):
    assert whole.returncode == 0, whole.stderr
    out = place / "whole"
    assert {path.name for path in out.iterdir()} == {"t2s-seed0", "sequential-seed0", "report.html", "grid.json"}
    assert states(out) == {"t2s-seed0": "done", "sequential-seed0": "done"}
    lines = whole.stdout.splitlines()
    assert lines[-2:] == [f"report: {out / 'report.html'}", f"compare: skilltokens compare {out}"]
    assert "2 runs, " in whole.stderr
    assert "2 done" in whole.stderr.splitlines()[-1]


def test_what_is_done_is_skipped_and_more_cells_are_added(whole: subprocess.CompletedProcess[str], place: Path):
    before = (place / "whole" / "t2s-seed0" / "run.json").read_bytes()
    more = run(["grid", grid(place, "whole", '["t2s", "lora"]')])
    assert more.returncode == 0, more.stderr
    assert "1 runs, 1 at once; 1 are done" in more.stderr
    assert (place / "whole" / "t2s-seed0" / "run.json").read_bytes() == before
    assert states(place / "whole") == dict.fromkeys(("t2s-seed0", "sequential-seed0", "lora-seed0"), "done")


def test_a_dry_run_says_all_and_makes_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    words = ["grid", grid(tmp_path, "dry", more="[vary]\ntrain.rate = [0.1, 0.2]\n"), "--dry-run", "--jobs", "2"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        [str(tmp_path / "dry" / f"{method}-rate{rate}-seed0"), "waiting"]
        for method in ("t2s", "sequential")
        for rate in (0.1, 0.2)
    ]
    assert lines[4] == "4 cells: 0 done, 4 to do, 2 at once"
    assert "by a first guess" in lines[5]
    assert os.listdir(tmp_path) == ["dry.toml"]


def test_a_cell_that_fails_stops_no_other(whole: subprocess.CompletedProcess[str], place: Path):
    # Tokens have no room in 0.1 %, which shows before the first lesson; fine-tuning has no such setting.
    path = grid(place, "half", '["t2s", "sequential"]', share=0.001)
    done = run(["grid", path, "--jobs", "1"])
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("skilltokens: t2s-seed0: method.share 0.001"), done.stderr
    assert f"note: `skilltokens grid {path} --jobs 1` tries the cells that failed once more" in done.stderr
    assert states(place / "half") == {"t2s-seed0": "failed", "sequential-seed0": "done"}
    assert kept(place / "half")[0]["failure"].startswith("method.share 0.001")
    assert "sequential" in done.stdout


def test_stopped_and_resumed_from_its_folder_it_ends_with_the_same_numbers(
    whole: subprocess.CompletedProcess[str], place: Path
):
    process = subprocess.Popen(
        [sys.executable, "-m", "skilltokens", "grid", grid(place, "cut", '["t2s"]')],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    begun = place / "cut" / "t2s-seed0" / "run.json"
    while not begun.exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, rest
    again = f"skilltokens grid {place / 'cut.toml'}"
    assert rest.splitlines()[-1] == f"skilltokens: stopped; `{again}` resumes where it stopped"
    os.remove(place / "cut.toml")
    resumed = run(["grid", str(place / "cut"), "--trust"])
    assert resumed.returncode == 0, resumed.stderr
    assert results_in(place / "cut" / "t2s-seed0") == results_in(place / "whole" / "t2s-seed0")
    assert states(place / "cut") == {"t2s-seed0": "done"}


def test_a_grid_that_came_in_a_folder_loads_no_code_unless_it_is_trusted(
    whole: subprocess.CompletedProcess[str], place: Path, capsys: pytest.CaptureFixture[str]
):
    said = sentence(["grid", str(place / "whole"), "--dry-run"], capsys)
    assert "names code or folders of this machine, which no such file may decide" in said
    assert "tests.toy:Toy" in said
    assert "--trust" in said


def test_no_recipe_of_a_folder_is_loaded_before_it_is_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "sly_recipes.py").write_text("open('loaded', 'w')\n")
    content = {"schema": "skilltokens.grid/1", "name": "x", "grid": {"recipe": "sly_recipes:night"}, "cells": []}
    (tmp_path / "grid.json").write_text(json.dumps(sealed(content)))
    monkeypatch.chdir(tmp_path)
    assert "no such file may decide (sly_recipes:night)" in sentence(["grid", str(tmp_path)], capsys)
    assert not (tmp_path / "loaded").exists()


def test_a_cell_of_another_configuration_is_named_before_anything_is_made(
    whole: subprocess.CompletedProcess[str],
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(ROOT)
    shutil.copytree(place / "whole" / "t2s-seed0", tmp_path / "other" / "t2s-seed0")
    said = sentence(["grid", grid(tmp_path, "other", share=0.4)], capsys)
    assert said.startswith(
        f"{tmp_path / 'other' / 't2s-seed0'} holds a run of another configuration (method.share was "
    )
    assert "or choose a new folder by out = ... in the grid's file" in said
    assert os.listdir(tmp_path / "other") == ["t2s-seed0"]
    assert not (tmp_path / "demos").exists()


def test_demonstrations_that_cannot_be_made_fail_their_cells_alone(tmp_path: Path):
    (tmp_path / "demos-episodes3").write_text("in the way")
    path = Path(grid(tmp_path, "some", '["sequential"]', "[vary]\ndemonstrations.episodes = [3, 4]\n"))
    once = ("demonstrations.episodes = 4\n", "method.share = 0.3\n")
    path.write_text(path.read_text().replace(once[0], "").replace(once[1], ""))
    done = run(["grid", str(path)])
    assert done.returncode == 2, done.stderr
    assert states(tmp_path / "some") == {"sequential-episodes3-seed0": "failed", "sequential-episodes4-seed0": "done"}
    assert "sequential-episodes3-seed0: " in done.stderr.splitlines()[-1]
