"""Experiments with many methods in RESULTS.md, on their own pages, on that of the tournament and in README.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.report.comparison.conftest import LEVELS, level, put

from skilltokens.report.results import texts_of

Build = Callable[..., Path]
README = "# Mine\n<!-- results:begin -->\n<!-- results:end -->\n<!-- methods:begin -->\n<!-- methods:end -->\n"
FEW = "<!-- finding:begin -->\n<!-- finding:end -->\n<!-- few:begin -->\n<!-- few:end -->\n"


@pytest.fixture(scope="module")
def files(build_once: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is made of the tournament's runs, a small experiment, and a README.md beside them."""
    root = tmp_path_factory.mktemp("contests")
    for method in LEVELS:
        put(build_once, root / "results" / "metaworld-cw10-methods", method, 0)
    build_once(root / "results" / "few" / "t2s-0", "t2s", tasks=2)
    (root / "README.md").write_text(README)
    return {str(path.relative_to(root)): text for path, text in texts_of(root / "results").items()}


def test_many_methods_stand_in_order_of_success_with_their_drawings(files: dict[str, str]):
    front = files["RESULTS.md"]
    section = front.partition("### metaworld-cw10-methods")[2]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0][2:] for row in rows[2:5]] == ["LoRA", "T2S", "PackNet"]
    assert "**LoRA** has the highest final success" in section
    assert "(results/metaworld-cw10-methods/comparison.svg)" in section
    page = files["results/metaworld-cw10-methods/README.md"]
    assert "(comparison.svg)" in page
    assert "### Each pair" in page
    drawing = files["results/metaworld-cw10-methods/comparison.svg"]
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert "prefers-color-scheme" in drawing


def test_the_tournament_has_a_page_and_a_part_of_readme(files: dict[str, str]):
    page = files["docs/tournament.md"]
    assert page.startswith("# The tournament\n")
    assert "skilltokens compare --check all.json" in page
    assert "- **demonstrations**: 30 scripted a task" in page
    assert "(../results/metaworld-cw10-methods/comparison.svg)" in page
    readme = files["README.md"]
    assert "| replay (ER) | 1 |" in readme


def test_without_the_tournament_nothing_is_made_of_it(build: Build, tmp_path: Path):
    build(tmp_path / "results" / "few" / "t2s-0", "t2s", tasks=2)
    (tmp_path / "README.md").write_text(README)
    files = {str(path.relative_to(tmp_path)): text for path, text in texts_of(tmp_path / "results").items()}
    assert not {"docs/tournament.md", "results/few/comparison.svg"} & set(files)
    assert "<!-- methods:begin -->\n\n<!-- methods:end -->" in files["README.md"]


def taught(method: str, count: int, success: str) -> Callable[[dict[str, Any]], None]:
    """A run of a method from so many demonstrations, that succeeds as often as `success` does."""

    def change(run: dict[str, Any]) -> None:
        level(success)(run)
        run["method"] = method
        run["demonstrations"] |= {"episodes": [count] * len(run["tasks"]), "digest": f"{count:02d}" * 32}

    return change


def test_numbers_of_demonstrations_are_told_apart_and_drawn_with_those_of_the_experiment_beside(
    build: Build, tmp_path: Path
):
    for name, counts in (("metaworld-few-demonstrations", (1, 20)), ("metaworld-few", (5,))):
        for count in counts:
            for method in ("t2s", "lora"):
                change = taught(method, count, "ewc" if (method, count) == ("t2s", 1) else method)
                put(build, tmp_path / "results" / name / str(count), method, 0, tasks=3, change=change)
    folder = tmp_path / "results"
    (tmp_path / "README.md").write_text(README + FEW)
    for run in list(folder.glob("*/*/*")):
        run.rename(run.parent.parent / f"{run.parent.name}-{run.name}")
    files = {str(path.relative_to(tmp_path)): text for path, text in texts_of(folder).items()}
    front = files["RESULTS.md"]
    assert "| 3, 1 demonstrations |" in front
    assert "**20 scripted a task, protocol A**" in front
    drawing = files["results/metaworld-few-demonstrations/comparison.svg"]
    assert all(f">{count}</text>" in drawing for count in ("1", "5", "20"))
    assert "results/metaworld-few/comparison.svg" not in files
    heads = [line for line in front.splitlines() if line.startswith("| final success from")]
    assert heads == ["| final success from | 1 demonstration | 5 demonstrations | 20 demonstrations |"]
    finding = files["README.md"].partition("With fewer demonstrations")[2]
    assert "**LoRA is ahead of T2S** from 1 (0.983 to 0.283); they can't be told apart from 5 (" in finding
    assert files["README.md"].count("| final success from") == 1


def test_what_seeds_may_not_bear_out_is_not_said_to_lead(tmp_path: Path, build: Callable[..., Path]):
    folder = tmp_path / "results"
    for seed, t2s in enumerate(("ewc", "t2s")):
        for method, success in (("t2s", t2s), ("lora", "lora")):
            for count in (1, 20):
                place = folder / "metaworld-few-demonstrations" / f"{method}-{count}-{seed}"
                build(place, method, seed, tasks=3, change=taught(method, count, success))
    (tmp_path / "README.md").write_text(README + FEW)
    finding = {str(p.relative_to(tmp_path)): t for p, t in texts_of(folder).items()}["README.md"]
    assert "LoRA's runs do better than T2S's, which seeds differ too much to say of others, from 1 (" in finding
    assert "is ahead of" not in finding
