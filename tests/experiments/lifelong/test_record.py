"""learn(): what it writes down, and what it leaves out."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.experiments.lifelong.runs import TASKS, Settings, figures, rewrite

from skilltokens.configuration import plain
from skilltokens.experiments import evaluator
from skilltokens.experiments.evaluator import Evaluator, fingerprint
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.records import LifelongRecord
from skilltokens.locking import LOCKS
from skilltokens.methods.base import Choice
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.model import traced
from skilltokens.report.runs import read_run
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import Progress


def test_variants_are_evaluated_once_at_the_end_by_their_own_words(place: Path, settings: Settings):
    evaluate = dataclasses.replace(settings.evaluate, variants=("tests.toy:paraphrased",))
    run = learn(dataclasses.replace(settings, evaluate=evaluate), place / "variants", recipe="small")
    variants = run.variants
    assert [(variant.suite, variant.task) for variant in variants] == [("toy-lan", i) for i in range(3)]
    words = ["drive over to red", "drive over to blue", "park in between"]
    assert [variant.instruction for variant in variants] == words
    chosen = {wording.wording: wording.chosen for wording in run.selection}
    last = {cell.task: cell for cell in run.cells}
    for variant in variants:
        assert variant.skill == chosen[variant.instruction]
        if variant.skill == variant.task:  # the same skill on the same states does the same
            cell = last[variant.task]
            assert (variant.successes, variant.steps) == (cell.successes, cell.steps)
    assert read_run(place / "variants").finished


def test_a_run_killed_among_its_variants_does_not_repeat_those_that_are_done(place: Path, settings: Settings):
    evaluate = dataclasses.replace(settings.evaluate, variants=("tests.toy:paraphrased",))
    varied = dataclasses.replace(settings, evaluate=evaluate)
    whole = learn(varied, place / "variants-whole", recipe="small")
    folder = place / "variants-cut"
    shutil.copytree(place / "variants-whole", folder)
    content = json.loads((folder / "run.json").read_text())
    rewrite(folder, finished=None, variants=[{**content["variants"][0], "steps": -1}])
    resumed = learn(varied, folder, recipe="small")
    assert resumed.variants[0].steps == -1
    assert resumed.variants[1:] == whole.variants[1:]


def test_a_shorter_horizon_ends_episodes_sooner(place: Path, settings: Settings):
    evaluate = dataclasses.replace(settings.evaluate, horizon=3)
    run = learn(dataclasses.replace(settings, evaluate=evaluate), place / "horizon", recipe="small")
    assert max(cell.steps / cell.episodes for cell in run.cells) <= 3


def test_run_json_is_valid_and_complete(place: Path, settings: Settings, whole: LifelongRecord):
    content = json.loads((place / "whole" / "run.json").read_text())
    assert read_lifelong(place / "whole") == whole
    run = read_run(place / "whole")  # checks every key against the schema
    assert (run.method, run.seed, run.tasks, run.finished) == ("t2s", 0, TASKS, True)
    assert content["schema"] == "skilltokens.run/2"
    assert (content["protocol"], content["observations"], content["recipe"]) == ("A", "state", "small")
    assert content["suite"] == "tests.toy:Toy"
    assert content["config"] == plain(settings)
    assert content["demonstrations"]["source"] == "scripted"
    assert content["demonstrations"]["episodes"] == [4, 4, 4]
    assert content["started"] <= content["finished"]
    assert content["versions"]["toy"] == "1"
    names = {path.name for path in (place / "whole").iterdir()} - set(LOCKS)
    assert names == {"run.json", "state-3.safetensors", "library"}


def test_every_seen_task_is_evaluated_and_the_curve_of_the_new_one(whole: LifelongRecord):
    cells = [(cell.after, cell.task, cell.progress) for cell in whole.cells]
    curve = [(task, task, progress) for task in range(3) for progress in (0.0, 0.5)]
    triangle = [(after, task, 1.0) for after in range(3) for task in range(after + 1)]
    assert sorted(cells) == sorted(curve + triangle)
    for cell in whole.cells:
        assert (cell.split, cell.selected_by, cell.episodes) == ("test", "instruction", 4)
        assert 0 <= cell.successes <= 4 <= cell.steps <= 160


def test_lessons_are_written_down(whole: LifelongRecord):
    parameters = whole.parameters
    assert parameters.base is not None
    assert parameters.trained[0] == parameters.base == parameters.total[0]
    later = parameters.trained[1:]
    assert [after - before for before, after in itertools.pairwise(parameters.total)] == later
    assert 0 < min(later) <= max(later) <= 0.08 * parameters.base
    assert [lesson.iterations[-1] for lesson in whole.learning] == [9, 5, 5]
    processor = whole.timing.train_cpu_s or []
    assert len(processor) == len(whole.timing.train_s) == len(whole.timing.evaluate_s) == 3
    assert all(seconds is not None and seconds >= 0 for seconds in processor)
    assert not whole.gradients[0].layers
    for lesson in whole.gradients[1:]:
        assert len(lesson.layers) == 5
        assert all(not any(norms["shared"]) and all(norms["specific"]) for norms in lesson.layers.values())
    assert [sum(lesson.earlier.values()) for lesson in whole.reuse] == [0, 0, whole.reuse[2].new]
    assert sum(wording.held_out for wording in whole.selection) == 3
    assert all(wording.chosen == wording.task for wording in whole.selection if not wording.held_out)


def test_cells_of_the_same_bits_are_marked_and_say_the_same(whole: LifelongRecord):
    cells = whole.cells
    marked = [cell for cell in cells if cell.same_as is not None]
    assert marked == [cell for cell in cells if cell.progress == 1.0 and cell.task < cell.after]
    for cell in marked:
        other = cells[cell.same_as or 0]
        assert other.same_as is None
        for key in ("actions", "policy", "skill", "task", "split", "successes", "episodes", "steps"):
            assert getattr(cell, key) == getattr(other, key)
    fresh = [(cell.task, cell.policy, cell.actions) for cell in cells if cell.same_as is None]
    assert len(set(fresh)) == len(fresh)


def test_rolling_out_what_was_skipped_changes_no_number(
    place: Path, settings: Settings, whole: LifelongRecord, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Evaluator, "_same_bits", lambda self, cells, cell: None)
    again = learn(settings, place / "twice")
    assert not any(cell.same_as is not None for cell in again.cells)
    assert again.cells == [msgspec.structs.replace(cell, same_as=None) for cell in whole.cells]


def test_traced_or_not_a_run_has_the_same_numbers(
    place: Path, settings: Settings, whole: LifelongRecord, monkeypatch: pytest.MonkeyPatch
):
    assert whole.finished
    monkeypatch.setattr(traced, "_graphs", {})
    monkeypatch.setattr(evaluator, "WORTH", 0)  # its cells are so short that none is traced otherwise
    learn(settings, place / "traced", recipe="small")
    assert traced._graphs
    assert figures(place / "traced") == figures(place / "whole")


def test_worker_processes_change_no_number(place: Path, settings: Settings, whole: LifelongRecord):
    evaluate = dataclasses.replace(settings.evaluate, workers=2)
    learn(dataclasses.replace(settings, evaluate=evaluate), place / "workers", recipe="small")
    several, one = figures(place / "workers"), figures(place / "whole")
    assert several.pop("config")["evaluate"]["workers"] == 2
    one.pop("config")
    assert several == one


def test_a_finished_run_is_returned_without_work(place: Path, settings: Settings, whole: LifelongRecord):
    reports: list[Progress] = []
    evaluate = dataclasses.replace(settings.evaluate, workers=1, videos=True)
    assert learn(dataclasses.replace(settings, evaluate=evaluate), place / "whole", reports.append) == whole
    assert not reports


def test_a_joint_method_has_one_lesson(place: Path, settings: Settings):
    run = learn(dataclasses.replace(settings, method=MultitaskSettings()), place / "multitask")
    assert read_run(place / "multitask").joint
    assert [(cell.after, cell.task, cell.progress) for cell in run.cells] == [(2, i, 1.0) for i in range(3)]
    assert run.learning[0].iterations[-1] == 10 + 2 * 6 - 1
    assert run.parameters.total == run.parameters.trained == [run.parameters.base]
    assert run.selection == []


def test_a_method_that_forgets_is_rolled_out_again(place: Path, settings: Settings):
    run = learn(dataclasses.replace(settings, method=SequentialSettings()), place / "sequential")
    assert all(cell.same_as is None and cell.skill is None for cell in run.cells)
    read_run(place / "sequential")


def test_a_task_may_be_taught_again_and_again(place: Path, settings: Settings):
    again = dataclasses.replace(settings, tasks=("reach-red",) * 3)
    run = learn(again, place / "again")
    assert run.lessons == 3
    state = SkillLibrary.open(place / "again" / "library").state
    assert [(record.name, record.version) for record in state.skills.values()] == [("reach-red", 3)]
    assert [record.version for record in state.older] == [1, 2]
    read_run(place / "again")


def test_what_t2s_learned_is_a_library_too(place: Path, whole: LifelongRecord):
    library = SkillLibrary.open(place / "whole" / "library")
    assert tuple(skill.name for skill in library.skills) == TASKS
    for cell in whole.cells:
        if cell.progress == 1.0:
            skill = library.skills[cell.task]
            choice = Choice(library.policy(cell.task), skill.embeddings[0])
            assert fingerprint(choice) == cell.policy
