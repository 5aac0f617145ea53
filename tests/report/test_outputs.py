"""What `write_reports` puts into a file, by its suffix: each read back by a reader of that format."""

from __future__ import annotations

import builtins
import csv
import json
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.report.test_reward import made_up

from skilltokens.cli import main
from skilltokens.report import SUFFIXES, write_reports
from skilltokens.report.drawing import sheet
from skilltokens.report.pdf import to_pdf
from skilltokens.report.svg import element, marker, picture
from skilltokens.types import RunError, SettingError

Build = Callable[..., Path]


@pytest.fixture
def runs(build: Build, tmp_path: Path) -> list[Path]:
    """Three methods, two of them with two seeds."""
    kinds = (("t2s", 0), ("t2s", 1), ("sequential", 0), ("sequential", 1), ("multitask", 0))
    return [build(tmp_path / f"{method}-{seed}", method, seed, tasks=3) for method, seed in kinds]


def shown(pdf: bytes) -> str:
    """The words of a PDF, by its fonts' maps from glyphs to letters."""
    streams = [
        zlib.decompress(s) for s in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL) if s[:1] == b"x"
    ]
    return b" ".join(streams).decode("latin-1")


def test_one_call_writes_every_kind_of_file(runs: list[Path], tmp_path: Path):
    outs = [tmp_path / f"out{suffix}" for suffix in SUFFIXES]
    assert write_reports(runs, outs, "sequential") == outs
    text = {out.suffix: out.read_bytes() for out in outs}
    assert text[".html"].startswith(b"<!doctype html>")
    assert b"Each against sequential" in text[".html"]
    rows = {row["method"]: row for row in csv.DictReader(text[".csv"].decode().splitlines())}
    assert list(rows) == ["t2s", "sequential", "multitask"]
    assert rows["sequential"]["final_difference"] == ""
    gained = float(rows["t2s"]["final"]) - float(rows["sequential"]["final"])
    assert float(rows["t2s"]["final_difference"]) == pytest.approx(gained)
    assert float(rows["t2s"]["final_difference_low"]) < gained < float(rows["t2s"]["final_difference_high"])
    assert rows["multitask"]["fwt"] == ""
    assert "final success less sequential's" in text[".md"].decode()
    assert r"\begin{tabular}" in text[".tex"].decode()
    assert [row["method"] for row in json.loads(text[".json"])["tables"][0]["rows"]] == list(rows)
    svg = ElementTree.fromstring(text[".svg"])
    words = {part.text for part in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"t2s", "sequential", "multitask", "metaworld, 3 tasks"} <= words
    assert b"prefers-color-scheme" not in text[".svg"]
    assert text[".pdf"].startswith(b"%PDF")
    assert b"DejaVuSans" in text[".pdf"]


def test_without_a_method_to_compare_with_tables_have_no_differences(runs: list[Path], tmp_path: Path):
    (out,) = write_reports(runs, [tmp_path / "t.CSV"])
    assert "difference" not in out.read_text()


def test_the_same_runs_give_the_same_bytes(runs: list[Path], tmp_path: Path):
    for suffix in (".svg", ".pdf"):
        first, second = write_reports(runs, [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"])
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["t.png", "t", "t.html.gz"])
def test_other_suffixes_are_refused_before_anything_is_read_or_written(name: str, tmp_path: Path):
    good = tmp_path / "good.csv"
    with pytest.raises(SettingError, match=r"which says what to write: end it in \.html, \.csv"):
        write_reports([tmp_path / "no-run"], [good, tmp_path / name])
    assert not good.exists()


def test_nothing_is_written_where_one_file_cannot_be_made(build: Build, tmp_path: Path):
    begun = build(tmp_path / "run", learned=0)
    page = tmp_path / "page.html"
    with pytest.raises(RunError, match="no lesson is done yet"):
        write_reports([begun], [page, tmp_path / "curves.svg"])
    assert not page.exists()


def test_a_method_that_is_not_there_is_refused_with_the_nearest_name(runs: list[Path], tmp_path: Path):
    with pytest.raises(RunError, match=r"no run of 'sequentail' to compare with: did you mean 'sequential'\?"):
        write_reports(runs, [tmp_path / "t.csv"], "sequentail")


def test_a_method_with_two_settings_must_be_named_by_them(build: Build, tmp_path: Path):
    def narrow(content: dict[str, dict[str, dict[str, float]]]) -> None:
        content["config"]["method"]["mu"] = 0.04

    both = [build(tmp_path / "a", tasks=2), build(tmp_path / "b", tasks=2, change=narrow)]
    with pytest.raises(RunError, match=r"name one of them, 't2s \(mu=0.08\)' or 't2s \(mu=0.04\)'"):
        write_reports(both, [tmp_path / "t.csv"], "t2s")
    (out,) = write_reports(both, [tmp_path / "t.csv"], "t2s (mu=0.04)")
    assert "final_difference" in out.read_text()


def test_learning_from_reward_has_all_of_them_too(tmp_path: Path):
    runs = made_up(tmp_path, "token", [[0, 9, 9], [0, 9, 10]]) + made_up(tmp_path, "mlp", [[0, 1, 3], [0, 2, 9]])
    outs = write_reports(runs, [tmp_path / f"out{suffix}" for suffix in SUFFIXES], "mlp")
    text = {out.suffix: out.read_bytes() for out in outs}
    assert b"Each against mlp" in text[".html"]
    rows = list(csv.DictReader(text[".csv"].decode().splitlines()))
    assert [(row["learner"], row["steps_needed"], row["held"]) for row in rows[:2]] == [
        ("token", "1000", "2"),
        ("mlp", "", "1"),
    ]
    assert len(rows) == 3
    assert (rows[2]["table"], rows[2]["learner"], float(rows[2]["difference"])) == (
        "Each against mlp",
        "token",
        pytest.approx(0.35),
    )
    assert ElementTree.fromstring(text[".svg"]) is not None
    assert text[".pdf"].startswith(b"%PDF")
    with pytest.raises(RunError, match=r"no run of 'mpl'"):
        write_reports(runs, [tmp_path / "t.csv"], "mpl")


def test_the_command_takes_several_files_and_says_what_is_wrong(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    outs = [str(tmp_path / "a.csv"), str(tmp_path / "a.svg")]
    assert main(["report", *map(str, runs), "--out", *outs, "--against", "sequential"]) == 0
    assert [line.removeprefix("report: ") for line in capsys.readouterr().out.splitlines()[-2:]] == outs
    assert main(["report", *map(str, runs), "--out", "a.xlsx"]) == 2
    assert "a.xlsx ends in '.xlsx', which says what to write" in capsys.readouterr().err


def test_a_drawing_of_every_shape_is_a_pdf_of_its_size():
    shapes = [marker(index, 10.0 + 20 * index, 10.0) for index in range(8)]
    whisker = element("path", class_="whisker", d="M10 30H40M10 26v8M40 26v8")
    words = element("text", "written $here", class_="name", x=10, y=50)
    drawing = sheet(
        "All", {0: "one"}, [("panel", picture(180, 60, "shapes", *shapes, whisker, words))], (180, 60), dark=False
    )
    pdf = to_pdf(str(drawing))
    assert pdf.startswith(b"%PDF")
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert box is not None
    *_, width, height = str(drawing).partition('viewBox="0 0 ')[2].partition('"')[0].split()
    assert (float(box[1]), float(box[2])) == pytest.approx((float(width), float(height)), abs=0.5)
    assert shown(pdf).count(" c\n") >= 8  # circles are curves


def test_without_matplotlib_a_pdf_is_refused_in_a_sentence(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")
        return real(name, *rest)  # pyright: ignore[reportArgumentType]  # as it was called

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RunError, match=r'needs matplotlib: run `pip install "skilltokens\[plots\]"`'):
        write_reports(runs, [tmp_path / "page.html", tmp_path / "a.pdf"])
    assert not (tmp_path / "page.html").exists()
    assert write_reports(runs, [tmp_path / "a.svg"])
