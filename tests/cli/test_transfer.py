"""`skilltokens transfer`: a matrix from the command line, stopped and gone on with; every mistake in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import bases

from skilltokens.cli import main
from skilltokens.experiments.grid import read_grid
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.transfer import measuring
from skilltokens.experiments.transfer.record import read_matrix

RECIPE = "tests.bases:on_two"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistake(words: list[str], capsys: Capture) -> str:
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skilltokens: ")
    return line


def test_a_matrix_is_made_stopped_and_gone_on_with(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    words = ["transfer", RECIPE, "--methods", "t2s", "--held-out", "1", "--out", "out"]
    assert main([*words, "--dry-run"]) == 0
    assert "out: 3 skills from the base, then 9 cells" in capsys.readouterr().out
    assert not any(here.iterdir())
    write, written = measuring.write_matrix, []

    def stopping(folder: Path, record: object) -> None:
        written.append(folder)
        write(folder, record)  # pyright: ignore[reportArgumentType]
        if len(written) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "write_matrix", stopping)
        assert main(words) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert len(read_matrix(here / "out").cells) == 2
    assert main(words) == 0
    record = read_matrix(here / "out")
    assert (len(record.cells), record.command) == (12, f"skilltokens {' '.join(words)}")
    out = capsys.readouterr().out
    assert "data, by the new instruction" in out
    assert "chance" in out
    assert read_grid("out/best.toml").parts[0].methods == ("t2s",)


def test_what_cannot_be_is_told_in_a_sentence_and_nothing_is_made(here: Path, capsys: Capture):
    for words, said in (
        ([], "name a recipe first"),
        ([RECIPE, "--methods", "t2s", "lora"], "one method and one seed"),
        ([RECIPE, "--seeds", "0-1"], "one method and one seed"),
        ([RECIPE, "--methods", "er"], "that starts from an earlier skill: use t2s, lora, full_copy, not er"),
        ([RECIPE, "--protocol", "A"], "use protocol A+, not A"),
        ([RECIPE, "--cotrain.share", ".5"], "leave out --cotrain.share"),
        ([RECIPE, "--evaluate.split", "test"], "--evaluate.split is not yours to choose here"),
        ([RECIPE, "--evaluate.variants", "tests.toy:paraphrased"], "leave out --evaluate.variants"),
        ([RECIPE, "--held-out", "-1"], "--held-out -1 is impossible"),
        ([RECIPE, "--demonstrations.folder", "demos"], "put {episodes} into --demonstrations.folder"),
        (["task-tokens"], "learns from reward"),
        ([RECIPE, "--evaluate.at", "0", ".01", "1"], "two of these shares are the same iteration"),
    ):
        assert said in mistake(["transfer", *words], capsys)
    assert not any(here.iterdir())


def test_a_base_of_another_robot_is_told_in_a_sentence(here: Path, capsys: Capture):
    learn(bases.two("multitask"), here / "toy", recipe="tests.bases:two")
    words = ["metaworld-few", "--methods", "t2s", "--tasks", "push-wall", "hammer", "--base", "toy/library"]
    for verb in ("run", "transfer"):
        said = mistake([verb, *words, "--out", "out"], capsys)
        assert "toy/library" in said
        assert "metaworld" in said
    assert not (here / "out").exists()
