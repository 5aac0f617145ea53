"""The parts of README.md that are made from the runs, and its pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report.finding import sentences, suites_table
from skilltokens.report.pictures import FORGETTING, REWARD, pictures
from skilltokens.report.published import main_comparisons, read_published
from skilltokens.report.readme import block, filled
from skilltokens.types import RunError

Build = Callable[..., Path]
PUBLISHED = Path(__file__).parents[2] / "results"
README = "# A title\n\n<!-- results:begin -->\nstale figures\n<!-- results:end -->\n\nmore\n"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published runs are not here")


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    """results/ with two of the main comparisons, the first of three seeds, and one experiment that is none of them."""
    for method in ("t2s", "sequential", "lora", "multitask"):
        for seed in range(3):
            build(tmp_path / "results" / "metaworld-cw10" / f"{method}-{seed}", method, seed)
        build(tmp_path / "results" / "libero-goal" / f"{method}-0", method, 0, tasks=4)
    build(tmp_path / "results" / "another" / "t2s-0", "t2s", tasks=2)
    return tmp_path / "results"


def test_the_table_shows_methods_by_suites_in_their_order(folder: Path):
    lines = suites_table(main_comparisons(read_published(folder))).splitlines()
    assert lines[0].startswith(
        "| success in % | [Meta-World CW10](results/metaworld-cw10/README.md) "
        "| [LIBERO-Goal](results/libero-goal/README.md) | forgotten |"
    )
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| T2S",
        "| LoRA",
        "| fine-tuning",
        "| all tasks at once",
        "| T2S less LoRA",
    ]
    assert "| 86.2<br><sub>80.0\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}92.3</sub> |" in lines[2]
    assert lines[2].endswith("| 0 | 7.7\N{NO-BREAK SPACE}% | 1.2 to 1.7 |")
    shown = block(read_published(folder), {}, "results")
    assert "another" not in shown
    assert "Success over all 4 or 10 tasks" in shown
    assert "There are 3 seeds of T2S, LoRA, fine-tuning and all tasks at once on Meta-World CW10, and one of" in shown


def test_the_finding_names_who_keeps_and_who_forgets(folder: Path):
    words = sentences(main_comparisons(read_published(folder)))
    assert words.startswith("**T2S and LoRA keep every skill to the bit**")
    assert "**Fine-tuning forgets**" in words


def test_a_method_that_lost_a_skill_is_not_said_to_keep_it(folder: Path, build: Build):
    def loses(content: dict[str, Any]) -> None:
        last = content["evaluations"][-1]
        last["successes"] -= 1
        last.pop("same_as", None)

    build(folder / "metaworld-cw10" / "t2s-0", "t2s", 0, change=loses)
    words = sentences(main_comparisons(read_published(folder)))
    assert words.startswith("**LoRA keeps every skill to the bit**")
    assert "apart" not in words


def test_a_difference_that_is_sure_is_said(folder: Path, build: Build):
    def fails(content: dict[str, Any]) -> None:
        for entry in content["evaluations"]:
            entry["successes"] = min(entry["successes"], 3)

    for seed in range(3):
        build(folder / "metaworld-cw10" / f"lora-{seed}", "lora", seed, change=fails)
    words = sentences(main_comparisons(read_published(folder)))
    assert "**These runs tell them apart** on Meta-World CW10." in words


def test_the_first_comparison_stands_in_for_missing_main_ones(build: Build, tmp_path: Path):
    build(tmp_path / "results" / "another" / "t2s-0", "t2s", tasks=2)
    assert "[another](results/another/README.md)" in block(read_published(tmp_path / "results"), {}, "results")


def test_filling_changes_the_parts_alone_and_is_idempotent(folder: Path):
    published = read_published(folder)
    text = filled(published, {}, README)
    assert text.startswith("# A title\n\n<!-- results:begin -->\n| success in %")
    assert text.endswith("<!-- results:end -->\n\nmore\n")
    assert "stale" not in text
    assert filled(published, {}, text) == text


@pytest.mark.parametrize(
    ("readme", "words"),
    [
        ("no markers", "has no <!-- results:begin -->"),
        ("<!-- results:begin -->\nfigures\n", "<!-- results:begin --> without <!-- results:end -->"),
        (f"{README}<!-- reward:begin -->\n<!-- reward:end -->", "no run of task-tokens-walker2d"),
    ],
)
def test_what_is_missing_is_named(folder: Path, readme: str, words: str):
    with pytest.raises(RunError, match=words):
        filled(read_published(folder), {}, readme)


def test_the_picture_has_a_panel_a_suite_and_its_own_colours(folder: Path):
    drawings = pictures(read_published(folder))
    assert list(drawings) == [FORGETTING]
    root = ET.fromstring(drawings[FORGETTING])
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"T2S", "LoRA", "fine-tuning", "Meta-World CW10", "LIBERO-Goal"} <= set(words)
    assert "all tasks at once" not in words
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert style.text is not None
    assert "prefers-color-scheme:dark" in style.text
    assert "var(" not in style.text


def test_a_picture_follows_its_runs(folder: Path, build: Build):
    before = pictures(read_published(folder))[FORGETTING]
    assert pictures(read_published(folder))[FORGETTING] == before

    def luckier(content: dict[str, Any]) -> None:
        content["evaluations"][-1]["successes"] = 20

    build(folder / "metaworld-cw10" / "sequential-0", "sequential", 0, change=luckier)
    assert pictures(read_published(folder))[FORGETTING] != before


@needs_published
def test_learning_from_reward_has_its_picture_and_its_steps():
    published = read_published(PUBLISHED)
    assert "\n- token beside the command (`token-goal`, 5 seeds," in block(published, {}, "reward")
    words = [element.text for element in ET.fromstring(pictures(published)[REWARD]).iter()]
    assert {"direction", "reach", "jump", "strike", "PPO from scratch"} <= set(words)
