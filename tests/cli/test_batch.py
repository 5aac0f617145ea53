"""Child processes: news arrives, failures are told, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.cli.batch import FINISHED, Job, decode, encode, encode_failure, run_jobs
from skilltokens.types import Progress, RunError


class Notes:
    """A view that remembers."""

    def __init__(self) -> None:
        self.news: list[tuple[str, Progress]] = []
        self.ended: list[tuple[str, str | None]] = []

    def update(self, name: str, progress: Progress) -> None:
        self.news.append((name, progress))

    def finish(self, name: str, failure: str | None) -> None:
        self.ended.append((name, failure))


def job(tmp_path: Path, name: str, code: str) -> Job:
    prelude = "from skilltokens.cli.batch import *\nfrom skilltokens.types import Progress\nimport os, sys, time\n"
    return Job(name, (sys.executable, "-c", prelude + code), tmp_path / f"{name}.log")


def test_news_of_all_jobs_arrives_in_order(tmp_path: Path):
    code = "for i in range(50): print(encode(Progress('train', i, 50)))"
    view = Notes()
    assert run_jobs([job(tmp_path, name, code) for name in "ab"], 2, view) == {"a": None, "b": None}
    for name in "ab":
        assert [news.done for sender, news in view.news if sender == name] == list(range(50))
    assert not list(tmp_path.iterdir()), "an empty log is removed"


def test_no_more_jobs_run_at_once_than_asked(tmp_path: Path):
    code = f"""
folder = {str(tmp_path)!r}
mine = os.path.join(folder, str(os.getpid()) + ".alive")
open(mine, "w").close()
alive = len([n for n in os.listdir(folder) if n.endswith(".alive")])
time.sleep(0.2)
print(encode(Progress("count", alive, 9)))
os.remove(mine)
"""
    view = Notes()
    run_jobs([job(tmp_path, name, code) for name in "abcd"], 2, view)
    assert max(news.done for _, news in view.news) <= 2
    assert len(view.news) == 4


def test_a_failed_job_is_told_and_the_others_go_on(tmp_path: Path):
    jobs = [
        job(tmp_path, "told", "print(encode_failure('the disk is full: free some')); sys.exit(2)"),
        job(tmp_path, "raised", "raise ValueError('odd')"),
        job(tmp_path, "killed", "os.kill(os.getpid(), 9)"),
        job(tmp_path, "fine", "print(encode(Progress('train', 1, 1)))"),
    ]
    view = Notes()
    endings = run_jobs(jobs, 1, view)
    assert endings["fine"] is None
    assert endings["told"] == "the disk is full: free some"
    assert "ValueError: odd" in (endings["raised"] or "")
    assert "raised.log" in (endings["raised"] or "")
    assert "Traceback" in (tmp_path / "raised.log").read_text()
    assert "SIGKILL" in (endings["killed"] or "")
    assert view.ended == list(endings.items())


def test_an_interruption_stops_the_children_cleanly(tmp_path: Path):
    code = f"""
try:
    print(encode(Progress("train", os.getpid(), 1)), flush=True)  # it is interrupted from here on
    time.sleep(600)
except KeyboardInterrupt:
    open({str(tmp_path)!r} + "/clean", "w").close()
"""
    view = Notes()
    interrupt_when(lambda: bool(view.news))
    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(tmp_path, name, code) for name in "ab"], 1, view)
    assert (tmp_path / "clean").exists()
    assert len(view.news) == 1, "the waiting job was never started"
    assert not alive(view.news[0][1].done)


def test_a_child_that_does_not_stop_is_killed_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("skilltokens.cli.batch.PATIENCE", 0.3)
    code = """
import signal, subprocess
signal.signal(signal.SIGINT, signal.SIG_IGN)
grandchild = subprocess.Popen(["sleep", "600"])
print(encode(Progress("train", os.getpid(), grandchild.pid)), flush=True)
time.sleep(600)
"""
    view = Notes()
    interrupt_when(lambda: bool(view.news))
    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(tmp_path, "a", code)], 1, view)
    news = view.news[0][1]
    assert not alive(news.done)
    gone_by = time.monotonic() + 10  # the kernel takes its time with an orphan
    while alive(news.total) and time.monotonic() < gone_by:
        time.sleep(0.01)
    assert not alive(news.total)


@pytest.mark.parametrize("line", ["FINISHED", "encode(Progress('train', 1, 1))"])
def test_a_job_that_says_it_is_done_is_done_however_slowly_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
):
    monkeypatch.setattr("skilltokens.cli.batch.PATIENCE", 0.3)
    code = f"print({line}, flush=True)\nos.close(1)\ntime.sleep(600)"
    failure = run_jobs([job(tmp_path, "a", code)], 1, Notes())["a"]
    assert failure is None if line == "FINISHED" else "was killed by SIGKILL" in str(failure)


RUNS_ONE = """
import sys
from pathlib import Path
from skilltokens.cli.batch import Job, run_jobs
class View:
    def update(self, name, progress): print(progress.done, progress.total, flush=True)
    def finish(self, name, failure): ...
run_jobs([Job("a", (sys.executable, "-c", sys.argv[1]), Path(sys.argv[2]))], 1, View())
"""
HANGS = """
import ctypes, os, subprocess
from skilltokens.cli.batch import encode
from skilltokens.cli.worker import _take_lifeline
from skilltokens.types import Progress
_take_lifeline()
assert os.read(0, 1) == b""  # there is nothing to read, and no waiting for it
grandchild = subprocess.Popen(["sleep", "600"])
print(encode(Progress("train", os.getpid(), grandchild.pid)), flush=True)
ctypes.PyDLL(None).sleep(600)  # in compiled code that keeps Python's lock
"""


def test_a_child_ends_with_a_killed_parent_even_where_it_hangs_in_compiled_code(tmp_path: Path):
    words = [sys.executable, "-c", RUNS_ONE, HANGS, str(tmp_path / "a.log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2, (tmp_path / "a.log").read_text()
        assert all(alive(pid) for pid in pids)
        parent.kill()
    gone_by = time.monotonic() + 30
    while any(alive(pid) for pid in pids) and time.monotonic() < gone_by:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_an_interruption_too(tmp_path: Path, number: signal.Signals):
    view = Notes()
    before = signal.getsignal(number)
    interrupt_when(lambda: bool(view.news), number)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(tmp_path, "a", "print(encode(Progress('x', 0, 1)), flush=True); time.sleep(600)")], 1, view)
    assert signal.getsignal(number) is before


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written.*--out"):
        run_jobs([Job("a", ("true",), tmp_path / "file" / "a.log")], 1, Notes())


@given(
    st.builds(
        Progress,
        st.text(),
        st.integers(0),
        st.integers(0),
        st.text(),
        st.dictionaries(st.text(), st.floats(allow_nan=False)),
    )
)
def test_news_survives_the_line(progress: Progress):
    line = encode(progress)
    assert "\n" not in line
    assert decode(line) == progress


@given(st.text())
def test_a_failure_survives_the_line(sentence: str):
    assert decode(encode_failure(sentence)) == sentence


def test_being_done_survives_the_line():
    assert decode(FINISHED) is None


@pytest.mark.parametrize("line", ["", "noise", "[]", "{}", '{"progress": {"stage": "x"}}', '{"progress": 3}'])
def test_anything_else_is_no_line_of_the_protocol(line: str):
    with pytest.raises(ValueError, match=r".+"):
        decode(line)


def interrupt_when(ready, number: int = signal.SIGINT) -> None:
    """Sends a signal to this process from a thread, as soon as `ready()`."""

    def wait() -> None:
        while not ready():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
