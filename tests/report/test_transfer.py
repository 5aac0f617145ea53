"""The page of the transfer matrices: from the files alone, the same each time, stale as soon as it is not theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from skilltokens.experiments.records import BaseLibrary, Demonstrations, Machine, TaskEntry
from skilltokens.experiments.transfer.record import RuleScores, TransferCell, TransferRecord, write_matrix
from skilltokens.report.results import check_results, texts_of, write_results
from skilltokens.report.transfer import heat_map, rows_of
from skilltokens.types import RunError

NAMES = ["hammer", "push-wall", "fau|cet", "shelf"]
EPISODES = 20


def matrix(points: int = 3, cells: int = 99, names: list[str] = NAMES) -> TransferRecord:
    """Four tasks; the second helps the first most, and everything hurts the last."""
    chance, count = np.random.default_rng(3), len(names)
    at = [i / (points - 1) for i in range(points)] if points > 1 else [1.0]

    def cell(start: int | None, task: int) -> TransferCell:
        good = [int(n) for n in chance.integers(4, 12, points)]
        good[-1] = 18 if (start, task) == (1, 0) else 2 if task == 3 and start is not None else 10
        letters = ["1" * n + "0" * (EPISODES - n) for n in good]
        return TransferCell(
            start=start, task=task, progress=at, successes=good, outcomes=letters, episodes=EPISODES, seconds=40.0
        )

    words = chance.random((count, count))
    words[1, 0] = 2.0
    pairs = [(start, task) for task in range(count) for start in (None, *range(count))]
    return TransferRecord(
        recipe="metaworld-few",
        command="skilltokens transfer metaworld-few",
        method="t2s",
        suite="metaworld",
        split="validation",
        seed=0,
        tasks=[TaskEntry(name, name) for name in names],
        base=BaseLibrary(skills=["a", "b", *names], parameters=9, fingerprints=["x"] * (count + 2)),
        demonstrations=Demonstrations("scripted", [5] * count, ["d"] * count),
        held_out=Demonstrations("scripted", [10] * count, ["e"] * count),
        cells=[cell(*pair) for pair in pairs][:cells],
        rules=[
            RuleScores(rule="instruction", scores=words.tolist()),
            RuleScores(rule="data", less_is_nearer=True, scores=words.tolist(), base=[1.0] * count),
        ],
        config={},
        versions={},
        commit="c" * 40,
        machine=Machine("Linux", "Example CPU", 2),
        started="2026-11-30T00:00:00+00:00",
        finished="2026-11-30T01:00:00+00:00" if cells >= len(pairs) else "",
    )


@pytest.fixture
def results(build: Callable[..., Path], tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    build(folder / "cw10" / "t2s-0", "t2s", 0)
    write_matrix(tmp_path, matrix())
    (folder / "transfer-matrix").mkdir()
    (tmp_path / "matrix.json").rename(folder / "transfer-matrix" / "t2s-seed0.json")
    return folder


def test_the_page_has_rules_pairs_starts_and_a_drawing(results: Path):
    files = texts_of(results)
    page = files[results / "transfer-matrix" / "README.md"]
    assert "## t2s-seed0" in page
    assert "each learned by t2s from the skill of each, on a base of 2 tasks, from 5 scripted demonstrations" in page
    assert "| 1 hammer | 0.500 | 0.900 push-wall | 0.900 push-wall |" in page
    assert r"3 fau\|cet" in page
    assert "On Linux, Example CPU, 2 cores, in 13.3 min. Commit cccccccccccc." in page
    assert "skilltokens transfer metaworld-few" in page
    drawing = files[results / "transfer-matrix" / "t2s-seed0.svg"]
    texts = [element.text for element in ElementTree.fromstring(drawing).iter() if element.tag.endswith("text")]
    assert texts.count("+40") >= 1
    assert texts.count("\N{MINUS SIGN}40") >= 4
    front = files[results.parent / "RESULTS.md"]
    assert "## Which skill helps which" in front
    assert "(results/transfer-matrix/README.md)" in front
    write_results(results)
    check_results(results)


def test_the_page_is_stale_as_soon_as_a_matrix_is_another_one_and_a_damaged_one_is_refused(results: Path):
    write_results(results)
    path = results / "transfer-matrix" / "t2s-seed0.json"
    (results / "transfer-matrix" / "about.md").write_text("What a neighbour gives.\n")
    with pytest.raises(RunError, match=r"transfer-matrix/README\.md is stale"):
        check_results(results)
    content: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"seed": 1}))
    with pytest.raises(RunError, match="altered"):
        texts_of(results)


def test_an_unfinished_matrix_and_one_without_curves_are_shown_as_far_as_they_go():
    assert rows_of(matrix(cells=7)) == []
    assert "·" in str(heat_map(matrix(cells=7)))
    assert [len(row) for row in rows_of(matrix(points=1))] == [5] * 3
    rows = rows_of(matrix())
    assert [row[0] for row in rows] == ["instruction", "data", "chance"]
    assert [len(row) for row in rows] == [8] * 3
    assert [row[-1] for row in rows] == ["4 of 4", "0 of 4", "\N{EN DASH}"]
