"""A process ends with its parent, and with it what it has started, whatever both are doing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hanging import runs, wait_until

ROOT = Path(__file__).parents[2]

CHILD = """
import ctypes, os, subprocess, sys, time
from skilltokens.simulation import lifeline
{before}
lifeline.end_with(0)
late = subprocess.Popen(["sleep", "600"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(os.getpid(), late.pid, flush=True)
{hang}
"""
IN_PYTHON, IN_C = "time.sleep(600)", "ctypes.PyDLL(None).sleep(600)"
BY_THREAD = "lifeline._watched_by_kernel = lambda _: False"


@pytest.mark.parametrize(
    ("before", "hang"),
    [("", IN_PYTHON), ("", IN_C), (BY_THREAD, IN_PYTHON)],
    ids=["in Python", "in C", "where the kernel cannot watch"],
)
def test_a_process_ends_when_its_lifeline_closes(before: str, hang: str) -> None:
    child = started(CHILD.format(before=before, hang=hang))
    assert child.stdout is not None
    assert child.stdin is not None
    pids = [int(word) for word in child.stdout.readline().split()]
    assert len(pids) == 2
    assert child.poll() is None, "not before"
    child.stdin.close()
    assert wait_until(lambda: not any(runs(pid) for pid in pids))
    child.wait()
    child.stdout.close()


def test_a_process_whose_lifeline_has_closed_before_ends_at_once() -> None:
    child = started(CHILD.format(before="sys.stdin.read()", hang=IN_PYTHON))
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    assert child.wait(60) < 0
    assert child.stdout.read() == ""
    child.stdout.close()


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
