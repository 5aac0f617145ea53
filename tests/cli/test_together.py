"""`learn` and `run` under torchrun: one command, several processes, one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.cli.running import ROOT, command, sentence
from tests.pair import together

import skilltokens.cli.together
from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore
from skilltokens.distributed import Team
from skilltokens.skills.library import SkillLibrary

LEARN = ("--policy.width", "32", "--policy.layers", "2", "--train.first-iterations", "8", "--train.batch", "8")
LONGER = ("--train.iterations", "200", "--train.first-iterations", "50")


def losses(folder: Path) -> list[float]:
    return [loss for lesson in json.loads((folder / "run.json").read_text())["learning"] for loss in lesson["loss"]]


def figures(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "run.json").read_text())
    assert content["finished"]
    return {key: content.get(key) for key in ("evaluations", "parameters", "learning", "processes", "state")}


@pytest.mark.slow
def test_a_skill_is_learned_by_two_processes_as_by_one(toy_stores: list[DemonstrationStore], tmp_path: Path):
    store = str(toy_stores[0].path)
    first, second = together(["-m", "skilltokens", "learn", str(tmp_path / "two"), store, "--new", *LEARN])
    assert first.returncode == 0, first.stderr
    assert "made, with 'reach-red' as the base" in first.stdout
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert main(["learn", str(tmp_path / "one"), store, "--new", *LEARN]) == 0
    two, one = SkillLibrary.open(tmp_path / "two"), SkillLibrary.open(tmp_path / "one")
    assert two.notes[0]["processes"] == 2
    assert "processes" not in one.notes[0]
    assert two.notes[0]["made_with"] == one.notes[0]["made_with"]
    for name, value in one.base.state_dict().items():
        torch.testing.assert_close(two.base.state_dict()[name], value, rtol=0.0, atol=1e-5)


@pytest.mark.slow
def test_mistakes_are_said_once(tmp_path: Path):
    for words, said in ((["learn", str(tmp_path / "none"), "nowhere", "--new"], "nowhere"), (["evaluate"], "torchrun")):
        first, second = together(["-m", "skilltokens", *words], TORCHELASTIC_RUN_ID="a test")
        assert first.returncode == 2
        assert first.stderr.startswith(f"skilltokens: {said} ")
        assert len(first.stderr.splitlines()) == 1
        assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """Runs of two methods by two processes, never interrupted."""
    first, second = together(["-m", "skilltokens", *command(place, "two", "--methods", "t2s", "sequential", *LONGER)])
    assert first.returncode == 0, first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    return place / "two"


@pytest.mark.slow
def test_runs_have_the_losses_of_one_process(whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert main(command(place, "one", "--methods", "t2s", *LONGER)) == 0
    alone, shared = place / "one" / "t2s-seed0", whole / "t2s-seed0"
    assert losses(shared)[0] == pytest.approx(losses(alone)[0], rel=1e-5)
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-2)  # training amplifies last bits
    assert figures(shared)["processes"] == 2
    assert figures(alone)["processes"] is None


@pytest.mark.slow
def test_torchrun_s_runs_are_interrupted_and_go_on_with_as_many(
    whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(ROOT)
    words, folder = command(place, "again", "--methods", "t2s", *LONGER), place / "again" / "t2s-seed0"
    torchrun = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "skilltokens", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "state-1.safetensors").exists():
        assert torchrun.poll() is None, torchrun.communicate()[1]
        time.sleep(0.02)
    torchrun.send_signal(signal.SIGINT)
    assert "the same command resumes where it stopped" in torchrun.communicate()[1]
    assert torchrun.returncode
    assert not json.loads((folder / "run.json").read_text())["finished"]
    assert main(words) == 2
    assert "begun by a number of processes (2) whose last bits are not those of 1" in capsys.readouterr().err
    first, _ = together(["-m", "skilltokens", *words])
    assert first.returncode == 0, first.stderr
    assert figures(folder) == figures(whole / "t2s-seed0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "demo", "--jobs", "2"], "torchrun's processes do one run after another: leave out --jobs 2"),
        (["run", "demo", "--train.batch", "1"], "train.batch 1 cannot be shared among 2 processes"),
        (["run", "demo", "--train.device", "cuda:0"], "train.device cuda:0 is one GPU for 2 processes"),
        (["run", "task-tokens"], "one process learns from reward: leave out torchrun"),
        (["learn", "LIBRARY", "STORE", "--new", "--base", "act"], "beside another make's policy one process learns"),
    ],
)
def test_what_processes_cannot_share_is_refused_before_anything_is_made(
    words: list[str],
    said: str,
    toy_stores: list[DemonstrationStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(skilltokens.cli.together, "_team", Team(cast(Any, None), 0, 2))
    words = [str(toy_stores[0].path) if word == "STORE" else word for word in words]
    assert sentence(words, capsys).startswith(said)
    assert not list(tmp_path.iterdir())


def test_without_a_group_of_processes_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = sentence(["run", "demo"], capsys)
    assert said.startswith("WORLD_SIZE is 2, but no group of processes can be made (RANK is not set)")
    assert main(["--version"]) == 0  # nobody started several processes of this


def test_one_process_of_torchrun_is_one_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    alone = sentence(["run", "no-such-recipe"], capsys)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert sentence(["run", "no-such-recipe"], capsys) == alone
    assert skilltokens.cli.together.team() is None
