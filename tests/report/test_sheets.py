"""Tables as they are written, read back: CSV by its reader, Markdown by a parser, LaTeX by what it opens and closes."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from skilltokens.escaping import latex
from skilltokens.metrics import Interval
from skilltokens.report.sheets import (
    WRITERS,
    Column,
    Sheet,
    difference,
    figure,
    name,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)

READER = MarkdownIt("commonmark").enable("table")
COLUMNS = (Column("method", "method", number=False), Column("final", "final success"), Column("stored", "stored"))


def sheet(*labels: str, title: str = "ten tasks", columns: tuple[Column, ...] = COLUMNS) -> Sheet:
    """A row for each label; the first has no figure, the others have one with its interval."""
    rows = [
        (name(label), figure(None if place == 0 else 1 / 3, "rate", Interval(0.1, 0.5) if place else None, place > 0),
         figure(1234, "count"))
        for place, label in enumerate(labels)
    ]  # fmt: skip
    return Sheet(title, "Success on test states.", columns, tuple(rows))


def test_csv_has_every_figure_in_full_with_its_interval_beside():
    first, second = csv.DictReader(io.StringIO(to_csv([sheet("a", "b")])))
    assert list(first) == ["method", "final", "final_low", "final_high", "stored"]
    assert (first["final"], first["final_low"], first["stored"]) == ("", "", "1234")
    assert (float(second["final"]), second["final_low"], second["final_high"]) == (1 / 3, "0.1", "0.5")


def test_csv_of_several_tables_says_which_one_a_row_is_of():
    more = (Column("learner", "learner", number=False), *COLUMNS[1:])
    rows = list(csv.DictReader(io.StringIO(to_csv([sheet("a"), sheet("b", title="two tasks", columns=more)]))))
    assert [(row["table"], row["method"], row["learner"]) for row in rows] == [
        ("ten tasks", "a", ""),
        ("two tasks", "", "b"),
    ]


def test_no_name_is_a_formula_for_a_program_of_tables():
    (row,) = csv.DictReader(io.StringIO(to_csv([sheet("=1+1")])))
    assert row["method"] == "'=1+1"


@given(st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_any_names_come_back_from_csv_and_markdown_in_as_many_cells(labels: list[str]):
    assert len(list(csv.reader(io.StringIO(to_csv([sheet(*labels)]))))) == len(labels) + 1
    tokens = READER.parse(to_markdown([sheet(*labels)]))
    assert sum(token.type == "tr_open" for token in tokens) == len(labels) + 1
    assert sum(token.type == "td_open" for token in tokens) == len(labels) * len(COLUMNS)


def test_markdown_marks_the_best_and_shows_intervals():
    text = to_markdown([sheet("a", "b_c")])
    assert text.startswith("## ten tasks\n")
    assert "| a | \N{EN DASH} | 1,234 |" in text
    assert "| b_c | **0.333 [0.100 to 0.500]** | 1,234 |" in text


def test_latex_is_a_table_of_booktabs():
    text = to_latex([sheet("a", "b_c & 5 %")])
    assert r"\begin{tabular}{lrr}" in text
    assert r"b\_c \& 5 \% & \textbf{0.333} {\scriptsize [0.100, 0.500]} & 1,234 \\" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert "resizebox" not in text
    wide = tuple(Column(f"c{number}", "x") for number in range(8))
    many = Sheet("wide", "", wide, (tuple(figure(0.5, "rate") for _ in wide),))
    assert_balanced(to_latex([many]))
    assert r"\resizebox{\linewidth}{!}{%" in to_latex([many])


@given(
    st.lists(st.text(st.one_of(st.characters(), st.sampled_from("\\{}$&#_%~^[]-'`?!<>|\"")), max_size=12), max_size=3)
)
def test_no_name_opens_or_closes_anything_in_latex(labels: list[str]):
    text = to_latex([sheet("first", *labels, title="".join(labels))])
    assert_balanced(text)
    rows = re.search(r"\\midrule\n(.*)\n\\bottomrule", text, flags=re.DOTALL)
    assert rows is not None
    lines = rows[1].split("\n")
    assert len(lines) == len(labels) + 1
    for line in lines:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == len(COLUMNS) - 1
        assert not re.search(r"(?<!\\)[%#]", line)
        assert not re.match(r"\s*\[", line)


def assert_balanced(text: str) -> None:
    """Braces that are not escaped, environments, and dollars come in pairs."""
    depth = 0
    for mark in re.findall(r"\\[\\{}$]|[{}]", text.split("\n", 1)[1]):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0


@pytest.mark.parametrize(
    ("words", "written"),
    [("a_b", r"a\_b"), ("50 %", r"50 \%"), ("a--b", "a-{}-b"), ("\\LaTeX", r"\textbackslash{}LaTeX"),
     ("a\nb", "a b"), ("[x]", "{[}x{]}"), ("\N{MINUS SIGN}0.5", "$-$0.5"), ("\x1b", r"\textbackslash{}x1b")],
)  # fmt: skip
def test_text_in_latex_is_shown_as_it_is(words: str, written: str):
    assert latex(words) == written


def test_json_has_figures_with_their_intervals():
    content = json.loads(to_json([sheet("a", "b")]))
    assert content["schema"] == "skilltokens.tables/1"
    rows = content["tables"][0]["rows"]
    assert rows[0] == {"method": "a", "final": None, "stored": 1234}
    assert rows[1]["final"] == {"value": 1 / 3, "low": 0.1, "high": 0.5}


def test_differences_have_their_sign():
    assert [difference(value, None).words for value in (0.25, -0.25, 0.0, None)] == [
        "+0.250", "\N{MINUS SIGN}0.250", "0", "\N{EN DASH}",
    ]  # fmt: skip


def test_every_way_to_write_ends_its_last_line():
    assert all(write([sheet("a")]).endswith("\n") for write in WRITERS.values())
