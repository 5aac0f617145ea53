"""The results block of README.md is copied from RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from skilltokens.report.readme import BEGIN, END, block, check_readme, fill_readme, main
from skilltokens.types import RunError

SECTION = """
10 tasks of metaworld, protocol A, state observations. Tasks in order: hammer, push.

| method | seeds | Final success |
|---|---:|---:|
| {method} | 0 | 0.90 |

T2S less each other method:

| against | final success |
|---|---:|
| lora | +0.01 |
"""
RESULTS = (
    f"# Results\n\nMade from runs.\n\n## ablation\n{SECTION.format(method='other')}\n"
    f"## metaworld-cw10\n{SECTION.format(method='t2s')}"
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    results, readme = tmp_path / "RESULTS.md", tmp_path / "README.md"
    results.write_text(RESULTS)
    readme.write_text(f"# A title\n\n{BEGIN}\nstale figures\n{END}\n\nmore\n")
    return results, readme


def test_the_main_comparisons_headline_table_is_shown_alone():
    shown = block(RESULTS)
    assert "| t2s | 0 | 0.90 |" in shown
    assert "other" not in shown
    assert "against" not in shown
    assert "hammer" not in shown


def test_learning_from_reward_is_shown_behind_by_its_steps_alone():
    reward = """
About it.

| success, % | paper |
|---|---:|
| token | 94 |

Learning from reward with walker2d: a model. Success on test states. *Distance to motion* is something.

| steps to 80% | seeds | reach |
|---|---:|---:|
| token | 1 | 40,960 |

**reach**
"""
    shown = block(f"{RESULTS}\n\n## task-tokens-walker2d\n{reward}")
    assert shown.index("| t2s |") < shown.index(
        "Learning from reward with walker2d: a model. Success on test states.\n"
    )
    assert "| token | 1 | 40,960 |" in shown
    assert "docs/reward.md" in shown
    assert "94" not in shown
    assert "Distance" not in shown
    assert "docs/reward.md" not in block(RESULTS)


def test_the_first_comparison_stands_in_for_a_missing_main_one():
    assert "| other |" in block(RESULTS.split("\n## metaworld-cw10")[0])


def test_filling_changes_the_block_alone_and_is_idempotent(files: tuple[Path, Path]):
    results, readme = files
    with pytest.raises(RunError, match="not those of"):
        check_readme(results, readme)
    fill_readme(results, readme)
    check_readme(results, readme)
    once = readme.read_text()
    assert once.startswith("# A title\n\n")
    assert once.endswith(f"{END}\n\nmore\n")
    assert "stale" not in once
    fill_readme(results, readme)
    assert readme.read_text() == once


def test_what_is_missing_is_said_and_nothing_is_lost(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    results, readme = files
    readme.write_text("no markers")
    assert main(["--results", str(results), "--readme", str(readme)]) == 2
    assert "has no <!-- results:begin -->" in capsys.readouterr().err
    assert readme.read_text() == "no markers"
    for text in ("nothing here", "# Results\n\n## x\n\nno table"):
        with pytest.raises(RunError, match=r"RESULTS\.md has no"):
            block(text)


def test_what_was_compared_is_said_by_its_own_line_and_not_by_the_words_above_it():
    words = "Ten tasks of a suite, one after another (protocol A), with\nmore to say about them.\n"
    assert block(RESULTS.replace("\n10 tasks", f"\n{words}\n10 tasks")).startswith("10 tasks of metaworld, protocol A")
