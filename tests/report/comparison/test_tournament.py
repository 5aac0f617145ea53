"""A comparison as one file: it gives the same figures back, others enter it, and whatever is wrong with it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.files import sealed
from skilltokens.report.comparison.entries import read_entries
from skilltokens.report.comparison.figures import differences, figures_of
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.comparison.tournament import check_tournament, read_tournament, write_tournament
from skilltokens.report.runs import read_run
from skilltokens.types import RunError

Build = Callable[..., Path]
METHODS = ("t2s", "lora", "sequential", "multitask")


@pytest.fixture
def written(build: Build, tmp_path: Path) -> Path:
    """A comparison of four methods with two seeds."""
    runs = [read_run(build(tmp_path / f"{m}-{s}", m, s, tasks=4, points=3)) for m in METHODS for s in (0, 1)]
    write_tournament(runs, tmp_path / "all.json")
    return tmp_path / "all.json"


def _changed(path: Path, change: Callable[[dict[str, Any]], object], mended: bool = True) -> list[str]:
    """The faults of a copy with a change, whose digests are right again or not."""
    content = json.loads(path.read_text())
    change(content)
    if mended:
        content["runs"] = [sealed(entry) for entry in content["runs"]]
        content = sealed(content)
    copy = path.with_name("copy.json")
    copy.write_text(json.dumps(content))
    return check_tournament(copy)


def _cells(content: dict[str, Any], run: int = 0) -> list[dict[str, Any]]:
    return content["runs"][run]["record"]["evaluations"]


def test_a_comparison_gives_the_same_figures_back(written: Path):
    content = json.loads(written.read_text())
    again = figures_of(compare_runs(read_tournament(written)))
    assert not list(differences(content["tables"], json.loads(json.dumps(again))))
    assert check_tournament(written) == []
    labels = [contender["label"] for contender in content["tables"][0]["contenders"]]
    assert labels == ["t2s", "sequential", "lora", "multitask"]
    assert not {"gradients", "learning", "films"} & set(content["runs"][0]["record"])


def test_others_enter_by_adding_their_runs(written: Path, build: Build, tmp_path: Path):
    build(tmp_path / "mine", "single_task", 0, tasks=4, points=3)
    runs = read_entries([str(written), str(tmp_path / "mine")])
    write_tournament(runs, written)
    assert check_tournament(written) == []
    assert len(read_tournament(written)) == 9
    assert {run.method for run in read_tournament(written)} == {*METHODS, "single_task"}
    with pytest.raises(RunError, match="are the same method, configuration and seed"):
        compare_runs(read_entries([str(written), str(tmp_path / "t2s-0")]))


def test_results_of_others_are_kept_as_they_were_read(tmp_path: Path):
    for name, good in (("er", 3), ("ewc", 4)):
        (tmp_path / f"{name}.csv").write_text(f"task,successes,episodes,outcomes\npush,{good},4,{'1' * good:0<4}\n")
    runs = read_entries([f"{tmp_path}/er.csv", f"{tmp_path}/ewc.csv:suite=metaworld"])
    write_tournament(runs, tmp_path / "all.json", assume_equal=True)
    assert check_tournament(tmp_path / "all.json") == []
    assert [run.record for run in read_tournament(tmp_path / "all.json")] == [run.record for run in runs]


def test_what_cannot_be_compared_is_not_written(build: Build, tmp_path: Path):
    runs = [read_run(build(tmp_path / str(n), m, tasks=n)) for n, m in ((3, "t2s"), (4, "lora"))]
    with pytest.raises(RunError, match="nothing here can be compared"):
        write_tournament(runs, tmp_path / "all.json")
    assert not (tmp_path / "all.json").exists()


# ---------------------------------------------------------------- what --check finds


def test_a_broken_digest_is_found_and_the_file_is_no_entry(written: Path):
    def meddle(content: dict[str, Any]) -> None:
        content["runs"][0]["record"]["commit"] = "other"

    faults = _changed(written, meddle, mended=False)
    assert faults == [
        "the digest of the file is not that of its content",
        f"{written.with_name('copy.json')}/t2s-0/run.json: its digest is not that of its content",
    ]
    with pytest.raises(RunError, match="truncated or altered"):
        read_tournament(written.with_name("copy.json"))


def test_a_count_that_was_raised_shows_in_every_figure_that_hangs_on_it(written: Path):
    def cheat(content: dict[str, Any]) -> None:
        cells = [cell for cell in _cells(content, 4) if (cell["after"], cell["progress"]) == (3, 1.0)]
        for cell in cells:
            cell["successes"] = cell["episodes"]

    faults = _changed(written, cheat)
    assert any("tables[0].contenders[sequential].figures.final.value is" in fault for fault in faults)
    assert any("tables[0].pairs[t2s against sequential].p is" in fault for fault in faults)
    assert not any("digest" in fault for fault in faults)


def test_a_figure_that_was_raised_is_found_alone(written: Path):
    def boast(content: dict[str, Any]) -> None:
        content["tables"][0]["contenders"][0]["figures"]["final"]["value"] += 1e-4

    (fault,) = _changed(written, boast)
    assert fault.startswith("tables[0].contenders[t2s].figures.final.value is 0.")


def test_rounding_of_other_versions_is_no_fault(written: Path):
    def round_off(content: dict[str, Any]) -> None:
        content["tables"][0]["pairs"][0]["p"] *= 1 + 1e-9

    assert _changed(written, round_off) == []


def test_missing_cells_are_found_in_the_matrix_and_the_curves(written: Path):
    def forget(content: dict[str, Any]) -> None:
        content["runs"][4]["record"]["evaluations"] = [
            cell
            for cell in _cells(content, 4)
            if (cell["after"], cell["task"], cell["progress"]) not in ((2, 0, 1.0), (1, 1, 0.5))
        ]

    faults = _changed(written, forget)
    assert any("sequential-0/run.json: 1 cells are missing (hammer after lesson 3)" in fault for fault in faults)
    assert any("the learning curve of push-wall has not 3 points" in fault for fault in faults)


def test_old_tasks_that_were_to_be_tested_at_the_end_alone_are_not_missing(build: Build, tmp_path: Path):
    def ending(content: dict[str, Any]) -> None:
        content["config"]["evaluate"]["old"] = "end"
        content["evaluations"] = [
            cell for cell in content["evaluations"] if cell["after"] in (3, cell["task"]) or cell["progress"] < 1
        ]

    runs = [read_run(build(tmp_path / "sequential", "sequential", tasks=4, change=ending))]
    write_tournament(runs, tmp_path / "all.json")
    assert check_tournament(tmp_path / "all.json") == []


def test_an_unfinished_run_is_a_fault(build: Build, tmp_path: Path):
    runs = [read_run(build(tmp_path / "t2s", tasks=4)), read_run(build(tmp_path / "lora", "lora", tasks=4, learned=2))]
    write_tournament(runs, tmp_path / "all.json")
    (fault,) = check_tournament(tmp_path / "all.json")
    assert fault.endswith("lora/run.json: only 2 of its 4 lessons are tested")


def test_cells_that_claim_the_same_bits_must_have_the_same_policy(written: Path):
    def claim(content: dict[str, Any]) -> None:
        for number, cell in enumerate(_cells(content)):
            cell["policy"] = "ab" if number % 2 else "cd"

    assert any("their policies' digests differ" in fault for fault in _changed(written, claim))


def test_a_run_that_cannot_be_read_stops_the_figures_and_not_the_check(written: Path):
    def ruin(content: dict[str, Any]) -> None:
        _cells(content, 1)[0]["successes"] = -1
        content["runs"][2] = 7
        del content["runs"][3]["record"]["schema"]

    faults = _changed(written, ruin, mended=False)
    parts = ("digest of the file", "counts -1", "no run that", "no run that", "before every run can be read")
    assert all(part in fault for part, fault in zip(parts, faults, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("runs"),
        lambda content: content.update(runs=[]),
        lambda content: content.update(tables=None),
        lambda content: content.update(tables=[{}]),
        lambda content: content.update(assume_equal="yes", runs=content["runs"] * 2),
    ],
)
def test_whatever_is_missing_is_a_fault_and_no_traceback(change: Callable[[dict[str, Any]], object], written: Path):
    assert _changed(written, change, mended=False)


def test_other_files_are_refused(build: Build, tmp_path: Path):
    with pytest.raises(RunError, match="has schema"):
        check_tournament(build(tmp_path / "t2s"))
    with pytest.raises(RunError, match="does not exist"):
        check_tournament(tmp_path / "nothing.json")
