"""Runs whose old tasks were tested at the end alone: nothing on a page breaks, and nothing is claimed of between."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report.charts import seen
from skilltokens.report.page import matrix, render
from skilltokens.report.results import texts_of
from skilltokens.report.runs import read_run
from skilltokens.report.summary import compare, defined

Build = Callable[..., Path]


def at_the_end(content: dict[str, Any]) -> None:
    """Leaves of each lesson's tests those of its own task, and all after the last lesson."""
    kept, places, last = [], {}, len(content["tasks"]) - 1
    for place, entry in enumerate(content["evaluations"]):
        if entry["task"] == entry["after"] or entry["after"] == last:
            places[place] = len(kept)
            kept.append(entry)
    for entry in kept:
        if "same_as" in entry:
            entry["same_as"] = places[entry["same_as"]]
    content["evaluations"] = kept
    content["config"]["evaluate"]["old"] = "end"


def after_lessons(count: int) -> Callable[[dict[str, Any]], None]:
    """A run of so many lessons, old tasks not tested yet."""

    def change(content: dict[str, Any]) -> None:
        at_the_end(content)
        content["evaluations"] = [entry for entry in content["evaluations"] if entry["after"] < count]

    return change


def test_what_was_lost_by_the_end_stands_for_what_was_not_measured(build: Build, tmp_path: Path):
    runs = [read_run(build(tmp_path / str(seed), "sequential", seed, change=at_the_end)) for seed in (0, 1)]
    (comparison,) = compare(runs)
    (group,) = comparison.groups
    keys = [definition.key for definition in defined([group])]
    assert "lost" in keys
    assert not {"nbt", "auc", "forgotten"} & set(keys)
    figures = runs[0].figures
    assert figures is not None
    assert figures.learned_of is not None
    assert figures.lost == pytest.approx(float((figures.learned_of - figures.final_of)[:-1].mean()))
    page = render(runs)
    assert "Lost by the end" in page
    assert re.search(r"<b>sequential</b> loses \d+ points on average by the end\.", page)
    assert "NBT is exactly 0" not in page
    assert list(seen(group)) == [1, 10]
    assert 'class="gap"' in page
    rows = matrix(group)
    assert [sum(cell is not None and cell["value"] is not None for cell in row["cells"]) for row in rows] == [1] * 9 + [
        10
    ]
    assert page.count('class="untested"') == sum(range(9))


def test_beside_a_run_that_was_tested_after_each_lesson_both_figures_are_shown(build: Build, tmp_path: Path):
    runs = [
        read_run(build(tmp_path / "results" / "x" / "a", "t2s")),
        read_run(build(tmp_path / "results" / "x" / "b", "sequential", change=at_the_end)),
    ]
    groups = [group for comparison in compare(runs) for group in comparison.groups]
    keys = [definition.key for definition in defined(groups)]
    assert {"nbt", "lost", "auc"} <= set(keys)
    page = render(runs)
    assert "not tested in between" in page
    assert "t2s</b> forgets nothing: NBT is exactly 0" in page
    files = texts_of(tmp_path / "results")
    assert "Lost by the end" in files[tmp_path / "results" / "x" / "README.md"]
    front = files[tmp_path / "RESULTS.md"]
    assert "or what is lost by the end" in front
    row = next(line for line in front.splitlines() if line.startswith("| fine-tuning"))
    assert re.search(r"\| [1-9][\d.]*\N{NO-BREAK SPACE}% \| 100", row)


def test_a_method_that_loses_by_the_end_is_not_called_lossless(build: Build, tmp_path: Path):
    """Its later cells being of the same bits elsewhere must not hide it: without NBT there is no 0 to point at."""

    def worse(content: dict[str, Any]) -> None:
        at_the_end(content)
        for entry in content["evaluations"]:
            entry.pop("same_as", None)
        content["evaluations"][-2]["successes"] = 0

    build(tmp_path / "results" / "x" / "a", "t2s", change=worse)
    build(tmp_path / "results" / "x" / "b", "lora")
    assert "T2S and LoRA keep" not in texts_of(tmp_path / "results")[tmp_path / "RESULTS.md"]


def test_an_unfinished_one_says_how_far_it_is_and_what_its_figures_are_over(build: Build, tmp_path: Path):
    page = render([read_run(build(tmp_path, "sequential", learned=4, change=after_lessons(4)))])
    assert "sequential, seed 0, is not finished: 4 of 10 tasks learned; its figures are over the first" in page
