"""Old tasks tested at the end alone; each episode's outcome; what a training step costs: all of it in run.json."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.lifelong.runs import Settings, contents, figures, rewrite

from skilltokens.experiments.costs import costs_of
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.methods import method_settings
from skilltokens.methods.er import ERSettings
from skilltokens.report import write_report
from skilltokens.report.runs import read_run
from skilltokens.types import Progress, RunError


def under(settings: Settings, method: str, old: str = "end", **changes: Any) -> Settings:
    chosen = method_settings(method)() if method != "t2s" else settings.method
    evaluate = dataclasses.replace(settings.evaluate, old=old)
    return dataclasses.replace(settings, method=chosen, evaluate=evaluate, **changes)


@pytest.fixture(scope="module")
def at_end(settings: Settings, place: Path) -> tuple[Path, LifelongRecord]:
    """Fine-tuning, whose old skills change, with old tasks tested at the end alone."""
    return place / "at-end", learn(under(settings, "sequential"), place / "at-end", recipe="small")


@pytest.fixture(scope="module")
def after_each(settings: Settings, place: Path) -> tuple[Path, LifelongRecord]:
    """The same, with old tasks tested after each lesson."""
    return place / "after-each", learn(under(settings, "sequential", "each"), place / "after-each", recipe="small")


def matrix(record: LifelongRecord) -> dict[tuple[int, int], Cell]:
    """(the last task taught before, the task) -> its cell with the lesson done."""
    return {(cell.after, cell.task): cell for cell in record.cells if cell.progress == 1.0}


Runs = tuple[Path, LifelongRecord]


def test_old_tasks_are_tested_after_the_last_lesson_alone(at_end: Runs, after_each: Runs):
    assert set(matrix(at_end[1])) == {(0, 0), (1, 1), (2, 0), (2, 1), (2, 2)}
    assert set(matrix(after_each[1])) == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}
    for place, cell in matrix(at_end[1]).items():  # what is tested has no part in what is learned
        other = matrix(after_each[1])[place]
        assert (cell.policy, cell.outcomes) == (other.policy, other.outcomes)
    curves = [[(c.task, c.progress, c.outcomes) for c in r.cells if c.progress < 1] for _, r in (at_end, after_each)]
    assert curves[0] == curves[1]


def test_what_was_lost_is_known_and_what_was_lost_on_the_way_is_not(at_end: Runs, after_each: Runs):
    end, each = read_run(at_end[0]).figures, read_run(after_each[0]).figures
    assert end is not None
    assert each is not None
    assert each.nbt is not None
    assert (end.nbt, end.auc, end.forgotten) == (None, None, None)
    assert (end.final, end.learned, end.fwt) == (each.final, each.learned, each.fwt)
    cells = matrix(at_end[1])
    by_hand = [(cells[task, task].successes - cells[2, task].successes) / 4 for task in range(2)]
    assert end.lost_of is not None
    assert end.lost_of.tolist() == by_hand
    assert end.lost == each.lost == pytest.approx(sum(by_hand) / 2)
    assert read_run(at_end[0]).finished


def test_a_report_shows_a_run_whose_old_tasks_were_tested_at_the_end(at_end: Runs, after_each: Runs, tmp_path: Path):
    page = write_report([at_end[0]], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "reach-blue" in page
    assert "nan" not in page.lower().replace("nano", "")


def test_a_run_that_is_interrupted_again_and_again_tests_the_same_and_ends_with_the_same_bits(
    at_end: Runs, settings: Settings, place: Path
):
    again = place / "at-end-cut"
    for lesson, stage in ((0, "evaluate"), (1, "train"), (1, "evaluate"), (2, "train"), (2, "evaluate")):
        news_of_it = itertools.count(1)

        def stop(news: Progress, lesson: int = lesson, stage: str = stage, count: Any = news_of_it) -> None:
            if (news.lesson, news.stage) == (lesson, stage) and next(count) == 2:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            learn(under(settings, "sequential"), again, stop, recipe="small")
        assert not read_lifelong(again).finished
    learn(under(settings, "sequential"), again, recipe="small")
    assert figures(again) == figures(at_end[0])
    assert contents(again / "library") == contents(at_end[0] / "library")


def test_skills_that_keep_their_bits_are_noted_each_time_and_never_rolled_out_again(settings: Settings, place: Path):
    record = learn(under(settings, "t2s"), place / "kept-end", recipe="small")
    cells = matrix(record)
    assert set(cells) == {(after, task) for after in range(3) for task in range(after + 1)}
    assert [place for place, cell in cells.items() if cell.same_as is None] == [(0, 0), (1, 1), (2, 2)]
    run = read_run(place / "kept-end").figures
    assert run is not None
    assert (run.nbt, run.lost) == (0.0, 0.0)


def test_several_tasks_together_are_all_tested_when_they_are_learned(settings: Settings, place: Path):
    chosen = under(settings, "sequential", protocol="B", first=2)
    record = learn(chosen, place / "b-end", recipe="small")
    assert set(matrix(record)) == {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}
    joint = learn(under(settings, "multitask"), place / "joint-end", recipe="small")
    assert set(matrix(joint)) == {(2, 0), (2, 1), (2, 2)}


@pytest.mark.parametrize("old", ["each", "end"])
@pytest.mark.parametrize("method", ["sequential", "t2s"])
def test_the_estimate_counts_the_cells_that_are_rolled_out(
    method: str, old: str, at_end: Runs, after_each: Runs, settings: Settings, place: Path
):
    folder = {"sequential end": "at-end", "sequential each": "after-each"}.get(f"{method} {old}", f"{method}-{old}")
    record = learn(under(settings, method, old), place / folder, recipe="small")
    tested = [cell for cell in record.cells if cell.same_as is None and cell.progress == 1.0]
    expected = costs_of(under(settings, method, old))
    assert [cost.final for cost in expected] == [sum(c.after == lesson for c in tested) for lesson in range(3)]


def test_the_outcomes_are_those_that_are_counted_and_those_of_fewer_states_come_first(
    after_each: Runs, settings: Settings, place: Path
):
    record = after_each[1]
    assert all(set(cell.outcomes) <= {"0", "1"} for cell in record.cells)
    assert all((cell.outcomes.count("1"), len(cell.outcomes)) == (cell.successes, 4) for cell in record.cells)
    chosen = under(settings, "sequential", "each", tasks=settings.tasks[:1])
    more = dataclasses.replace(chosen.evaluate, episodes=8, variants=("tests.toy:paraphrased",))
    longer = learn(dataclasses.replace(chosen, evaluate=more), place / "longer", recipe="small")
    for cell in longer.cells:
        first = next(c for c in record.cells if (c.after, c.progress, c.task) == (0, cell.progress, 0))
        assert cell.outcomes[:4] == first.outcomes
        assert cell.outcomes.count("1") == cell.successes
    (variant,) = longer.variants
    assert (variant.outcomes.count("1"), len(variant.outcomes)) == (variant.successes, variant.episodes)


@pytest.mark.parametrize("outcomes", ["1111", "0000", "01", "0101010", "01x1", 5])
def test_outcomes_that_are_not_those_counted_are_refused(outcomes: Any, after_each: Runs, tmp_path: Path):
    content = json.loads((after_each[0] / "run.json").read_text())
    number, cell = next((i, c) for i, c in enumerate(content["evaluations"]) if "same_as" not in c)
    if outcomes in ("1111", "0000") and cell["outcomes"] == outcomes:
        outcomes = "0111"
    (tmp_path / "run.json").write_bytes((after_each[0] / "run.json").read_bytes())
    content["evaluations"][number]["outcomes"] = outcomes
    rewrite(tmp_path, evaluations=content["evaluations"])
    with pytest.raises(RunError, match="is truncated or altered"):
        read_lifelong(tmp_path)
    del content["evaluations"][number]["outcomes"]  # as in a file of before
    rewrite(tmp_path, evaluations=content["evaluations"])
    assert read_lifelong(tmp_path).cells[number].outcomes == ""


def test_a_rule_that_costs_more_than_one_pass_of_a_batch_says_so(after_each: Runs, settings: Settings, place: Path):
    assert after_each[1].passes == []
    assert "passes" not in json.loads((after_each[0] / "run.json").read_text())
    chosen = dataclasses.replace(settings, method=ERSettings(windows=4), tasks=settings.tasks[:2])
    assert learn(chosen, place / "replayed", recipe="small").passes == [1.0, 2.0]
