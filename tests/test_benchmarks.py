"""The benchmarks run, and their references are what they say. Nothing here depends on how fast anything is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.kept import FILE, PAGE, keep, kept_in
from benchmarks.timing import Effort, Row, row, take_turns

from skilltokens.demos import DemonstrationStore
from skilltokens.grow import learn_skill
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.types import RunError

ROOT = Path(__file__).parents[1]


def ticking(step: float = 1.0):
    """A clock that only moves when told to, and two sides of work that move it."""
    now = [0.0]

    def work(seconds: float):
        def side() -> None:
            now[0] += seconds

        return side

    return work, lambda: now[0]


def test_a_ratio_is_that_of_the_work_however_many_calls_fill_a_turn():
    work, clock = ticking()
    times = take_turns({"ours": work(0.5), "theirs": work(0.125)}, Effort(rounds=3, seconds=1.0), clock)
    result = row("x", times, "ours", "theirs", "")
    assert (result.ratio, result.low, result.high, result.least) == (4, 4, 4, 4)
    assert (result.ours_s, result.reference_s, result.rounds) == (0.5, 0.125, 3)


def test_units_of_work_are_divided_out():
    work, clock = ticking()
    times = take_turns({"ours": work(0.5), "theirs": work(1.0)}, Effort(rounds=2, seconds=1.0), clock)
    assert row("x", times, "ours", "theirs", "", units=(1, 10)).ratio == 5


def measured(processor: str = "A CPU", load: float = 1.0) -> dict[str, Any]:
    """What a run of the benchmarks writes, but for its rows."""
    machine: dict[str, Any] = {
        "processor": processor,
        "vectors": "AVX2",
        "cores": 2,
        "threads": 1,
        "load": load,
        "commit": "c" * 40,
    }
    return {
        "machine": {**machine, "versions": {"python": "3.11", "torch": "2"}},
        "finished": "2026-12-01T00:00:00",
        "load_after": 2.0,
    }


def rows_of(*ratios: float) -> list[Row]:
    return [Row("x", f"ours {n}", "theirs", r, r - 0.1, r + 0.1, r, 0.002, 0.001, 9, "1") for n, r in enumerate(ratios)]


def test_what_is_slower_than_on_the_same_machine_before_is_named_and_replaces_it(tmp_path: Path):
    assert keep(tmp_path, measured(), rows_of(1.0, 2.0), "first") == []
    assert keep(tmp_path, measured(), rows_of(1.15, 2.5), "second")[0].startswith(
        "x: ours 1 takes 2.5 times theirs (2.4 to 2.6)"
    )
    assert keep(tmp_path, measured(), rows_of(1.15, 2.5), "third") == []
    assert keep(tmp_path, measured("Another CPU"), rows_of(9.0, 9.0), "elsewhere") == []
    page = (tmp_path / PAGE).read_text()
    assert page.count("## ") == 2
    assert "| x | ours 1 | theirs | 2.5 | 2.4 to 2.6 | 1 | 2 ms | 1.0 to 2.0 | 2026-12-01 | cccccccc |" in page
    assert "first" not in page


def test_rows_of_benchmarks_that_were_not_measured_stay(tmp_path: Path):
    keep(tmp_path, measured(), rows_of(1.0), "all")
    keep(tmp_path, measured(), [dataclasses.replace(rows_of(3.0)[0], benchmark="y")], "some")
    ((_, rows),) = kept_in(tmp_path).items()
    assert [(row["benchmark"], row["ratio"]) for row in rows] == [("x", 1.0), ("y", 3.0)]


def test_kept_rows_that_are_damaged_are_refused_and_left(tmp_path: Path):
    (tmp_path / FILE).write_text('{"schema": "skilltokens.benchmarks-kept/1"}')
    with pytest.raises(RunError, match=r"kept\.json is damaged"):
        keep(tmp_path, measured(), rows_of(1.0), "all")
    assert (tmp_path / FILE).read_text() == '{"schema": "skilltokens.benchmarks-kept/1"}'


@pytest.mark.parametrize("kind", ["T2S skill", "T2S base", "linear"])
def test_products_of_a_step_are_those_that_torch_counts(tmp_path: Path, kind: str):
    import torch
    from benchmarks import products
    from benchmarks.setting import embedding, make_store, make_training
    from torch.utils.flop_counter import FlopCounterMode

    from skilltokens.settings import TrainSettings

    policy = make_training(kind, make_store(tmp_path / "store", 1), TrainSettings()).policy
    batch, steps = 3, 5
    seen = {name: torch.zeros(batch, steps, len(scale.unit)) for name, scale in policy.shape.scales.items()}
    words = torch.from_numpy(embedding(0)).expand(batch, -1)
    with FlopCounterMode(display=False) as counter:
        loss = policy.loss(seen, words, torch.zeros(batch, steps, 4), torch.ones(batch, steps, dtype=torch.bool))
        loss.backward()
    counted = counter.get_flop_counts()["Global"]
    needed = products.of_training(policy, batch, steps)
    maps = sum(product.operations for product in needed if product.part == "map")
    assert maps == sum(n for op, n in counted.items() if str(op) in ("aten.mm", "aten.addmm"))


def test_experts_are_measured_on_test_states_only_where_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from benchmarks import libero_experts

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(libero_experts, "row", lambda *words: asked.append(words) or 0)
    assert libero_experts.main(["--tasks", "0"]) == 0
    assert libero_experts.main(["--tasks", "0", "--split", "test"]) == 0
    assert [words[2:4] for words in asked] == [("validation", 30), ("test", 20)]
    assert libero_experts.main(["--split", "test", "--episodes", "21"]) == 2
    assert "20 different episodes of the split 'test'" in capsys.readouterr().err


@pytest.mark.slow
def test_every_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import torch
    from benchmarks.__main__ import BENCHMARKS, main

    threads = torch.get_num_threads()
    try:
        assert main(["--quick", "--out", str(tmp_path / "speed.json")]) == 0
    finally:
        torch.set_num_threads(threads)
    results = json.loads((tmp_path / "speed.json").read_text())
    assert {entry["benchmark"] for entry in results["rows"]} == set(BENCHMARKS)
    assert all(entry["ratio"] > 0 for entry in results["rows"])
    assert not results["failed"]
    assert results["machine"]["processor"] in capsys.readouterr().out


def test_the_page_says_what_was_counted_of_acting_ahead(capsys: pytest.CaptureFixture[str]):
    from benchmarks import chunks

    files = [ROOT / "results" / "chunks" / f"{suite}.json" for suite in ("metaworld", "libero-goal")]
    assert chunks.main(["--show", *map(str, files)]) == 0
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert f"<!-- chunks:begin -->\n{capsys.readouterr().out}<!-- chunks:end -->" in page


def test_acting_ahead_is_counted_and_goes_on_where_it_was_stopped(
    toy_stores: list[DemonstrationStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from benchmarks import chunks

    library = tmp_path / "library"
    train = TrainSettings(first_iterations=2, batch=2)
    learn_skill(library, toy_stores[0], train=train, policy=PolicySettings(width=16, layers=1, chunk=3))
    words = ["--suite", "tests.toy:Toy", "--libraries", str(library), "--episodes", "3", "--quick"]
    words += ["--out", str(tmp_path / "chunks.json")]
    assert chunks.main([*words, "--ahead", "1"]) == 0
    assert chunks.main([*words, "--ahead", "1", "3", "9"]) == 0
    content = json.loads((tmp_path / "chunks.json").read_text())
    assert [row["ahead"] for row in content["rows"]] == [1, 3]
    for measured in content["rows"]:
        (counts,) = measured["tasks"].values()
        assert counts["episodes"] == 3
        assert counts["steps"] > 0
        assert counts["roughness"] >= 0
        assert measured["microseconds"] > 0
    assert "| toy | 3 | 3 | " in capsys.readouterr().out


def test_the_table_of_docs_serving_is_that_of_its_figures():
    from benchmarks.serving import Load, table

    root = Path(__file__).parents[1]
    loads = [Load(**one) for one in json.loads((root / "results" / "serving" / "load.json").read_text())["loads"]]
    assert table(loads) in (root / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_server_under_load_answers_every_request():
    from benchmarks.serving import CLIENTS, measure

    loads = measure(steps=400, limit=60.0)
    assert [one.clients for one in loads] == list(CLIENTS)
    assert all(one.requests and one.median_ms <= one.p99_ms <= one.p999_ms <= one.most_ms for one in loads)
