"""What people see while they wait."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console
from tests.terminal import on_a_terminal

from skilltokens.cli import progress
from skilltokens.cli.progress import Clock, Plain, Rows, minutes, share, words
from skilltokens.cli.remaining import Expected, Remaining
from skilltokens.experiments.namesakes import STAGE as NAMESAKES
from skilltokens.language import LOADING
from skilltokens.simulation.memory import STAGE as MEMORY
from skilltokens.types import NOTE, Progress


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


def test_a_narrow_terminal_cuts_what_a_run_does_and_nothing_else():
    news = Progress("train", 240, 600, "push-wall (2/4)", {"loss": 0.0123, "left": 3725.0})
    names = ["sequential-seed0", "lora-seed0"]
    for width in (40, 60, 90, 120):
        out = io.StringIO()
        with Rows(names, Console(file=out, force_terminal=True, no_color=True, width=width)) as view:
            view.update("sequential-seed0", news)
        last = plain(out.getvalue()).split("\r")[-1].splitlines()
        rows = [line for line in last if line.strip()]
        assert [row.split()[0] for row in rows] == names, "each row is one line"
        assert "  40 % " in rows[0]
        assert "train push" in rows[0]
        assert ("1:02:05 left" in rows[0]) == (width >= 60)
        assert all(len(row) <= width for row in rows)


def test_a_bar_is_as_long_as_the_share_done():
    def bar(done: int) -> int:
        out = io.StringIO()
        with Rows(["a"], Console(file=out, force_terminal=True, no_color=True, width=120)) as view:
            view.update("a", Progress("train", done, 4))
        return plain(out.getvalue()).split("\r")[-1].count("━")

    assert [bar(done) for done in range(5)] == [0, 6, 12, 18, 24]


def plain(text: str) -> str:
    """What a terminal shows, without what moves its cursor or sets its colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize(("term", "rows"), [("dumb", False), ("unknown", False), ("xterm", True)])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines_at_once(term: str, rows: bool):
    code = (
        "from skilltokens.cli.progress import watching; from skilltokens.types import Progress\n"
        "with watching(['a']) as view:\n view.update('a', Progress('train', 1, 2))\n"
    )
    shown = on_a_terminal([sys.executable, "-c", code], TERM=term)
    assert ("\x1b[" in shown) == rows
    assert ("50 %" if rows else "a   50%  train 1/2\r\n") in shown


def test_no_colour_is_shown_where_none_is_wanted():
    code = "from skilltokens.cli.progress import watching\nwith watching(['a']): pass"
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    assert colour.search(on_a_terminal([sys.executable, "-c", code], TERM="xterm-256color"))
    assert not colour.search(on_a_terminal([sys.executable, "-c", code], TERM="xterm-256color", NO_COLOR="1"))


def test_loading_the_encoder_is_never_left_out_and_moves_nothing(capsys: pytest.CaptureFixture[str]):
    with Plain(["a"]) as view:
        view.update("a", Progress("evaluate", 1, 2))
        view.update("a", Progress(LOADING, 0, 1, "minilm"))
        view.update("a", Progress("evaluate", 1, 2))
    assert capsys.readouterr().err == "a   50%  evaluate 1/2\na  loading the sentence encoder minilm\n"
    out = io.StringIO()
    with Rows(["a"], Console(file=out, force_terminal=True, width=120)) as view:
        view.update("a", Progress("evaluate", 1, 2))
        view.update("a", Progress(LOADING, 0, 1, "minilm"))
    last = plain(out.getvalue()).split("\r")[-1]
    assert " 50 % " in last
    assert "loading the sentence encoder minilm" in last


def test_what_all_runs_say_of_their_tasks_is_shown_once(capsys: pytest.CaptureFixture[str]):
    news = Progress(NAMESAKES, 0, 1, "two tasks share words")
    with Plain(["a", "b"]) as view:
        view.update("a", news)
        view.update("b", news)
        for name in "ab":  # of memory each run says what it has for itself
            view.update(name, Progress(MEMORY, 0, 1, "one worker fits"))
    assert capsys.readouterr().err == "a  two tasks share words\na  one worker fits\nb  one worker fits\n"
    out = io.StringIO()
    with Rows(["a", "b"], Console(file=out, force_terminal=True, width=120)) as rows:
        rows.update("a", news)
        rows.update("b", news)
    assert plain(out.getvalue()).count("two tasks share words") == 1


def test_no_note_is_left_out_however_close_they_follow(capsys: pytest.CaptureFixture[str]):
    notes = ["the policy does not look at 'observation.force'", "'lift it' has no letter that the encoder knows"]
    with Plain(["a"]) as view:
        for number, note in enumerate(notes):
            view.update("a", Progress("train", number, 10))
            view.update("a", Progress(NOTE, 0, 1, note))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "train" not in line] == [f"a  {note}" for note in notes]


def test_words_of_a_file_neither_clear_the_terminal_nor_set_its_title(capsys: pytest.CaptureFixture[str]):
    hostile, shown = "\x1b[2J\x1b]0;x\x07[red]\nthird\u202e", r"\x1b[2J\x1b]0;x\x07[red]\nthird\u202e"
    out = io.StringIO()
    for view in (Plain(["a"]), Rows(["a"], Console(file=out, force_terminal=True, no_color=True, width=400))):
        with view:
            view.update("a", Progress(MEMORY, 0, 1, hostile))
            view.finish("a", hostile)
            view.update("a", Progress("train", 1, 2, hostile))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"a  {shown}", f"a  failed: {shown}", f"a   50%  train {shown} 1/2"]
    assert "\x1b[2J" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert out.getvalue().count(shown) >= 3


def last_screen(out: io.StringIO) -> list[str]:
    """The rows that are on the screen at the end."""
    return [line for line in plain(out.getvalue()).split("\r")[-1].splitlines() if line.strip()]


def test_runs_at_work_stay_in_sight_where_there_are_more_than_lines():
    names = [f"run{number:02}" for number in range(40)]
    remaining = Remaining([Expected(name, "k", 10.0) for name in names], 2)
    out = io.StringIO()
    with Rows(names, Console(file=out, force_terminal=True, no_color=True, width=100, height=12), remaining) as view:
        for name in names[:7]:
            view.update(name, Progress("train", 1, 4, figures={"overall": 0.25, "left": 30.0}))
        for name in names[:5]:
            view.finish(name, "it broke" if name == "run03" else None)
    rows = last_screen(out)
    assert [row.split()[0] for row in rows] == ["run03", "run05", "run06", "in"]
    assert "failed" in rows[0]
    assert "4 done, 2 run, 33 wait, 1 failed" in rows[-1]
    assert "left" in rows[-1]
    assert len(rows) < 12


def test_all_rows_are_shown_where_they_fit():
    names = ["a", "b", "c"]
    remaining = Remaining([Expected(name, "k", 10.0) for name in names], 1)
    out = io.StringIO()
    with Rows(names, Console(file=out, force_terminal=True, no_color=True, width=100, height=12), remaining) as view:
        view.update("a", Progress("train", 1, 4))
        view.finish("a", None)
    assert [row.split()[0] for row in last_screen(out)] == ["a", "b", "c", "in"]


def test_a_log_says_at_each_end_how_all_stand(capsys: pytest.CaptureFixture[str]):
    remaining = Remaining([Expected("a", "k", 60.0), Expected("b", "k", 60.0)], 1)
    view = Plain(["a", "b"], remaining)
    view.announce("2 runs, 1 at once")
    view.update("a", Progress("train", 1, 4))
    view.finish("a", "it broke")
    view.finish("b", None)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "2 runs, 1 at once"
    assert lines[-3] == "in all  0 done, 1 wait, 1 failed; about 1 min left"
    assert lines[-1] == "in all  1 done, 1 failed"
