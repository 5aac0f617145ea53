"""Who is marked as best: honest where nothing tells a method from the best, and no method by its name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from markupsafe import Markup
from tests.report.comparison.conftest import put

from skilltokens.report.comparison.findings import findings
from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.comparison.sheets import pairs, standing, tasks
from skilltokens.report.comparison.standing import leaders, pair_of, ranked
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.runs import read_run

Build = Callable[..., Path]


def test_the_highest_success_stands_first_and_marks_to_measure_by_stand_last(many: Comparisons):
    labels = [one.label for one in ranked(many.tables[0])]
    assert labels == ["lora", "t2s", "packnet", "psec", "er", "ewc", "l2", "sequential", "multitask"]


def test_what_cannot_be_told_from_the_best_is_marked_with_it_and_what_can_is_not(many: Comparisons):
    table = many.tables[0]
    top = leaders(table)
    assert {"lora", "t2s", "packnet"} <= top
    assert not {"er", "ewc", "l2", "sequential", "multitask"} & top
    best = ranked(table)[0]
    for one in table.contenders:
        pair = pair_of(table, best, one)
        if one.label in top and pair is not None:
            assert pair.verdict not in ("ahead", "behind")


def test_without_a_common_seed_intervals_must_lie_apart(build: Build, tmp_path: Path):
    files = [put(build, tmp_path, method, seed) for method, seed in (("lora", 0), ("t2s", 1), ("ewc", 2))]
    (table,) = compare_runs([read_run(file) for file in files]).tables
    assert not table.pairs
    assert leaders(table) == {"lora", "t2s"}


def test_an_unfinished_method_is_no_leader_and_stands_behind_the_finished(build: Build, tmp_path: Path):
    runs = [read_run(put(build, tmp_path, "ewc", 0)), read_run(put(build, tmp_path, "sequential", 0))]
    runs.append(read_run(put(build, tmp_path, "lora", 0, learned=3)))
    (table,) = compare_runs(runs).tables
    assert [one.label for one in ranked(table)] == ["ewc", "sequential", "lora"]
    assert "lora" not in leaders(table)
    assert "LoRA (unfinished: 3 learned)" in [row[0].words for row in standing(table).rows]


def test_the_table_has_figures_costs_and_data_of_each_method(many: Comparisons):
    sheet = standing(many.tables[0])
    keys = [column.key for column in sheet.columns]
    assert {"final", "fwt", "nbt", "trained", "stored", "data", "passes", "stored_mb"} <= set(keys)
    rows = {row[0].code: dict(zip(keys, row, strict=True)) for row in sheet.rows}
    assert (rows["er"]["method"].words, rows["er"]["data"].value, rows["er"]["passes"].value) == (
        "replay (ER)",
        12.0,
        2.0,
    )
    assert (rows["lora"]["data"].value, rows["lora"]["passes"].value) == (0.0, 1.0)
    assert rows["lora"]["final"].best
    assert not rows["sequential"]["final"].best
    assert rows["t2s"]["stored_mb"].value == pytest.approx((rows["t2s"]["stored"].value or 0) * 4 / 1e6)
    assert "all tasks at once: no rival but a mark to measure by" in sheet.note


def test_every_pair_has_its_tests_and_says_who_is_ahead(many: Comparisons):
    table = many.tables[0]
    sheet = pairs(table)
    assert len(sheet.rows) == len(table.pairs) == 9 * 8 / 2
    words = {(row[0].code, row[1].code): row[-1].words for row in sheet.rows}
    assert words["t2s", "sequential"] == "ahead"
    assert words["t2s", "packnet"] == "not told apart"
    sizes = [abs(row[3].value or 0.0) for row in sheet.rows]
    assert sizes == sorted(sizes, reverse=True)


def test_tasks_pool_the_seeds(many: Comparisons):
    sheet = tasks(many.tables[0])
    first = dict(zip([column.key for column in sheet.columns], sheet.rows[0], strict=True))
    assert first["lora"].value == pytest.approx((20 + 19) / 40)
    assert first["lora"].interval is not None
    assert len(sheet.rows) == 6


def test_the_findings_name_the_best_its_equals_and_its_lead(many: Comparisons):
    table = many.tables[0]
    words = " ".join(findings(table, lambda one: Markup(f"<{one.label}>")))  # a test's own mark
    assert words.startswith("<lora> has the highest final success, 0.975.")
    assert re.search(r"<t2s>.* cannot be told from it by these runs\.", words)
    assert re.search(r"It leads <(er|psec)> by 0\.\d+ \[.*\] over (1 seed|2 seeds)\.", words)
    alone = dataclasses.replace(table, contenders=(), pairs=())
    assert findings(alone, lambda one: Markup("")) == ["No method is finished yet."]
