"""learn(): killed at any moment, it is resumed to the same numbers."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.lifelong.runs import TASKS, Settings, contents, figures, rewrite, work
from tests.killing import dies

from skilltokens.experiments import provenance
from skilltokens.experiments.lessons import tasks_of
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.opening import note_resumed, open_run
from skilltokens.experiments.reading import write_record
from skilltokens.experiments.records import LifelongRecord
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.report.runs import read_run
from skilltokens.suites import load_suite
from skilltokens.types import OtherConfigurationError, Progress


@pytest.mark.slow
def test_killed_around_every_write_it_ends_with_the_same_numbers(
    place: Path, settings: Settings, whole: LifelongRecord
):
    folder, deaths = place / "writes", []
    early, late = itertools.cycle((3, 2, 4)), itertools.count(2, 4)
    while not deaths or deaths[-1]:
        begun = (folder / "run.json").exists()
        learned = json.loads((folder / "run.json").read_text())["parameters"]["trained"] if begun else []
        # What is done once at the end is done anew by each process, so each of these lives a little longer.
        nth = next(late) if len(learned) == len(TASKS) else next(early)
        deaths.append(dies(work, folder, {"write", "remove"}, nth, settings))
        if (folder / "run.json").exists():  # else it died before it had begun
            read_run(folder)
        assert len(deaths) < 60
    assert set(deaths) == {"write", "remove", ""}
    assert figures(folder) == figures(place / "whole")
    assert contents(folder / "library") == contents(place / "whole" / "library")
    assert not list(folder.glob("progress*"))


def test_killed_while_it_trains_and_evaluates_it_ends_with_the_same_numbers(
    place: Path, settings: Settings, whole: LifelongRecord
):
    folder = place / "moments"
    kinds = {"train", "evaluate", "write"}
    deaths = [dies(work, folder, kinds, nth, settings) for nth in (2, 5, 9, 7, 13, 11, 17, 10)]
    assert kinds - {"write"} <= set(deaths)
    assert "" not in deaths
    assert dies(work, folder, kinds, None, settings) == ""
    assert figures(folder) == figures(place / "whole")


def resumed(settings: Settings, folder: Path) -> list[tuple[str, int]]:
    """Resumes a run to its end; for each piece of news its stage and how much was done of it."""
    reports: list[Progress] = []
    learn(settings, folder, reports.append, recipe="small")
    return [(news.stage, news.done) for news in reports]


def test_all_tasks_at_once_lose_a_tenth_of_their_training_at_most(place: Path, settings: Settings):
    joint = dataclasses.replace(settings, method=MultitaskSettings())
    learn(joint, place / "joint", recipe="small")
    folder = place / "joint-cut"
    train = dataclasses.replace(settings.train, log_every=1)
    assert dies(work, folder, {"train"}, 30, dataclasses.replace(joint, train=train)) == "train"
    steps = [done for stage, done in resumed(dataclasses.replace(joint, train=train), folder) if stage == "train"]
    assert 16 <= steps[0] < steps[-1] == 22  # of 22, and the process died at the 19th
    assert figures(folder)["evaluations"] == figures(place / "joint")["evaluations"]


@pytest.mark.parametrize("method", [MultitaskSettings(), SequentialSettings(), T2SSettings(share=0.2)])
def test_killed_among_the_last_cells_it_repeats_neither_training_nor_cells(
    method: Any, place: Path, settings: Settings
):
    chosen = dataclasses.replace(settings, method=method, evaluate=dataclasses.replace(settings.evaluate, points=1))
    name = type(method).__name__
    reports: list[Progress] = []
    whole = learn(chosen, place / name, reports.append, recipe="small")
    cells = [news.done for news in reports if news.stage == "evaluate"]
    last = cells[len(cells) - 1 - cells[::-1].index(0) :]
    assert dies(work, place / f"{name}-cut", {"evaluate"}, len(cells), chosen) == "evaluate"  # in the very last cell
    assert resumed(chosen, place / f"{name}-cut") == [
        ("train", whole.learning[-1].iterations[-1] + 1),  # all of it
        *[("evaluate", done) for done in last],
    ]
    assert figures(place / f"{name}-cut") == figures(place / name)


def test_what_another_run_has_left_in_the_folder_is_not_taken_over(place: Path, settings: Settings):
    folder, other = place / "left", dataclasses.replace(settings, seed=1)
    assert dies(work, folder, {"train"}, 6, settings) == "train"
    (folder / "run.json").unlink()
    (folder / "state-9.safetensors").touch()
    assert (folder / "progress.safetensors").exists()
    for run_folder in (folder, place / "seed"):
        learn(other, run_folder, recipe="small")
    assert figures(folder) == figures(place / "seed")
    assert [path.name for path in folder.glob("*.safetensors")] == ["state-3.safetensors"]


def test_other_versions_are_written_down_where_a_run_is_resumed(
    half: Path, settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
):
    content = json.loads((half / "run.json").read_text())
    rewrite(half, versions={**content["versions"], "toy": "0", "gone": "7"}, commit="old")
    monkeypatch.setattr(provenance, "commit", lambda: "new")
    reports: list[Progress] = []

    def stop_at_the_first_step(news: Progress) -> None:
        reports.append(news)
        if news.stage == "train":
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            learn(settings, half, stop_at_the_first_step, recipe="small")
    run = learn(settings, half, recipe="small")
    (entry,) = run.resumed  # once, and at once
    assert (entry.commit, entry.versions) == ("new", {"gone": None, "toy": "1"})
    assert entry.at >= run.started
    assert (run.commit, run.versions["toy"]) == ("old", "0")
    (said,) = [news.note for news in reports if "other code" in news.note]
    assert "commit was 'old', is 'new'" in said
    assert {**figures(half), "versions": 0} == {**figures(place / "whole"), "versions": 0}
    read_run(half)


def test_a_run_that_is_resumed_as_it_was_says_nothing_of_versions(
    half: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provenance, "commit", lambda: json.loads((half / "run.json").read_text())["commit"])
    assert learn(settings, half, recipe="small").resumed == []


def test_a_run_records_its_kernel_and_is_not_resumed_by_another(settings: Settings, tmp_path: Path):
    other = dataclasses.replace(settings, train=dataclasses.replace(settings.train, kernel="numba"))
    suite = load_suite(settings.suite)
    tasks = tasks_of(settings, suite)
    record = open_run(tmp_path, other, "small", suite, tasks)
    assert record.versions["numba"] == importlib.metadata.version("numba")
    assert note_resumed(record, suite, "numba") == ""
    write_record(tmp_path, record)
    assert json.loads((tmp_path / "run.json").read_text())["config"]["train"]["kernel"] == "numba"
    with pytest.raises(OtherConfigurationError, match=r"train\.kernel was 'numba', is 'torch'"):
        open_run(tmp_path, settings, "small", suite, tasks)
    assert "numba" not in open_run(tmp_path / "usual", settings, "small", suite, tasks).versions
