"""What people see while they wait."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from skilltokens.cli import progress
from skilltokens.cli.progress import Clock, Plain, Rows, minutes, share, words
from skilltokens.types import Progress


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0, "0:00"), (65.4, "1:05"), (3599.7, "1:00:00"), (7265, "2:01:05")]
)
def test_time_is_written_as_on_a_clock(seconds: float | None, text: str):
    assert minutes(seconds) == text


def test_news_reads_as_a_line():
    assert words(Progress("train", 24, 60, "push (2/4)", {"loss": 0.0123, "left": 9.0, "overall": 0.5})) == (
        "train push (2/4) 24/60, loss 0.0123"
    )
    assert words(Progress("start", 0, 1)) == "start"


@pytest.mark.parametrize(
    ("news", "done"),
    [
        (Progress("x", 1, 4), 0.25),
        (Progress("x", 1, 4, figures={"overall": 0.9}), 0.9),
        (Progress("x", 0, 0), 0.0),
        (Progress("x", 9, 4), 1.0),
    ],
)
def test_the_share_done_lies_between_none_and_all(news: Progress, done: float):
    assert share(news) == done


def test_a_resumed_run_is_judged_by_what_it_does_now(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = Clock()
    clock.note(Progress("x", 80, 100))
    assert clock.left is None
    now[0] += 10
    clock.note(Progress("x", 90, 100))
    assert clock.left == pytest.approx(10)


def test_a_new_stage_is_judged_by_its_own_pace(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = Clock()
    for seconds, news in ((0, ("slow", 0)), (1000, ("slow", 100)), (1, ("quick", 1)), (1, ("quick", 2))):
        now[0] += seconds
        clock.note(Progress(news[0], news[1], 100))
    assert clock.left == pytest.approx(98)


def test_lines_come_at_new_stages_and_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Plain(["a"]) as view:
        for step in range(100):
            now[0] += 1
            view.update("a", Progress("train", step, 200))
        now[0] += 4
        view.update("a", Progress("evaluate", 0, 20))
        view.finish("a", None)
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "train" in line]) == 5
    assert "evaluate" in lines[-2]
    assert lines[-1].startswith("a  done in")


def test_a_failure_is_told_at_once_and_not_only_when_all_are_done(capsys: pytest.CaptureFixture[str]):
    view = Plain(["a", "b"])
    view.finish("a", "the disk is full: free some")
    assert capsys.readouterr().err == "a  failed: the disk is full: free some\n"


def test_a_terminal_shows_a_row_for_each_run():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with Rows(["t2s-seed0", "lora-seed0", "ewc-seed0"], console) as view:
        view.update("t2s-seed0", Progress("train", 1, 2, "push [1/2]", {"left": 65.0}))
        view.finish("lora-seed0", "it broke")
    shown = out.getvalue()
    for text in ("t2s-seed0", "50 %", "1:05 left", "push [1/2]", "failed", "waiting", "lora-seed0: it broke"):
        assert text in shown
