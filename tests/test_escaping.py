"""Texts of any kind through each escape, read back by the parser of the language that they were put into."""

from __future__ import annotations

import ast
import html.parser
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.text import Text

from skilltokens.escaping import file_name, markdown, python, shell, terminal

MARKS = "\\`*_{}[]()<>#+-.!|~&;:=$^'\"/ \n\t0aé"
TEXTS = st.one_of(st.text(max_size=40), st.text(MARKS, max_size=20), st.text(st.characters(exclude_categories=())))
HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "close\nthe | window",
    "# heading #",
    "1. a list",
    "--- ",
    "[bold]loud[/bold]",
    "[link](javascript:alert(1))",
    "![](http://example.org/seen.png)",
    "*a* _b_ __c__ `d` ~~e~~ $f$ <b>g</b> &lt; &#124; &",
    "pick_up_the_bowl",
    "\x1b[2J\x1b]0;title\x07",
    "right\u202etfel",
    "\\",
    "\\|",
    'quote " and \' and """',
    "../../etc/passwd",
    "",
    ".",
    "CON é 漢字 🤖",
    "\udcff",
)
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


class Shown(html.parser.HTMLParser):
    """What a browser shows of a page, and the elements that it is made of."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words, self.tags = "", []
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    @property
    def line(self) -> str:
        return re.sub(r"[ \n\t\r\f]+", " ", self.words).strip()


def shown(text: str) -> str:
    """What a reader of Markdown shall see of a text: one line, what is hidden spelled out."""
    return terminal(" ".join(re.split("[ \t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+", text)).strip())


@pytest.mark.parametrize(
    ("page", "tags"),
    [
        ("{}\n", ["p"]),
        ("before\n{}\n", ["p"]),
        ("- {}\n", ["ul", "li"]),
        ("## {}\n", ["h2"]),
        ("| {} |\n|---|\n", ["table", "thead", "tr", "th"]),
        ("| name |\n|---|\n| {} |\n", ["table", "thead", "tr", "th", "tbody", "tr", "td"]),
        ("| {} | b |\n|---|---|\n", ["table", "thead", "tr", "th", "th"]),
    ],
)
def test_markdown_shows_the_text_and_nothing_else(page: str, tags: list[str]):
    empty = Shown(READER.render(page.format("x"))).line

    @settings(max_examples=150, deadline=None)
    @given(TEXTS)
    def check(text: str):
        seen = Shown(READER.render(page.format(markdown(text))))
        words = shown(text)
        assert seen.line == re.sub(" +", " ", empty.replace("x", words, 1)).strip()
        assert not words or seen.tags == tags

    for text in HOSTILE:
        check = example(text)(check)
    check()


def test_markdown_leaves_plain_names_alone():
    for text in ("pick_up_the_bowl", "faucet-close", "t2s (share 0.05, own rate 0.005)", "C3PO & R2D2", "50 %"):
        assert markdown(text) == text


@settings(deadline=None)
@given(TEXTS)
@example("\x1b[2J\x1b]0;x\x07\u202e\r\n\x9b1m\udcff\ufeff")
def test_a_terminal_is_sent_no_control_and_no_half_character(text: str):
    line = terminal(text)
    line.encode("utf-8")
    assert line.isprintable() or all(letter.isprintable() or letter.isspace() or ord(letter) > 127 for letter in line)
    assert not set(line) & {chr(n) for n in [*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F)]}
    assert terminal(line) == line
    printed = io.StringIO()
    Console(file=printed, width=10_000, force_terminal=True, color_system="truecolor").print(Text(line))
    assert printed.getvalue() == line + "\n"


def test_a_terminal_shows_letters_of_all_languages_as_they_are():
    for text in ("drücke den Knopf", "按下按钮", "اضغط الزر", "👩‍🔧 fixes it", "[bold]not bold[/bold]"):
        assert terminal(text) == text


@given(TEXTS)
@example('"; import os #')
@example("\\")
@example("\N{ROBOT FACE}\udcff\n'\"")
def test_python_reads_the_same_text(text: str):
    literal = python(text)
    assert literal.isascii()
    assert literal.isprintable()
    assert ast.literal_eval(literal) == text
    call = ast.parse(f"actor({literal})", mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.args[0], ast.Constant)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])), max_size=4))
def test_a_shell_splits_into_the_same_words(words: list[str]):
    assert shlex.split(shell(*words)) == words


@pytest.mark.parametrize("word", [text for text in HOSTILE if text] + ["it's\x1b[2J\\n", "a b/c", "$(id)", "`id`"])
def test_bash_reads_the_same_word(word: str):
    line = shell(word)
    assert terminal(line) == line
    seen = subprocess.run(["bash", "-c", f"printf %s {line}"], capture_output=True, check=True)
    assert seen.stdout.decode("utf-8", "surrogateescape") == word


@settings(deadline=None)
@given(TEXTS, TEXTS)
@example("a/b", "a_b")
@example("..", ".")
@example("a" * 300, "a" * 299)
def test_a_file_name_is_one_plain_part_of_a_path(one: str, other: str):
    name = file_name(one)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}", name)
    assert Path("folder", name).name == name
    assert name not in (".", "..")
    assert file_name(name) == name
    assert (file_name(other) == name) == (one == other) or name == other


def test_a_plain_name_is_its_own_file_name(tmp_path: Path):
    longest = "LIVING_ROOM_SCENE2_put_both_the_alphabet_soup_and_the_tomato_sauce_in_the_basket"
    for text in ("faucet-close", "kitchen.1", longest):
        assert file_name(text) == text
    for text in HOSTILE:
        (tmp_path / file_name(text)).touch()
    assert len(list(tmp_path.iterdir())) == len(HOSTILE)
