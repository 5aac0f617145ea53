"""`skilltokens run` whole: processes, table, report, interruption, resumption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.running import ROOT, command, results_in, run

from skilltokens.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def whole(place: Path) -> subprocess.CompletedProcess[str]:
    """Two methods at the same time, never interrupted."""
    return run(command(place, "whole", "--methods", "t2s", "sequential", "--jobs", "2"))


def test_it_ends_with_a_table_and_a_report(whole: subprocess.CompletedProcess[str], place: Path):
    assert whole.returncode == 0, whole.stderr
    assert "t2s" in whole.stdout
    assert "sequential" in whole.stdout
    page = place / "whole" / "report.html"
    assert whole.stdout.splitlines()[-1] == f"report: {page}"
    assert page.read_text().startswith("<!doctype html>")
    assert {path.name for path in (place / "whole").iterdir()} == {"t2s-seed0", "sequential-seed0", "report.html"}
    assert "done in" in whole.stderr


def test_the_same_command_again_keeps_what_is_there(whole: subprocess.CompletedProcess[str], place: Path):
    before = (place / "whole" / "t2s-seed0" / "run.json").read_bytes()
    again = run(command(place, "whole", "--methods", "t2s", "sequential"))
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole.stdout
    assert (place / "whole" / "t2s-seed0" / "run.json").read_bytes() == before


def test_the_first_sign_of_life_comes_before_torch_is_loaded(
    whole: subprocess.CompletedProcess[str], place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TERM", "dumb")
    words = command(place, "whole", "--methods", "t2s", "sequential")  # finished: it is this process that loads torch
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "skilltokens", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    first = lines.index(f"starting 2 runs in {place / 'whole'}")
    loaded = {line.rpartition("|")[2].strip(): number for number, line in enumerate(lines) if "|" in line}
    assert first < loaded["torch"]


def test_another_configuration_is_refused_with_a_way_out(
    whole: subprocess.CompletedProcess[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(ROOT)
    before = (place / "whole" / "t2s-seed0" / "run.json").read_bytes()
    assert main(command(place, "whole", "--methods", "t2s", "--train.rate", "0.5")) == 2
    said = capsys.readouterr().err
    assert "train.rate" in said
    assert "--out" in said
    assert (place / "whole" / "t2s-seed0" / "run.json").read_bytes() == before


def test_the_report_can_be_made_again_from_the_files(
    whole: subprocess.CompletedProcess[str], place: Path, capsys: pytest.CaptureFixture
):
    page = place / "again.html"
    assert main(["report", str(place / "whole"), "--out", str(page)]) == 0
    assert "sequential" in capsys.readouterr().out
    assert page.read_text() == (place / "whole" / "report.html").read_text()


def test_interrupted_resumed_and_alone_a_run_ends_with_the_same_numbers(
    whole: subprocess.CompletedProcess[str], place: Path
):
    words = command(place, "cut", "--method", "t2s", "--jobs", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "skilltokens", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    begun = place / "cut" / "t2s-seed0" / "run.json"  # there before the first lesson: a quick machine ends soon after
    while not begun.exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, rest
    assert rest.splitlines()[-1] == "skilltokens: stopped; the same command resumes where it stopped"
    assert not children_of(place / "cut")
    resumed = run(words)
    assert resumed.returncode == 0, resumed.stderr
    assert results_in(place / "cut" / "t2s-seed0") == results_in(place / "whole" / "t2s-seed0")


def test_a_killed_parent_leaves_no_children(place: Path, whole: subprocess.CompletedProcess[str]):
    words = command(place, "orphans", "--method", "t2s", "--train.log-every", "1")
    words[words.index("--train.first-iterations") + 1] = "100000"
    process = subprocess.Popen(
        [sys.executable, "-m", "skilltokens", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while (line := process.stderr.readline()) and "train" not in line:
        pass
    assert children_of(place / "orphans")
    process.kill()
    process.communicate()
    gone_by = time.monotonic() + 30
    while children_of(place / "orphans") and time.monotonic() < gone_by:
        time.sleep(0.1)
    assert not children_of(place / "orphans")


def test_a_run_that_fails_is_named_and_the_others_are_reported(place: Path, whole: subprocess.CompletedProcess[str]):
    # Tokens have no room in 0.1 %, which shows before the first lesson; fine-tuning has no such setting.
    words = command(place, "half", "--methods", "sequential", "t2s")
    words[words.index("--method.share") + 1] = "0.001"
    done = run(words)
    assert done.returncode == 2
    assert "method.share 0.001" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "sequential" in done.stdout
    assert (place / "half" / "report.html").exists()


def children_of(out: Path) -> list[str]:
    """Processes whose command line names a folder."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in commands if str(out) in line]


HOLDS = """
import sys, time
from pathlib import Path
from skilltokens.locking import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_command_on_the_same_folder_is_told_who_works_there(
    whole: subprocess.CompletedProcess[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(ROOT)
    folder = place / "whole" / "t2s-seed0"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert main(command(place, "whole", "--methods", "t2s")) == 2
        said = capsys.readouterr().err
        other.kill()
    assert f"is being written by process {other.pid} on " in said
    assert "choose a new folder with --out" in said
    assert main(command(place, "whole", "--methods", "t2s")) == 0


def test_a_folder_whose_name_is_too_long_is_told_before_anything_is_made(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(ROOT)
    words = command(place, "x" * 5000)
    words[words.index("--demonstrations.folder") + 1] = str(place / "unmade")
    assert main(words) == 2
    assert "cannot be a run's folder (File name too long): choose another with --out" in capsys.readouterr().err
    assert not (place / "unmade").exists()
