"""RESULTS.md: made from the runs, the same each time, and stale as soon as it is not what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report.results import check_results, main, results, write_results
from skilltokens.types import RunError

Build = Callable[..., Path]


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    """results/ with one experiment of three seeds and one of a single seed."""
    for method in ("t2s", "sequential", "multitask"):
        for seed in range(3):
            build(tmp_path / "results" / "cw10" / f"{method}-{seed}", method, seed)
    build(tmp_path / "results" / "few" / "t2s-0", "t2s", tasks=2)
    return tmp_path / "results"


def test_results_hold_every_experiment_with_figures_intervals_and_commands(folder: Path):
    text = results(folder)
    assert "## cw10" in text
    assert "## few" in text
    assert "| t2s | 0, 1, 2 | 0.862 [0.800 to 0.923] |" in text
    assert "135 of 135" in text
    assert "skilltokens run metaworld-cw10 --methods t2s sequential multitask --seeds 0 1 2" in text
    assert "One seed only: t2s" in text
    assert "On 2 cores, Example CPU" in text
    assert "scripted demonstrations" in text


def test_results_are_the_same_each_time(folder: Path):
    assert results(folder) == results(folder)


def test_recorded_commands_are_shown_as_they_were(build: Build, tmp_path: Path):
    command = "skilltokens run demo --train.iterations 40"
    for seed in (0, 1):
        build(tmp_path / "x" / str(seed), seed=seed, change=lambda content: content.update(command=command))
    assert results(tmp_path).count(command) == 1


def test_a_note_beside_the_runs_stands_above_their_tables(folder: Path):
    (folder / "few" / "about.md").write_text("Two tasks, to see whether it works.\n", encoding="utf-8")
    assert "## few\n\nTwo tasks, to see whether it works.\n" in results(folder)


def test_check_passes_fresh_and_fails_stale_or_missing(folder: Path, build: Build, tmp_path: Path):
    out = write_results(folder, tmp_path / "RESULTS.md")
    check_results(folder, out)

    def luckier(content: dict[str, Any]) -> None:
        content["evaluations"][-1]["successes"] = 20

    build(folder / "cw10" / "sequential-0", "sequential", 0, change=luckier)
    with pytest.raises(RunError, match=r"RESULTS\.md is stale in line \d+"):
        check_results(folder, out)
    write_results(folder, out)
    check_results(folder, out)
    out.write_text(out.read_text(encoding="utf-8") + "| more | 1.0 |\n", encoding="utf-8")
    with pytest.raises(RunError, match="stale"):
        check_results(folder, out)
    out.unlink()
    with pytest.raises(RunError, match="could not be read"):
        check_results(folder, out)


def test_the_command_writes_checks_and_says_what_is_wrong(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--folder", str(folder), "--out", str(tmp_path / "RESULTS.md")]
    assert main([*words, "--check"]) == 2
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    assert "could not be read" in capsys.readouterr().err


def test_a_folder_without_runs_is_told(tmp_path: Path):
    with pytest.raises(RunError, match=r"no run\.json"):
        results(tmp_path)
