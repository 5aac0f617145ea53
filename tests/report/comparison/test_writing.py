"""Every file that a comparison is written to, read back; and drawings in which no two names meet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from markdown_it import MarkdownIt
from tests.report.comparison.conftest import LEVELS, level, put

from skilltokens.cli import main
from skilltokens.report.comparison.curves import profile
from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.comparison.plots import drawings
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.comparison.writing import SUFFIXES, content, write
from skilltokens.report.runs import read_run
from skilltokens.types import SettingError

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def files(many: Comparisons) -> dict[str, bytes]:
    """The content of a file of every suffix."""
    return {suffix: content(many, suffix) for suffix in SUFFIXES}


def test_a_csv_has_a_row_a_method_in_order_of_success(files: dict[str, bytes]):
    rows = list(csv.DictReader(io.StringIO(files[".csv"].decode())))
    assert [row["method"] for row in rows][:2] == ["lora", "t2s"]
    assert len(rows) == len(LEVELS)
    for row in rows:
        assert float(row["final_low"]) <= float(row["final"]) <= float(row["final_high"])


def test_markdown_has_the_standing_the_pairs_and_the_tasks(files: dict[str, bytes]):
    tokens = MarkdownIt("commonmark").enable("table").parse(files[".md"].decode())
    assert sum(token.type == "table_open" for token in tokens) == 3
    assert "| LoRA | 2 | **0.975 [" in files[".md"].decode()


def test_latex_has_three_tables_and_marks_the_best(files: dict[str, bytes]):
    text = files[".tex"].decode()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert re.search(r"\nLoRA & 2 & \\textbf\{0\.975\} \{\\scriptsize \[", text)


def test_the_page_is_whole_alone_and_says_who_leads(files: dict[str, bytes]):
    page = files[".html"].decode()
    ids: list[str] = []
    links: list[str] = []
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "link", "br"):
                open_tags.append(tag)
            ids.extend(value for name, value in attrs if name == "id" and value)
            links.extend(value for name, value in attrs if name == "href" and value)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag, (tag, self.getpos())

    Reader().feed(page)
    assert not open_tags
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert not re.findall(r"url\(|@import|https?://", page)
    assert "<b>LoRA</b> has the highest final success, 0.975." in page
    assert page.count('<svg class="chart"') == 6


def test_the_drawings_are_one_svg_and_one_pdf(files: dict[str, bytes]):
    root = ElementTree.fromstring(files[".svg"])
    words = [part.text for part in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("LoRA") == 5
    assert "Performance profile" in words
    assert files[".pdf"].startswith(b"%PDF")


def test_another_suffix_is_refused_and_the_command_writes_all_of_them(
    build: Build, many: Comparisons, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SettingError, match=r"out\.xlsx ends in '\.xlsx'"):
        write(many, tmp_path / "out.xlsx")
    runs = [str(put(build, tmp_path, method, 0)) for method in ("lora", "sequential")]
    outs = [tmp_path / f"out{suffix}" for suffix in (*SUFFIXES, ".json")]
    assert main(["compare", *runs, "--out", *map(str, outs)]) == 0
    assert all(out.stat().st_size > 100 for out in outs)
    assert json.loads(outs[-1].read_text())["schema"].startswith("skilltokens.comparison/")
    capsys.readouterr()


def test_no_two_names_of_a_drawing_meet(many: Comparisons):
    for drawing in drawings(many):
        if not drawing.picture:
            continue
        root = ElementTree.fromstring(str(drawing.picture))
        height = float(root.attrib["viewBox"].split()[-1])
        names = [part for part in root.iter("text") if "name" in part.attrib.get("class", "").split()]
        assert len(names) >= 8, drawing.title
        boxes = [(_edge(part), float(part.attrib["y"])) for part in names]
        for place, (left, y) in enumerate(boxes):
            assert 0 < y <= height, drawing.title
            for other, other_y in boxes[:place]:
                assert left != other or abs(y - other_y) >= 10, (drawing.title, names[place].text)


def _edge(part: ElementTree.Element) -> tuple[str, str]:
    """The edge that a name is set from: names set from different edges stand in different columns."""
    return part.attrib["x"], part.attrib.get("class", "")


def test_a_profile_is_the_share_that_is_at_least_so_high():
    xs, ys = profile(np.array([0.0, 0.5, 1.0, 1.0]))

    def at(level: float) -> float:
        """The height of the steps just left of a level, which they hold up to and with it."""
        return next(y for start, end, y in zip(xs[1::2], xs[2::2], ys[1::2], strict=True) if start < level <= end)

    assert (xs[0], ys[0], xs[-1]) == (0.0, 1.0, 1.0)
    assert [at(level) for level in (0.25, 0.5, 0.51, 1.0)] == [0.75, 0.75, 0.5, 0.5]


def test_tables_of_other_demonstrations_make_a_curve(build: Build, tmp_path: Path):
    def taught(method: str, count: int) -> Callable[[dict[str, Any]], None]:
        def change(run: dict[str, Any]) -> None:
            level(method)(run)
            run["demonstrations"] |= {"episodes": [count] * len(run["tasks"]), "digest": f"{count:02d}" * 32}

        return change

    runs = [
        read_run(put(build, tmp_path / str(count), method, 0, change=taught(method, count)))
        for count in (1, 5, 20)
        for method in ("t2s", "lora")
    ]
    comparisons = compare_runs(runs)
    assert len(comparisons.tables) == 3
    drawing = next(one for one in drawings(comparisons) if one.title == "Success against demonstrations")
    words = [part.text for part in ElementTree.fromstring(str(drawing.picture)).iter("text")]
    assert [word for word in words if word in ("1", "5", "20")][-3:] == ["1", "5", "20"]
    page = content(comparisons, ".html").decode()
    assert page.count("Method beside method") == 3
    assert "Why tables are apart" in page
    table = list(csv.DictReader(io.StringIO(content(comparisons, ".csv").decode())))
    assert len(table) == 6


def test_few_methods_or_tasks_have_no_ranks_and_the_page_says_why(build: Build, tmp_path: Path):
    runs = [read_run(put(build, tmp_path, method, 0, tasks=3)) for method in ("t2s", "lora")]
    page = content(compare_runs(runs), ".html").decode()
    assert "Ranks need 3 methods that are finished; here are 2." in page
