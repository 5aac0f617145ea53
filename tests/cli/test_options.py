"""Words become settings, or one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
import tyro

from skilltokens import settings
from skilltokens.cli.options import known_options, parse, parse_known, with_new_options
from skilltokens.settings import EvaluateSettings
from skilltokens.types import SettingError


@dataclass(frozen=True)
class Inner:
    """The inner ones."""

    first_rate: float = 0.5
    """A rate."""
    kind: Literal["plain", "fancy"] = "plain"
    """A kind."""


@dataclass(frozen=True)
class Outer:
    """Does a thing.

    examples:
      do it --count 3
    """

    name: tyro.conf.Positional[str] = "x"
    """A name."""
    count: int = 1
    """A number."""
    inner: Inner = field(default_factory=Inner)


def test_words_become_an_instance():
    words = ["y", "--count", "3", "--inner.first-rate", "2"]
    assert parse(Outer, words, "do") == Outer("y", 3, Inner(2.0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cuont", "3"], "do has no option --cuont: did you mean '--count'?"),
        (["--inner.first-rat=3"], "do has no option --inner.first-rat: did you mean '--inner.first-rate'?"),
        (["--count", "three"], "Error parsing --count: invalid literal for int() with base 10: 'three'"),
        (["--inner.kind", "odd"], "invalid choice 'odd'"),
        (["--count"], "Missing value for argument '--count'"),
        (["y", "z"], "do does not know what to do with 'z'"),
    ],
)
def test_a_mistake_is_one_sentence_that_says_where_to_look(words: list[str], said: str):
    with pytest.raises(SettingError) as mistake:
        parse(Outer, words, "do")
    sentence = str(mistake.value)
    assert sentence.startswith(said)
    assert "\n" not in sentence
    assert "│" not in sentence
    assert "did you mean" in sentence or "do --help" in sentence


def test_a_negative_number_is_a_value_and_not_an_option():
    assert parse(Outer, ["--count", "-3"], "do").count == -3
    with pytest.raises(SettingError, match="has no option --numbers"):
        parse(Outer, ["--numbers", "-3", "-4.5e1"], "do")


def test_unknown_options_come_back_with_their_values():
    options, unknown = parse_known(Outer, ["--other", "1", "2", "--count", "4", "--more=5"], "do")
    assert options.count == 4
    assert unknown == [["--other", "1", "2"], ["--more", "5"]]


KNOWN = ["--evaluate.videos", "--videos", "--commands", "--method.rows-in", "--plugged.prompts", "--plugged.commands"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--evaluate.films", "--evaluate.videos"),
        ("--no-evaluate.films", "--evaluate.no-videos"),
        ("--evaluate.no-films", "--evaluate.no-videos"),
        ("--evaluate.no_films", "--evaluate.no-videos"),
        ("--films", "--videos"),
        ("--no-films", "--no-videos"),
        ("--prompts", "--commands"),
        ("--prompts=0.3", "--commands=0.3"),
        ("--method.place", "--method.rows-in"),
    ],
)
def test_an_old_name_goes_on_working_and_the_new_one_is_said(old: str, new: str, capsys: pytest.CaptureFixture[str]):
    assert with_new_options([old, "1"], KNOWN) == [new, "1"]
    shown = capsys.readouterr()
    old, new = old.partition("=")[0], new.partition("=")[0]
    assert (shown.out, shown.err) == ("", f"note: {old} is the old name: {new} is the same\n")


def test_what_only_looks_like_an_old_name_is_left_alone(capsys: pytest.CaptureFixture[str]):
    words = ["films", "--filmset", "--train.films", "--plugged.prompts", "--tasks", "prompts", "-films", "--videos"]
    assert with_new_options(words, KNOWN) == words
    assert capsys.readouterr().err == ""


def test_every_verb_takes_old_names(capsys: pytest.CaptureFixture[str]):
    """By `parse` or `parse_known`, which all of them use."""

    @dataclass(frozen=True)
    class Filmed:
        """Films."""

        videos: bool = False
        commands: tuple[float, ...] = ()
        evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)

    options = parse(Filmed, ["--films", "--prompts", "0.5", "2", "--evaluate.films"], "do")
    assert options == Filmed(True, (0.5, 2.0), EvaluateSettings(videos=True))
    assert len(capsys.readouterr().err.splitlines()) == 3
    options, unknown = parse_known(Filmed, ["--no-films", "--other"], "do", Filmed(videos=True))
    assert (options.videos, unknown) == (False, [["--other"]])


def test_all_options_are_known_by_the_names_that_are_typed():
    assert known_options(Outer) == ["--name", "--count", "--inner.first-rate", "--inner.kind"]


def test_help_shows_the_whole_docstring_and_the_defaults(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        parse(Outer, ["--help"], "do")
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert "do it --count 3" in shown
    assert "A rate. (default: 0.5)" in shown


def test_every_setting_has_one_line_of_help():
    """More lines would be torn apart in the help and in tab completion."""
    from inspect import getsource

    for name, value in vars(settings).items():
        if isinstance(value, type) and value.__module__ == settings.__name__:
            source = getsource(value)
            odd = [line for line in source.splitlines() if line.strip().startswith('"""') and line.count('"""') == 1]
            assert not odd, f"{name}: {odd}"
