"""`skilltokens run RUN/run.json` repeats a run, of an older version too, and says where it differs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import command, results_in, run, sentence

from skilltokens.cli.plan import make_plan
from skilltokens.files import sealed
from skilltokens.types import SettingError

Content = dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repeated")


@pytest.fixture(scope="module")
def original(place: Path) -> Path:
    """A finished run's folder."""
    done = run(command(place, "original", "--methods", "t2s", "--seed", "2"), TMPDIR=_empty(place / "tmp"))
    assert done.returncode == 0, done.stderr
    assert not list((place / "tmp").glob("skilltokens-*")), "the files of the jobs are removed"
    return place / "original" / "t2s-seed2"


def _empty(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return str(folder)


def changed(original: Path, folder: Path, change: Callable[[Content], None]) -> Path:
    """A copy of the run's file in which something is otherwise."""
    content = json.loads((original / "run.json").read_text())
    change(content)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(sealed(content)))
    return folder / "run.json"


def older(content: Content) -> None:
    """As a version before protocols, streams, today's names and seals wrote it."""
    content["schema"] = "skilltokens.run/1"
    del content["state"]
    for name in ("protocol", "base", "first", "order", "order_seed", "lessons", "exponent"):
        del content["config"][name]
    content.pop("first", None)
    content["config"]["evaluate"]["films"] = content["config"]["evaluate"].pop("videos")


@pytest.fixture(scope="module")
def own(place: Path) -> list[str]:
    """What no file may decide: whose code is run, and where demonstrations are written."""
    return ["--suite", "tests.toy:Toy", "--demonstrations.folder", str(place / "demos")]


def test_code_and_folders_are_named_by_the_user_alone(original: Path, own: list[str], tmp_path: Path):
    needed = " ".join(own)
    with pytest.raises(SettingError, match=f"names code or folders of this machine.*: {needed}"):
        make_plan([str(original / "run.json")])
    with pytest.raises(SettingError, match=f"say so yourself: {' '.join(own[2:])}"):
        make_plan([str(original / "run.json"), *own[:2]])
    file = changed(original, tmp_path / "changed", _set("config", "encoder", value="../encoder"))
    with pytest.raises(SettingError, match=r"say so yourself: --encoder \.\./encoder"):
        make_plan([str(file), *own])


def test_a_plan_from_a_run_has_its_settings(original: Path, own: list[str]):
    plan = make_plan([str(original / "run.json"), *own])
    (planned,) = plan.runs
    assert (planned.learner, planned.seed, plan.repeats) == ("t2s", 2, original / "run.json")
    assert (plan.out, planned.name) == (Path("runs/repeat-t2s"), "t2s-seed2")
    assert planned.settings.tasks == ("reach-red", "reach-blue")
    assert planned.settings.method.share == 0.3
    assert make_plan([str(original), *own]).runs[0].settings == planned.settings
    assert make_plan([str(original), *own, "--train.rate", "0.5"]).runs[0].settings.train.rate == 0.5


@pytest.mark.slow
def test_a_repetition_has_the_same_figures_and_says_so(original: Path, place: Path, own: list[str]):
    file = original / "run.json"
    before = file.read_bytes()
    done = run(["run", str(file), *own, "--out", str(place / "again")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{file}: the same figures again"
    assert results_in(place / "again" / "t2s-seed2") == results_in(original)
    assert file.read_bytes() == before
    # The next ones are compared with the repetition that is there: nothing is learned again.
    assert run(["run", str(file), *own, "--out", str(place / "again")]).stdout == done.stdout


@pytest.mark.slow
def test_where_a_repetition_differs_is_said(original: Path, place: Path, tmp_path: Path, own: list[str]):
    def another_count(content: Content) -> None:
        cell = content["evaluations"][-1]
        cell["successes"] = (cell["successes"] + 1) % (cell["episodes"] + 1)
        cell["outcomes"] = ""  # they would have to be those that are counted
        cell["policy"] = "0" * 64
        content["versions"]["torch"] = "1.0"

    file = changed(original, tmp_path / "changed", another_count)
    cell, claimed = (json.loads(path.read_text())["evaluations"][-1] for path in (original / "run.json", file))
    done = run(["run", str(file), *own, "--out", str(place / "again")])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index(f"{file}: the repetition differs:")
    assert lines[start + 1] == (
        f"  reach-blue after 2 tasks, 100% of training: {claimed['successes']} of 4, now {cell['successes']} of 4"
    )
    bits = len(json.loads(file.read_text())["evaluations"])
    assert lines[start + 2] == f"  {bits - 1} of {bits} evaluated policies have the same bits"
    assert "torch was '1.0', is" in lines[start + 3]
    assert "the same figures" not in done.stdout


@pytest.mark.slow
def test_a_run_of_an_older_version_can_be_repeated(original: Path, place: Path, tmp_path: Path, own: list[str]):
    file = changed(original, tmp_path / "older", older)
    done = run(["run", str(file), *own, "--out", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert f"{file}: the same figures again" in done.stdout
    assert results_in(tmp_path / "out" / "t2s-seed2") == results_in(original)


def test_what_an_older_version_wrote_is_read_as_today(original: Path, tmp_path: Path, own: list[str]):
    file = changed(original, tmp_path / "older", older)
    assert "films" in file.read_text()
    assert make_plan([str(file), *own]).runs[0].settings == make_plan([str(original), *own]).runs[0].settings


def test_a_repetition_needs_no_folder_of_the_original(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: list[str]
):
    shutil.copy(original / "run.json", tmp_path / "some.json")
    monkeypatch.chdir(tmp_path)
    assert make_plan(["some.json", *own]).runs[0].settings == make_plan([str(original), *own]).runs[0].settings


def _set(*keys: str, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("config", "odd", value=1), "has no setting odd: use the version of the file"),
        (_set("config", "train", "odd", value=1), "has no setting train.odd"),
        (_set("config", "method", "odd", value=1), "has no setting method.odd"),
        (_set("config", "train", "rate", value="fast"), "these settings cannot be read"),
        (_set("config", "train", "rate", value=-1.0), "train.rate -1 is impossible: use a number above 0"),
        (_set("method", value="t3s"), "method 't3s' is unknown: did you mean 't2s'?"),
        (_set("suite", value=5), "suite"),
        (_set("tasks", value=[]), "it names no task"),
        (_set("schema", value="skilltokens.run/9"), "has schema 'skilltokens.run/9'"),
    ],
)
def test_a_run_that_cannot_be_repeated_is_one_sentence_and_nothing_is_written(
    change: Callable[[Content], None],
    said: str,
    original: Path,
    own: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    file = changed(original, tmp_path / "changed", change)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert said in sentence(["run", str(file), *own], capsys)
    assert os.listdir(tmp_path / "here") == []
    assert os.listdir(file.parent) == ["run.json"]


def test_a_run_is_repeated_by_its_own_method_alone(original: Path, own: list[str]):
    with pytest.raises(SettingError, match=r"is a run of 't2s': it can be repeated by that alone, not by 'lora'"):
        make_plan([str(original), *own, "--methods", "lora"])
