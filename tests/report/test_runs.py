"""run.json in: what is read from it, and the sentence for each way in which it cannot be trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report.runs import read_run
from skilltokens.types import RunError

Build = Callable[..., Path]


def test_a_finished_run_gives_its_counts_figures_and_costs(build: Build, tmp_path: Path):
    run = read_run(build(tmp_path, "t2s", tasks=4))
    assert run.finished
    assert run.learned == 4
    assert (run.split, run.selected_by, run.joint) == ("test", "instruction", False)
    assert run.figures is not None
    assert run.figures.nbt == 0
    assert run.figures.final == run.figures.learned
    assert run.successes[3, 0] == run.successes[0, 0]
    assert run.same[3, 0]
    assert not run.same[3, 3]
    assert run.curves[2].progress.tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert run.new_skill_share == pytest.approx(11_776 / 152_904)


def test_a_folder_stands_for_its_run_json(build: Build, tmp_path: Path):
    build(tmp_path)
    assert read_run(tmp_path).path == tmp_path / "run.json"


def test_an_unfinished_run_counts_the_lessons_that_are_whole(build: Build, tmp_path: Path):
    def drop_last(content: dict[str, Any]) -> None:
        content["evaluations"].pop()

    run = read_run(build(tmp_path, "sequential", learned=3, change=drop_last))
    assert (run.learned, run.finished) == (2, False)
    assert run.figures is not None
    assert len(run.figures.final_of) == 2


def test_a_run_before_its_first_lesson_has_no_figures(build: Build, tmp_path: Path):
    run = read_run(build(tmp_path, "t2s", learned=0))
    assert run.figures is None
    assert run.learned == 0
    assert run.base is None


def test_multitask_is_one_lesson_with_final_success_alone(build: Build, tmp_path: Path):
    run = read_run(build(tmp_path, "multitask"))
    assert run.joint
    assert run.finished
    assert run.figures is not None
    assert (run.figures.fwt, run.figures.nbt, run.figures.auc) == (None, None, None)
    assert run.new_skill_share is None


def test_one_point_a_lesson_leaves_the_area_undefined(build: Build, tmp_path: Path):
    figures = read_run(build(tmp_path, points=1)).figures
    assert figures is not None
    assert figures.fwt is None
    assert figures.nbt == 0


def test_test_states_and_the_instruction_come_before_what_else_was_evaluated(build: Build, tmp_path: Path):
    def also_otherwise(content: dict[str, Any]) -> None:
        others = [
            {**{k: v for k, v in e.items() if k != "same_as"}, "successes": 0, **kind}
            for e in content["evaluations"]
            for kind in ({"split": "validation"}, {"selected_by": "task_id"})
        ]
        content["evaluations"] += others

    plain = read_run(build(tmp_path / "a", seed=1)).figures
    mixed = read_run(build(tmp_path / "b", seed=1, change=also_otherwise))
    assert (mixed.split, mixed.selected_by) == ("test", "instruction")
    assert plain is not None
    assert mixed.figures is not None
    assert mixed.figures.auc == plain.auc


def test_a_run_by_task_id_alone_says_so(build: Build, tmp_path: Path):
    def by_id(content: dict[str, Any]) -> None:
        for entry in content["evaluations"]:
            entry["selected_by"] = "task_id"

    assert read_run(build(tmp_path, change=by_id)).selected_by == "task_id"


def test_zero_shot_entries_are_no_part_of_the_matrix(build: Build, tmp_path: Path):
    def before_any(content: dict[str, Any]) -> None:
        entry = {k: v for k, v in content["evaluations"][0].items() if k != "same_as"}
        content["evaluations"].append({**entry, "after": -1, "progress": 1.0, "task": 3, "successes": 20})

    assert read_run(build(tmp_path, "sequential", change=before_any)).figures is not None


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last, value = path

    def change(content: dict[str, Any]) -> None:
        holder: Any = content
        for key in way:
            holder = holder[key]
        holder[last] = value

    return change


def _drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.pop(key)


BROKEN = {
    "another schema": (_set("schema", "skilltokens.run/9"), "skilltokens.run/9"),
    "no method": (_drop("method"), "method"),
    "a seed that is no number": (_set("seed", "0"), "seed"),
    "a seed that is a truth value": (_set("seed", True), "seed"),
    "no task": (_set("tasks", []), "names no task"),
    "a task without instruction": (_set("tasks", 1, {"name": "push"}), r"field instruction - at tasks\[1\]"),
    "more successes than episodes": (_set("evaluations", 3, "successes", 21), r"evaluations\[3\] counts 21"),
    "negative successes": (_set("evaluations", 3, "successes", -1), "counts -1"),
    "fractions of episodes": (_set("evaluations", 3, "successes", 1.5), "successes"),
    "a task that is not there": (_set("evaluations", 3, "task", 10), "does not have"),
    "progress beyond the end": (_set("evaluations", 3, "progress", 1.5), "does not have"),
    "an unknown split": (_set("evaluations", 3, "split", "train"), "'train'"),
    "an unknown chooser": (_set("evaluations", 3, "selected_by", "luck"), "'luck'"),
    "a skill that is not there": (_set("evaluations", 3, "skill", 11), "does not have"),
    "the same cell twice": (lambda c: c["evaluations"].append(c["evaluations"][0]), "repeats"),
    "same bits as a later cell": (_set("evaluations", 3, "same_as", 9), "same bits"),
    "same bits as another task's cell": (_set("evaluations", 20, "same_as", 0), "same bits"),
    "evaluations that are no list": (_set("evaluations", {}), "evaluations"),
    "an evaluation that is no object": (_set("evaluations", 0, 7), r"evaluations\[0\]"),
    "parameters of more tasks": (_set("parameters", "trained", [1] * 11), "parameters.trained"),
    "parameters that are words": (_set("parameters", "total", ["many"]), "parameters.total"),
    "losses without iterations": (_set("learning", 0, "loss", [0.1]), "losses"),
    "gradients without records": (_set("gradients", 1, "iterations", [1]), r"gradients\[1\]"),
    "reuse without counts": (_set("reuse", 0, {"base": 1}), r"reuse\[0\]"),
    "a wording of no task": (_set("selection", 0, "task", 99), r"selection\[0\]"),
    "a film that is no path": (_set("films", {"hammer": 3}), "films"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_altered_run_is_refused_in_one_sentence(build: Build, tmp_path: Path, name: str):
    change, words = BROKEN[name]
    path = build(tmp_path, change=change)
    with pytest.raises(RunError, match=words) as refusal:
        read_run(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_same_bits_with_other_counts_is_refused(build: Build, tmp_path: Path):
    def lie(content: dict[str, Any]) -> None:
        entry = next(e for e in content["evaluations"] if "same_as" in e)
        entry["successes"] = (entry["successes"] + 1) % 20

    with pytest.raises(RunError, match="same bits"):
        read_run(build(tmp_path, change=lie))


def test_a_truncated_run_is_refused_wherever_it_is_cut(build: Build, tmp_path: Path):
    path = build(tmp_path, tasks=2)
    whole = path.read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(RunError, match="truncated or altered"):
            read_run(path)


def test_a_missing_run_is_told(tmp_path: Path):
    with pytest.raises(RunError, match="does not exist"):
        read_run(tmp_path / "run.json")


def test_json_that_is_no_run_is_told(tmp_path: Path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps([1, 2]), encoding="utf-8")
    with pytest.raises(RunError, match="schema"):
        read_run(path)
