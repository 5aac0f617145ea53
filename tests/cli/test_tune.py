"""`skilltokens tune` on the toy suite: equal numbers of trials, on validation states alone, resumable, all kept."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import SMALL, install, run, sentence

from skilltokens.cli import main
from skilltokens.cli.candidates import candidates
from skilltokens.cli.cells import plan_grid
from skilltokens.cli.verbs.tune import plan_of
from skilltokens.experiments.grid import read_grid
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.tuning import changes_of
from skilltokens.files import seal
from skilltokens.methods import METHODS, method_settings
from skilltokens.methods.registration import Registration
from skilltokens.types import SettingError

Capture = pytest.CaptureFixture[str]


def command(place: Path, out: str, *words: str) -> list[str]:
    """The words after `skilltokens`, for trials in PLACE/OUT on demonstrations in PLACE/demos."""
    points = SMALL.index("--evaluate.points")
    small = [*SMALL[:points], *SMALL[points + 2 :]]
    folders = ["--demonstrations.folder", str(place / "demos"), "--out", str(place / out)]
    return ["tune", "demo", *small, *folders, *words]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuning")


@pytest.fixture(scope="module")
def tuned(place: Path) -> tuple[Path, str]:
    """The folder of a finished tuning of two methods by two trials each, and what the command printed."""
    docs = str(place / "docs.md")
    done = run(command(place, "whole", "--methods", "t2s", "sequential", "--trials", "2", "--docs", docs))
    assert done.returncode == 0, done.stderr
    return place / "whole", done.stdout


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "tuning.json").read_text())


def test_every_method_gets_the_same_number_of_trials(tuned: tuple[Path, str]):
    content = read(tuned[0])
    assert content["schema"] == "skilltokens.tuning/1"
    assert content["digest"] == seal(content)
    assert (content["recipe"], content["split"], content["seed"]) == ("demo", "validation", 0)
    assert [entry["method"] for entry in content["methods"]] == ["t2s", "sequential"]
    for entry, rate in zip(content["methods"], (1e-2, 2e-3), strict=True):
        assert [trial["changes"] for trial in entry["trials"]] == [{}, {"rate": rate / 2}]
        assert [trial["settings"]["rate"] for trial in entry["trials"]] == [rate, rate / 2]
        assert entry["chosen"] in (0, 1)


def test_trials_are_runs_on_validation_states_that_are_tested_at_their_end_alone(tuned: tuple[Path, str]):
    folder, _ = tuned
    for entry in read(folder)["methods"]:
        for number, trial in enumerate(entry["trials"]):
            assert trial["run"] == f"{entry['method']}-trial{number}"
            record = read_lifelong(folder / trial["run"])
            assert record.finished
            assert {cell.split for cell in record.cells} == {"validation"}
            assert {cell.progress for cell in record.cells} == {1.0}
            assert record.config["evaluate"]["old"] == "end"
            assert not record.variants
            assert not record.videos
            assert not record.selection
            last = {cell.task: cell for cell in record.cells if cell.after == len(record.tasks) - 1}
            assert trial["successes"] == [last[task].successes for task in range(len(record.tasks))]
            assert trial["episodes"] == [4, 4]
            assert trial["final"] == pytest.approx(sum(trial["successes"]) / 8)
            assert str(record.command).startswith("skilltokens tune demo")


def test_the_table_the_words_and_the_fragment_say_what_is_kept(tuned: tuple[Path, str], place: Path):
    folder, printed = tuned
    page = (folder / "tuning.md").read_text()
    assert (place / "docs.md").read_text() == page
    grid = place / "night.toml"
    grid.write_text('recipe = "demo"\n' + printed.partition("For the file of a grid:\n")[2].partition("written:")[0])
    chosen = {planned.learner: planned.settings.method for planned in plan_grid(read_grid(str(grid))).runs}
    for entry in read(folder)["methods"]:
        best = entry["trials"][entry["chosen"]]
        rows = [line for line in page.splitlines() if line.startswith(f"| {entry['method']} ")]
        assert len(rows) == len(entry["trials"])
        assert [row.endswith("| chosen |") for row in rows] == [i == entry["chosen"] for i in range(len(rows))]
        assert chosen[entry["method"]].rate == best["settings"]["rate"]
        words = re.search(rf"^{entry['method']}: (.*)$", printed, re.MULTILINE)
        assert words is not None
        wanted = f"--method.rate {best['changes']['rate']}" if best["changes"] else "the recipe as it is"
        assert words[1] == wanted


def test_the_same_command_does_no_trial_again(tuned: tuple[Path, str], place: Path, capsys: Capture):
    folder, _ = tuned
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    words = command(place, "whole", "--methods", "t2s", "sequential", "--trials", "2")
    assert len(before) == 4
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")} == before
    assert "chosen" in capsys.readouterr().out


@pytest.mark.slow
def test_trials_that_fail_are_listed_and_said(place: Path):
    words = ["--methods", "lora", "sequential", "--trials", "1", "--method.own-rate", "1e30", "--train.log-every", "5"]
    done = run(command(place, "failing", *words))
    assert done.returncode == 2
    assert "skilltokens: the loss became nan" in done.stderr
    assert "lora: every trial failed" in done.stdout
    lora, sequential = read(place / "failing")["methods"]
    assert lora["chosen"] is None
    assert [trial["failed"] for trial in lora["trials"]] == [True]
    assert sequential["chosen"] == 0
    assert (place / "failing" / "tuning.md").read_text().count("| failed |") == 1
    alone = run(command(place, "failing", "--methods", "lora", *words[3:]))
    assert alone.returncode == 2
    assert "skilltokens: the loss became nan" in alone.stderr
    assert read(place / "failing")["methods"][1] == sequential


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials", "5"], "method t2s has 4 settings to try, not 5"),
        (["--trials", "0"], "--trials 0 is impossible: use 1 or more"),
        (["--evaluate.split", "test"], "on validation states (--evaluate.split validation)"),
        (["--evaluate.points", "3"], "--evaluate.points is not yours to choose here"),
        (["--evaluate.videos"], "(--evaluate.no-videos)"),
        (["--seeds", "0", "1"], "the same one seed"),
        (["--vary", "train.rate=1e-3,2e-3"], "leave out --vary"),
        (["--method.rats", "1"], "has no option --method.rats: did you mean"),
        (["--methods", "t2z"], "method 't2z' is unknown: did you mean 't2s'?"),
    ],
)
def test_what_is_not_fair_or_not_possible_ends_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: Capture
):
    assert said in sentence(command(tmp_path, "none", *words), capsys)
    assert not (tmp_path / "none").exists()


def test_what_would_be_tried_is_shown_before(tmp_path: Path, capsys: Capture):
    assert main(command(tmp_path, "none", "--methods", "lora", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "lora-trial3" in shown
    assert "4 trials: 0 done, 4 to do" in shown
    assert not (tmp_path / "none").exists()


def test_a_recipe_is_named_first_and_learns_from_demonstrations(capsys: Capture):
    assert "name a recipe first, such as `skilltokens tune demo`" in sentence(["tune"], capsys)
    assert "learns from reward" in sentence(["tune", "task-tokens-halfcheetah"], capsys)


def test_trials_go_to_a_folder_of_their_own():
    _, plan, trials = plan_of(["demo", "--methods", "sequential"])
    assert plan.out == Path("runs/demo-tuning")
    assert [trial.run.name for trial in trials] == [f"sequential-trial{number}" for number in range(4)]
    assert [trial.run.settings.method.rate for trial in trials] == [2e-3, 1e-3, 4e-3, 5e-4]


@dataclass(frozen=True)
class Weighted:
    """A plug-in's settings, without a rate."""

    weight: float = 1.0


def declared(*trials: dict[str, Any]) -> Registration:
    return Registration("tests", "nowhere:Nothing", Weighted, trials=trials)


def none_declared() -> Registration:
    return declared()


def three_declared() -> Registration:
    return declared({"weight": 10}, {"weight": 100.0}, {"weight": 0.1})


def strange_declared() -> Registration:
    return declared({"weight": 3.0}, {"height": 1.0})


def twice_declared() -> Registration:
    return declared({"weight": 2.0}, {"weight": 1.0})


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("none_declared", "method weighted has 1 setting to try, not 3"),
        ("strange_declared", "a trial of method weighted is impossible, {'height': 1.0}: this version of skilltokens"),
        ("twice_declared", "trials 0 and 2 of method weighted are the same ({'weight': 1.0})"),
    ],
)
def test_a_plug_in_that_declares_too_few_or_impossible_trials_is_refused(
    function: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install(tmp_path, "skilltokens.methods", weighted=f"tests.cli.test_tune:{function}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingError) as problem:
        changes_of(Weighted(), 3)
    assert said in str(problem.value)


def test_a_plug_in_declares_its_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(tmp_path, "skilltokens.methods", weighted="tests.cli.test_tune:three_declared")
    monkeypatch.syspath_prepend(tmp_path)
    assert changes_of(Weighted(), 3) == [{}, {"weight": 10}, {"weight": 100.0}]


@pytest.mark.parametrize("name", [name for name, entry in METHODS.items() if hasattr(entry.settings(), "rate")])
def test_every_method_that_learns_has_four_trials_and_no_more(name: str):
    assert len(changes_of(method_settings(name)(), 4)) == 4
    with pytest.raises(SettingError):
        changes_of(method_settings(name)(), 5)


def test_options_of_run_and_its_own_are_completed():
    assert "--trials" in candidates(["tune", "demo", "--tr"]).words
    assert "--train.rate" in candidates(["tune", "demo", "--tr"]).words
    assert "demo" in candidates(["tune", "de"]).words
