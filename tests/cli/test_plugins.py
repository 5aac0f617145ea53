"""A method of another package: its settings get the same checks and the same one sentence as our own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tests.cli.running import SMALL, install, run

WHOLE = """
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from skilltokens.configuration import Count, Positive
from skilltokens.methods import Registration
from skilltokens.types import SettingError


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, Ge(0), Lt(0.5)] = 0.1
    "A share."


@dataclass(frozen=True)
class Settings:
    "A method of ours."

    rate: Positive = 2e-3
    "A rate."
    films: Count = 3
    "A name that one of our own settings once had."
    rows: tuple[Count, ...] = (1, 2)
    "Rows."
    inner: Inner = Inner()

    def check(self, name: str) -> None:
        if self.films > 100 * self.rate * 1000:
            raise SettingError(f"{name}.films {self.films} is too many for {name}.rate {self.rate:g}")


def registration():
    return Registration("ours", "skilltokens.methods.sequential.method:Sequential", Settings)
"""
BORROWED = "from skilltokens.methods.sequential import SequentialSettings"
HALVING = """
import dataclasses

from skilltokens.methods.rule import Rule
from skilltokens.methods.sequential.method import Sequential


class Half(Rule):
    def examples(self, new, now):
        return dataclasses.replace(new, words=new.words[:4])


class Halving(Sequential):
    def rule(self, lesson):
        return Half()
"""
GROUP = "skilltokens.methods"
COMMAND = ["run", "demo", *SMALL, "--methods", "ours"]


def plug(folder: Path, code: str = WHOLE, place: str = "plugged:registration") -> Path:
    (folder / "package").mkdir()
    (folder / "package" / "plugged.py").write_text(textwrap.dedent(code))
    install(folder / "package", GROUP, ours=place)
    (folder / "here").mkdir()
    return folder / "here"


def refused(folder: Path, *words: str) -> str:
    """The sentence with which the command refuses; nothing is written where it was started."""
    command = [word for word in COMMAND if word not in ("--method.share", "0.3")]
    done = run([*command, *words], cwd=folder, modules=[folder.parent / "package"])
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    assert not list(folder.iterdir())
    return line.removeprefix("skilltokens: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method.inner.share", "0.5"], "method.inner.share 0.5 is impossible: use a number below 0.5"),
        (["--method.inner.share", "-1"], "method.inner.share -1 is impossible: use 0 or more"),
        (["--method.rate", "0"], "method.rate 0 is impossible: use a number above 0"),
        (["--method.rate", "nan"], "method.rate nan is impossible"),
        (["--method.rows", "3", "0"], "method.rows 0 is impossible: use 1 or more"),
        (["--method.films", "201"], "method.films 201 is too many for method.rate 0.002"),
        (["--method.rtae", "3"], "has no option --method.rtae: did you mean '--method.rate'?"),
        (["--method.rate", "fast"], "--method.rate"),
    ],
)
def test_a_setting_of_a_plug_in_out_of_its_range_is_one_sentence(words: list[str], said: str, tmp_path: Path):
    assert said in refused(plug(tmp_path), *words)


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("from skilltokens.methods import Registration\ndef registration(): return Registration('x', 'a:B', None)", ""),
        ("from skilltokens.methods import Registration\ndef registration(): return Registration('x', 'a:B', dict)", ""),
        ("from skilltokens.methods import Registration\ndef registration(): return Registration('x', 'a:B')", ""),
        (WHOLE.replace("rate: Positive = 2e-3", "rate: Positive"), ""),
        ("def registration(): return {'target': 'a:B'}", ""),
        ("raise ValueError('odd')", ""),
        ("", "plugged:registration"),
        (WHOLE, "nowhere:registration"),
        (WHOLE, "plugged"),
        (WHOLE.replace("Settings)", "SequentialSettings)") + BORROWED, ""),
    ],
    ids=[
        "None",
        "no dataclass",
        "left out",
        "no default",
        "a dict",
        "raises",
        "no function",
        "no module",
        "a module",
        "borrowed",
    ],
)
def test_a_plug_in_without_settings_or_that_cannot_be_loaded_is_one_sentence(code: str, place: str, tmp_path: Path):
    sentence = refused(plug(tmp_path, code, place or "plugged:registration"))
    assert "method 'ours'" in sentence


@pytest.mark.slow
def test_a_plug_in_runs_with_its_settings_whatever_they_are_called(tmp_path: Path):
    folder = plug(tmp_path)
    command = [word for word in COMMAND if word not in ("--method.share", "0.3")]
    done = run([*command, "--method.films", "4"], cwd=folder, modules=[folder.parent / "package"])
    assert done.returncode == 0, done.stderr
    own = ["--suite", "tests.toy:Toy"]  # no file may decide whose code is run
    again = run(["run", "runs/demo/ours-seed0/run.json", *own], cwd=folder, modules=[folder.parent / "package"])
    assert again.returncode == 0, again.stderr
    assert "the same figures again" in again.stdout


@pytest.mark.slow
def test_a_plug_in_whose_rule_halves_the_batch_is_one_sentence_and_leaves_nothing(tmp_path: Path):
    folder = plug(tmp_path, WHOLE.replace("skilltokens.methods.sequential.method:Sequential", "halving:Halving"))
    (tmp_path / "package" / "halving.py").write_text(textwrap.dedent(HALVING))
    command = [word for word in COMMAND if word not in ("--method.share", "0.3")]
    done = run([*command, "--out", "runs"], cwd=folder, modules=[tmp_path / "package"])
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the rule Half returned examples that cannot be learned from: words is (4, " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()
