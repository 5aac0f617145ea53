"""RESULTS.md and what goes with it: made from the runs, the same each time, and stale as soon as it is not theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report.results import check_results, main, texts_of, write_results
from skilltokens.types import RunError

Build = Callable[..., Path]
SPACE = "\N{NO-BREAK SPACE}"


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    """results/ with one experiment of three seeds, one of a single seed and an ablation."""
    for method in ("t2s", "sequential", "multitask"):
        for seed in range(3):
            build(tmp_path / "results" / "cw10" / f"{method}-{seed}", method, seed)
    build(tmp_path / "results" / "few" / "t2s-0", "t2s", tasks=2)
    build(tmp_path / "results" / "a-start" / "t2s-0", "t2s", tasks=2)
    return tmp_path / "results"


def page(folder: Path, name: str) -> str:
    return texts_of(folder)[folder / name / "README.md"]


def front(folder: Path) -> str:
    return texts_of(folder)[folder.parent / "RESULTS.md"]


def test_a_page_holds_figures_intervals_and_commands(folder: Path):
    text = page(folder, "cw10")
    assert text.startswith("# cw10\n")
    assert f"| t2s | 0, 1, 2 | 0.862<br>[0.800{SPACE}to{SPACE}0.923] |" in text
    assert "135 of 135" in text
    assert "skilltokens run metaworld-cw10 --methods t2s sequential multitask --seeds 0 1 2" in text
    assert "On 2 cores, Example CPU" in text
    assert "scripted demonstrations" in text
    assert "One seed only: t2s" in page(folder, "few")


def test_the_front_page_has_every_experiment_and_ablations_last(folder: Path):
    text = front(folder)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Results",
        "## Methods by suites",
        "## Learning from demonstrations",
        "### cw10",
        "### few",
        "## Ablations",
        "### a-start",
    ]
    summary = text.partition("\n## ")[0]
    assert "| [cw10](#cw10) | 10 | 3 | T2S 0.862, fine-tuning" in summary
    assert "| [a-start](#a-start) | 2 | 1 |" in summary
    assert "(results/few/README.md)" in summary


def test_results_are_the_same_each_time(folder: Path):
    assert texts_of(folder) == texts_of(folder)


def test_recorded_commands_are_shown_as_they_were(build: Build, tmp_path: Path):
    command = "skilltokens run demo --train.iterations 40"
    for seed in (0, 1):
        build(tmp_path / "x" / str(seed), seed=seed, change=lambda content: content.update(command=command))
    assert page(tmp_path, "x").count(command) == 1


def test_a_note_beside_the_runs_stands_on_the_page_and_its_first_sentence_in_front(folder: Path):
    first = "As [cw10](../cw10/README.md), two tasks ([why](../../docs/why.md)), to see\nwhether .1 works."
    note = f"{first} More about it.\n\nAnd more.\n"
    (folder / "few" / "about.md").write_text(note, encoding="utf-8")
    assert f"\n{note}\n## Figures" in page(folder, "few")
    place = f"{folder.name}/cw10/README.md"
    sentence = f"As [cw10]({place}), two tasks ([why](docs/why.md)), to see whether .1 works."
    assert f"### few\n\n{sentence}\n\n|" in front(folder)


def test_check_passes_fresh_and_fails_stale_or_missing(folder: Path, build: Build):
    paths = write_results(folder)
    check_results(folder)

    def luckier(content: dict[str, Any]) -> None:
        content["evaluations"][-1]["successes"] = 20

    build(folder / "cw10" / "sequential-0", "sequential", 0, change=luckier)
    with pytest.raises(RunError, match=r"RESULTS\.md is stale in line \d+"):
        check_results(folder)
    assert write_results(folder) == paths
    check_results(folder)
    for path in paths:
        content = path.read_text(encoding="utf-8")
        path.write_text(content + "| more | 1.0 |\n", encoding="utf-8")
        with pytest.raises(RunError, match="stale in its length"):
            check_results(folder)
        path.unlink()
        with pytest.raises(RunError, match="could not be read"):
            check_results(folder)
        path.write_text(content, encoding="utf-8")
        check_results(folder)


def test_a_readme_beside_the_runs_is_filled_and_checked(folder: Path):
    readme = folder.parent / "README.md"
    readme.write_text("# Mine\n<!-- results:begin -->\n<!-- results:end -->\n", encoding="utf-8")
    write_results(folder)
    assert "| T2S | 86.2" in readme.read_text(encoding="utf-8")
    readme.write_text(readme.read_text(encoding="utf-8").replace("86.2", "99.2"), encoding="utf-8")
    with pytest.raises(RunError, match=r"README\.md is stale"):
        check_results(folder)


def test_the_command_writes_checks_and_says_what_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--folder", str(folder)]
    assert main([*words, "--check"]) == 2
    assert "could not be read" in capsys.readouterr().err
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    assert "RESULTS.md" in capsys.readouterr().out


def test_a_folder_without_runs_is_named(tmp_path: Path):
    with pytest.raises(RunError, match=r"no run\.json"):
        texts_of(tmp_path)
