"""learn(): what it writes down, and what it leaves out."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.lifelong.runs import TASKS, Settings, figures

from skilltokens.experiments import record
from skilltokens.experiments.lifelong import fingerprint, learn
from skilltokens.methods.base import Choice
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.report.runs import read_run
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import Progress


def test_variants_are_evaluated_once_at_the_end_by_their_own_words(place: Path, settings: Settings):
    wanted = dataclasses.replace(settings.evaluate, variants=("tests.toy:paraphrased",))
    run = learn(dataclasses.replace(settings, evaluate=wanted), place / "variants", recipe="small")
    found = run["variants"]
    assert [(cell["suite"], cell["task"]) for cell in found] == [("toy-lan", i) for i in range(3)]
    assert [cell["instruction"] for cell in found] == ["drive over to red", "drive over to blue", "park in between"]
    asked = {e["wording"]: e["chosen"] for e in run["selection"]}
    last = {cell["task"]: cell for cell in run["evaluations"]}
    for cell in found:
        assert cell["skill"] == asked[cell["instruction"]]
        if cell["skill"] == cell["task"]:  # the same skill on the same states does the same
            assert (cell["successes"], cell["steps"]) == (last[cell["task"]]["successes"], last[cell["task"]]["steps"])
    assert read_run(place / "variants").finished


def test_a_run_killed_among_its_variants_does_not_repeat_those_that_are_done(place: Path, settings: Settings):
    wanted = dataclasses.replace(settings.evaluate, variants=("tests.toy:paraphrased",))
    varied = dataclasses.replace(settings, evaluate=wanted)
    whole = learn(varied, place / "variants-whole", recipe="small")
    folder = place / "variants-cut"
    shutil.copytree(place / "variants-whole", folder)
    content = json.loads((folder / "run.json").read_text())
    content |= {"finished": None, "variants": [{**whole["variants"][0], "steps": -1}]}
    (folder / "run.json").write_text(json.dumps(content))
    resumed = learn(varied, folder, recipe="small")
    assert resumed["variants"] == [{**whole["variants"][0], "steps": -1}, *whole["variants"][1:]]


def test_a_shorter_horizon_ends_episodes_sooner(place: Path, settings: Settings):
    wanted = dataclasses.replace(settings.evaluate, horizon=3)
    run = learn(dataclasses.replace(settings, evaluate=wanted), place / "horizon", recipe="small")
    assert max(cell["steps"] / cell["episodes"] for cell in run["evaluations"]) <= 3


def test_run_json_is_valid_and_complete(place: Path, settings: Settings, whole: dict[str, Any]):
    content = json.loads((place / "whole" / "run.json").read_text())
    assert content == whole
    run = read_run(place / "whole")  # checks every key against the schema
    assert (run.method, run.seed, run.tasks, run.finished) == ("t2s", 0, TASKS, True)
    assert content["schema"] == "skilltokens.run/1"
    assert (content["protocol"], content["observations"], content["recipe"]) == ("A", "state", "small")
    assert content["suite"] == "tests.toy:Toy"
    assert content["config"] == json.loads(json.dumps(dataclasses.asdict(settings)))
    assert content["demonstrations"]["source"] == "scripted"
    assert content["demonstrations"]["episodes"] == [4, 4, 4]
    assert content["started"] <= content["finished"]
    assert content["versions"]["toy"] == "1"
    assert {path.name for path in (place / "whole").iterdir()} == {"run.json", "state-3.safetensors", "library"}


def test_every_seen_task_is_evaluated_and_the_curve_of_the_new_one(whole: dict[str, Any]):
    cells = [(entry["after"], entry["task"], entry["progress"]) for entry in whole["evaluations"]]
    curve = [(task, task, progress) for task in range(3) for progress in (0.0, 0.5)]
    triangle = [(after, task, 1.0) for after in range(3) for task in range(after + 1)]
    assert sorted(cells) == sorted(curve + triangle)
    for entry in whole["evaluations"]:
        assert (entry["split"], entry["selected_by"], entry["episodes"]) == ("test", "instruction", 4)
        assert 0 <= entry["successes"] <= 4 <= entry["steps"] <= 160


def test_lessons_are_written_down(whole: dict[str, Any]):
    parameters = whole["parameters"]
    assert parameters["trained"][0] == parameters["base"] == parameters["total"][0]
    total, later = parameters["total"], parameters["trained"][1:]
    assert [after - before for before, after in itertools.pairwise(total)] == later
    assert 0 < min(later) <= max(later) <= 0.08 * parameters["base"]
    assert [lesson["iterations"][-1] for lesson in whole["learning"]] == [9, 5, 5]
    assert not whole["gradients"][0]["layers"]
    for lesson in whole["gradients"][1:]:
        assert len(lesson["layers"]) == 5
        assert all(not any(norms["shared"]) and all(norms["specific"]) for norms in lesson["layers"].values())
    assert [sum(lesson["from"].values()) for lesson in whole["reuse"]] == [0, 0, whole["reuse"][2]["new"]]
    chosen = whole["selection"]
    assert sum(entry["held_out"] for entry in chosen) == 3
    assert all(entry["chosen"] == entry["task"] for entry in chosen if not entry["held_out"])


def test_cells_of_the_same_bits_are_marked_and_say_the_same(whole: dict[str, Any]):
    entries = whole["evaluations"]
    marked = [entry for entry in entries if "same_as" in entry]
    old = [entry for entry in entries if entry["progress"] == 1.0 and entry["task"] < entry["after"]]
    assert marked == old
    for entry in marked:
        other = entries[entry["same_as"]]
        assert "same_as" not in other
        for key in ("actions", "policy", "skill", "task", "split", "successes", "episodes", "steps"):
            assert entry[key] == other[key]
    fresh = [(entry["task"], entry["policy"], entry["actions"]) for entry in entries if "same_as" not in entry]
    assert len(set(fresh)) == len(fresh)


def test_rolling_out_what_was_skipped_changes_no_number(
    place: Path, settings: Settings, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "same_bits", lambda evaluations, entry: None)
    again = learn(settings, place / "twice")
    assert not any("same_as" in entry for entry in again["evaluations"])
    stripped = [{k: v for k, v in entry.items() if k != "same_as"} for entry in whole["evaluations"]]
    assert again["evaluations"] == stripped


def test_worker_processes_change_no_number(place: Path, settings: Settings, whole: dict[str, Any]):
    evaluate = dataclasses.replace(settings.evaluate, workers=2)
    learn(dataclasses.replace(settings, evaluate=evaluate), place / "workers", recipe="small")
    found, expected = figures(place / "workers"), figures(place / "whole")
    assert found.pop("config")["evaluate"]["workers"] == 2
    expected.pop("config")
    assert found == expected


def test_a_finished_run_is_returned_without_work(place: Path, settings: Settings, whole: dict[str, Any]):
    told: list[Progress] = []
    evaluate = dataclasses.replace(settings.evaluate, workers=1, films=True)
    assert learn(dataclasses.replace(settings, evaluate=evaluate), place / "whole", told.append) == whole
    assert not told


def test_a_joint_method_has_one_lesson(place: Path, settings: Settings):
    run = learn(dataclasses.replace(settings, method=MultitaskSettings()), place / "multitask")
    assert read_run(place / "multitask").joint
    assert [(e["after"], e["task"], e["progress"]) for e in run["evaluations"]] == [(2, i, 1.0) for i in range(3)]
    assert run["learning"][0]["iterations"][-1] == 10 + 2 * 6 - 1
    assert run["parameters"]["total"] == run["parameters"]["trained"] == [run["parameters"]["base"]]
    assert run["selection"] == []


def test_a_method_that_forgets_is_rolled_out_again(place: Path, settings: Settings):
    run = learn(dataclasses.replace(settings, method=SequentialSettings()), place / "sequential")
    assert not any("same_as" in entry for entry in run["evaluations"])
    assert not any("skill" in entry for entry in run["evaluations"])
    read_run(place / "sequential")


def test_a_task_may_be_taught_again_and_again(place: Path, settings: Settings):
    again = dataclasses.replace(settings, tasks=("reach-red",) * 3)
    run = learn(again, place / "again")
    assert len(run["parameters"]["trained"]) == 3
    names = [skill.name for skill in SkillLibrary.open(place / "again" / "library").skills]
    assert names == ["reach-red", "reach-red.1", "reach-red.2"]
    read_run(place / "again")


def test_what_t2s_learned_is_a_library_too(place: Path, whole: dict[str, Any]):
    library = SkillLibrary.open(place / "whole" / "library")
    assert tuple(skill.name for skill in library.skills) == TASKS
    for entry in whole["evaluations"]:
        if entry["progress"] == 1.0:
            skill = library.skills[entry["task"]]
            choice = Choice(library.policy(entry["task"]), skill.embeddings[0])
            assert fingerprint(choice) == entry["policy"]
