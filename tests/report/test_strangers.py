"""What a stranger's run.json says is text on every page and table: it makes no markup, no code, no file elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from skilltokens.cli import main
from skilltokens.report import write_report
from skilltokens.report.gallery import Recording, _section
from skilltokens.report.results import texts_of
from skilltokens.report.svg import element
from skilltokens.report.text import fenced, linked
from skilltokens.types import Task

Build = Callable[..., Path]
BAD = "<script>alert(1)</script> |\n\n# x\n\n[bold](http://x) ![i](y) `c` \x1b]0;t\x07\x1b[2J \u202e``` :smile:"
SHOWN = r"<script>alert(1)</script> | # x [bold](http://x) ![i](y) `c` \x1b]0;t\x07\x1b[2J \u202e``` :smile:"
"""The same as a reader of Markdown sees it."""
COMMAND = "run\n```\n<script>alert(1)</script>\n````"
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def hostile(content: dict[str, Any]) -> None:
    """Every text of a run that may be anything."""
    for key in ("suite", "recipe", "commit", "protocol", "observations", "encoder"):
        content[key] = BAD
    content["command"] = COMMAND
    content["method"] = f"{BAD}m"
    content["tasks"][0] = {"name": BAD, "instruction": BAD}
    content["tasks"][1] = {"name": BAD[::-1], "instruction": BAD}
    content["demonstrations"]["source"] = BAD
    content["config"]["method"] = {BAD: BAD}
    content["versions"][BAD] = BAD
    content["timing"]["machine"] = {"system": BAD, "processor": BAD, "cores": 2}
    content["selection"] = [{"task": 0, "wording": BAD, "held_out": True, "chosen": 1, "cosine": 0.5}]
    variant = {"suite": BAD, "task": 0, "instruction": BAD, "split": "test", "successes": 1, "episodes": 2}
    content["variants"] = [variant]
    content["reuse"] = [{"base": 1, "new": 1, "from": {BAD: 2}, "start": BAD}] * 3
    for entry in content["evaluations"]:
        entry["skill"] = 1


def hostile_reward(path: Path, seed: int) -> Path:
    """A run from reward with such texts."""
    result = {
        "task": BAD, "instruction": BAD, "steps": [0, 1000], "successes": [0, 9], "episodes": 10, "trained": 7,
        "seconds": 6.0, "on": BAD, "changed": [{"what": BAD, "successes": 1, "episodes": 2}],
    }  # fmt: skip
    tracking = [{"goals": BAD, "way": 1.0, "joints": 1.0, "moved": 1.0}]
    run = {
        "schema": "skilltokens.reward/1", "learner": "token", "suite": BAD, "seed": seed,
        "tasks": [{"name": BAD, "instruction": BAD}], "model": {"tracking": tracking}, "results": [result],
        "versions": {BAD: BAD}, "commit": BAD, "command": COMMAND, "started": BAD, "finished": None,
        "machine": {"system": BAD, "processor": BAD, "cores": 1}, "config": {"adapt": {"episodes": 10}},
    }  # fmt: skip
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(run))
    return path


@pytest.fixture
def runs(build: Build, tmp_path: Path) -> list[Path]:
    """Two of one kind that differ in a setting, so that the setting stands in their labels, under results/."""

    def other(content: dict[str, Any]) -> None:
        hostile(content)
        content["config"]["method"] = {BAD: "other"}

    folder = tmp_path / "results" / "a|b (c)"
    paths = [build(folder / "one", tasks=3, change=hostile), build(folder / "two", tasks=3, change=other)]
    hostile_reward(tmp_path / "results" / "from reward" / "token-0" / "run.json", 0)
    return paths


def tokens_of(page: str) -> list[Token]:
    """Everything that a page of Markdown is made of, but for what is inside code."""
    return [part for token in READER.parse(page) for part in (token, *(token.children or ()))]


def test_pages_of_markdown_show_it_and_nothing_comes_of_it(runs: list[Path], tmp_path: Path):
    pages = {path: text for path, text in texts_of(tmp_path / "results").items() if path.suffix == ".md"}
    assert len(pages) == 3
    for path, page in pages.items():
        tokens = tokens_of(page)
        assert not [token.content for token in tokens if token.type == "image"]
        code = {token.content for token in tokens if token.type == "code_inline"}
        assert code <= {"run.json", "results/", "make results", "about.md"}
        raw = {token.content for token in tokens if token.type in ("html_inline", "html_block")}
        assert raw <= {"<br>", "<sub>", "</sub>"}
        links = [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]
        assert all(re.match(r"#|results/|docs/|(\.\./)+(RESULTS|docs)", link) for link in links), links
        headings = [token.tag for token in tokens if token.type == "heading_open"]
        assert headings.count("h1") == 1
        seen = [token.content for token in tokens if token.type == "text"]
        assert path.name == "RESULTS.md" or any(SHOWN[:24] in text for text in seen)
        assert "\x1b" not in page
        assert "\u202e" not in page
    (page,) = (text for path, text in pages.items() if "a|b" in str(path))
    words = "".join(token.content for token in tokens_of(page) if token.type in ("text", "text_special"))
    assert words.count(SHOWN) > 10
    for token in READER.parse(page):
        if token.type == "fence":
            assert token.content == terminal_line(COMMAND) + "\n"


def terminal_line(text: str) -> str:
    return text.replace("\n", "\\n")


def test_every_row_of_a_table_has_as_many_cells_as_its_head(runs: list[Path], tmp_path: Path):
    for page in texts_of(tmp_path / "results").values():
        counts: list[int] = []
        for token in READER.parse(page):
            if token.type == "tr_open":
                counts.append(0)
            counts[-1:] = [counts[-1] + (token.type in ("th_open", "td_open"))] if counts else []
        lines = [
            line
            for line in page.splitlines()
            if line.startswith("| ") and "| --- |" not in line and "| ---: |" not in line
        ]
        bars = [len(re.findall(r"(?<!\\)\|", line)) - 1 for line in lines]
        assert len(lines) == len(counts) or not counts
        assert bars == counts or not counts


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


@pytest.mark.parametrize("kind", ["lifelong", "reward"])
def test_pages_of_html_show_it_and_nothing_comes_of_it(kind: str, runs: list[Path], tmp_path: Path):
    paths = runs if kind == "lifelong" else [tmp_path / "results" / "from reward" / "token-0"]
    page = write_report(paths, tmp_path / "page.html").read_text()
    found = Elements(page)
    assert found.tags.count("script") == 1
    assert "<script>alert" not in page
    assert not found.handlers
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert not set(page) & {chr(n) for n in range(32) if chr(n) != "\n"} | {"\u202e"} & set(page)
    assert r"\x1b[2J \u202e" in page


def test_a_terminal_shows_it_in_its_place(runs: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for paths in (runs, [tmp_path / "results" / "from reward" / "token-0"]):
        words = ["report", *map(str, paths), "--out", str(tmp_path / "x\x1b[2J.html")]
        assert main(words) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "\u202e" not in out
        assert ":smile:" in out
        assert "[bold]" in out
        assert r"\x1b]0;t\x07" in out
        assert out.splitlines()[-1].endswith(r"x\x1b[2J.html")


def test_an_error_about_a_strangers_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    folder = tmp_path / "x\x1b[2J\nskilltokens: all is well"
    assert main(["report", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert r"x\x1b[2J\nskilltokens: all is well" in line


def test_a_drawing_is_xml_whatever_it_is_labelled():
    import xml.etree.ElementTree

    label = 'a<b>&"c"\x1b[2J\u202e\x00\udcff'
    drawn = xml.etree.ElementTree.fromstring(str(element("text", label, element("g"), title=label)))
    assert drawn.text == drawn.attrib["title"] == 'a<b>&"c"\\x1b[2J\\u202e\\x00\\udcff'
    assert [child.tag for child in drawn] == ["g"]


def test_code_ends_where_it_ends_and_links_lead_where_they_lead():
    (fence,) = READER.parse(fenced(["a ``` b", "`````", "c\nd"]))
    assert fence.type == "fence"
    assert fence.content == "a ``` b\n`````\nc\\nd\n"
    (paragraph,) = (token for token in READER.parse(linked("a](b) | <i>", "x (y)/z|<q>.md#h")) if token.children)
    assert paragraph.children is not None
    link = paragraph.children[0]
    assert link.attrs["href"] == "x%20%28y%29/z%7C%3Cq%3E.md#h"
    assert "".join(token.content for token in paragraph.children) == "a](b) | <i>"


def test_the_gallery_of_a_strangers_suite_is_a_table_of_text():
    section = _section(BAD, [Recording(Task(BAD, BAD), "gallery/x.webp", 3)])
    tokens = tokens_of(section)
    images = [token for token in tokens if token.type == "image"]
    assert [image.attrs["src"] for image in images] == ["gallery/x.webp"]
    assert "".join(child.content for child in images[0].children or ()) == SHOWN
    assert {token.content for token in tokens if token.type.startswith("html")} == {"<br>"}
